"""`read_series`: grouping, ordering, stacks and labels, on classic and enhanced series."""

import itertools
import logging
import random
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

from onenex.dicom import read_series
from onenex.series import Series
from tests.dicom.make import AXIAL, CORONAL, SAGITTAL, make_enhanced, make_series, phantom, save


def labels(series: Series) -> list[tuple[str, int]]:
    return [(stack.label, len(stack.frames)) for stack in series.stacks]


def test_slices_are_ordered_by_position_whatever_their_names_and_numbers(tmp_path: Path) -> None:
    offsets = [8.0, 0.0, 4.0, 2.0, 6.0]
    positions = [[-10.0, -20.0, offset] for offset in offsets]
    paths = make_series(tmp_path, 5, vary={"ImagePositionPatient": positions, "InstanceNumber": [3, 1, 5, 2, 4]})
    (series,) = read_series(tmp_path)
    (stack,) = series.stacks
    assert [frame.path for frame in stack.frames] == [paths[index] for index in np.argsort(offsets)]
    assert stack.label == ""
    assert stack.spacing_mm == (2.0, 1.0, 0.75)
    assert (stack.rows, stack.columns, series.n_images) == (32, 24, 5)


@pytest.mark.parametrize("orientation", [AXIAL, SAGITTAL, CORONAL, [0.8, 0.6, 0.0, 0.0, 0.0, -1.0]])
def test_order_follows_the_slice_normal(tmp_path: Path, orientation: list[float]) -> None:
    paths = make_series(tmp_path, 4, ImageOrientationPatient=orientation)
    (series,) = read_series(tmp_path)
    assert [frame.path for frame in series.stacks[0].frames] == paths


def test_series_facts(tmp_path: Path) -> None:
    make_series(tmp_path / "b", SeriesNumber=7, SeriesDescription="t1_tse_sag", SeriesInstanceUID="1.2.3")
    make_series(tmp_path / "a", SeriesNumber=12)
    first, second = read_series(tmp_path)
    assert (first.uid, first.number, first.description, first.path) == ("1.2.3", 7, "t1_tse_sag", tmp_path / "b")
    assert (second.number, second.path, second.skip_reason) == (12, tmp_path / "a", None)
    assert first.stacks[0].frames[0].sop_instance_uid == dcmread(first.stacks[0].frames[0].path).SOPInstanceUID


def test_one_uid_with_two_geometries_is_two_series(tmp_path: Path) -> None:
    uid = generate_uid()
    make_series(tmp_path, 3, SeriesInstanceUID=uid, prefix="axial")
    make_series(tmp_path, 4, SeriesInstanceUID=uid, prefix="sagittal", ImageOrientationPatient=SAGITTAL)
    make_series(tmp_path, 2, 40, 24, SeriesInstanceUID=uid, prefix="larger")
    make_series(tmp_path, 1, SeriesInstanceUID=uid, prefix="finer", PixelSpacing=[0.5, 0.5])
    series = read_series(tmp_path)
    assert sorted((one.acquisition.plane, one.stacks[0].rows, one.n_images) for one in series) == [
        ("axial", 32, 1),
        ("axial", 32, 3),
        ("axial", 40, 2),
        ("sagittal", 32, 4),
    ]
    assert {one.uid for one in series} == {uid}
    assert all(one.skip_reason is None for one in series)


def test_small_tilts_of_motion_correction_stay_in_one_series(tmp_path: Path) -> None:
    tilted = [np.cos(0.004), 0.0, np.sin(0.004), 0.0, 1.0, 0.0]
    make_series(tmp_path, 2, vary={"ImageOrientationPatient": [AXIAL, tilted]})
    assert len(read_series(tmp_path)) == 1


@pytest.mark.parametrize(
    ("attribute", "values", "expected"),
    [
        ("EchoTime", [13, 26], ["echo 1 (TE 13 ms)", "echo 2 (TE 26 ms)"]),
        ("EchoNumbers", [1, 2], ["echo 1", "echo 2"]),
        ("DiffusionBValue", [0.0, 1000.0], ["b 0", "b 1000"]),
        ("InversionTime", [50, 1200], ["TI 50 ms", "TI 1200 ms"]),
        ("FlipAngle", [3, 15.5], ["flip angle 3°", "flip angle 15.5°"]),
        ("TemporalPositionIdentifier", [1, 2], ["time 1", "time 2"]),
        ("TriggerTime", [10, 400], ["phase 1 (trigger 10 ms)", "phase 2 (trigger 400 ms)"]),
        ("AcquisitionNumber", [4, 9], ["acquisition 4", "acquisition 9"]),
        ("ImageType", [["ORIGINAL", "PRIMARY", "M", "W"], ["ORIGINAL", "PRIMARY", "M", "F"]], ["type f", "type w"]),
        ("ContentTime", ["101010", "101011"], ["repeat 1", "repeat 2"]),
    ],
)
def test_what_differs_at_one_position_makes_the_stacks(tmp_path: Path, attribute: str, values: list[object], expected: list[str]) -> None:
    uid = generate_uid()
    for index, value in enumerate(values):
        make_series(
            tmp_path, 3, SeriesInstanceUID=uid, prefix=f"v{index}", vary={"InstanceNumber": range(1 + 3 * index, 4 + 3 * index)}, **{attribute: value}
        )
    (series,) = read_series(tmp_path)
    assert [stack.label for stack in series.stacks] == expected
    for stack in series.stacks:
        assert [dcmread(frame.path).ImagePositionPatient[2] for frame in stack.frames] == [5, 7, 9]
        assert len({str(dcmread(frame.path)[attribute].value) for frame in stack.frames}) == 1


def test_diffusion_shells_and_directions(tmp_path: Path) -> None:
    uid = generate_uid()
    make_series(tmp_path, 3, SeriesInstanceUID=uid, prefix="b0", DiffusionBValue=0.0)
    for index, (b_value, direction) in enumerate(itertools.product([995.0, 2000.0], np.eye(3).tolist())):
        shell = b_value + index % 2 * 5  # scanners scatter a shell's nominal value
        make_series(
            tmp_path,
            3,
            SeriesInstanceUID=uid,
            prefix=f"d{index}",
            DiffusionBValue=shell,
            DiffusionGradientOrientation=direction,
            InstanceNumber=10 + index,
        )
    (series,) = read_series(tmp_path)
    assert labels(series) == [("b 0", 3)] + [(f"b {b}, direction {k}", 3) for b in (1000, 2000) for k in (1, 2, 3)]


def test_a_trait_that_only_numbers_the_slices_makes_no_stacks(tmp_path: Path) -> None:
    uid = generate_uid()
    for repeat in range(2):
        make_series(
            tmp_path,
            4,
            SeriesInstanceUID=uid,
            prefix=f"r{repeat}",
            vary={
                "TriggerTime": [100 * repeat + 7 * index for index in range(4)],
                "AcquisitionNumber": [1, 1, 2, 2],  # two concatenations of slices, both in each repeat
                "InstanceNumber": range(1 + 4 * repeat, 5 + 4 * repeat),
            },
        )
    (series,) = read_series(tmp_path)
    assert labels(series) == [("repeat 1", 4), ("repeat 2", 4)]


def test_a_stack_may_lack_slices(tmp_path: Path) -> None:
    uid = generate_uid()
    make_series(tmp_path, 5, SeriesInstanceUID=uid, prefix="a", EchoTime=10)
    for path in make_series(tmp_path, 5, SeriesInstanceUID=uid, prefix="b", EchoTime=20)[1:3]:
        path.unlink()
    (series,) = read_series(tmp_path)
    assert labels(series) == [("echo 1 (TE 10 ms)", 5), ("echo 2 (TE 20 ms)", 3)]


def test_the_same_instance_twice_is_read_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (path,) = make_series(tmp_path, 1)
    (tmp_path / "copy.dcm").write_bytes(path.read_bytes())
    with caplog.at_level(logging.WARNING):
        (series,) = read_series(tmp_path)
    assert series.n_images == 1
    assert "n_copies=1" in caplog.text
    assert "Phantom" not in caplog.text


@pytest.mark.parametrize(
    ("attrs", "vary"),
    [
        ({"ImagePositionPatient": None}, {"SliceLocation": [9.0, 1.0, 5.0]}),
        ({"ImagePositionPatient": None, "SliceLocation": None}, {"InstanceNumber": [3, 1, 2]}),
        ({"ImageOrientationPatient": None, "ImagePositionPatient": None}, {"SliceLocation": [3.0, -1.0, 2.0]}),
        ({"ImageOrientationPatient": [0.0] * 6, "ImagePositionPatient": [0.0] * 3, "SliceLocation": None}, {"InstanceNumber": [3, 1, 2]}),
    ],
)
def test_without_positions_other_attributes_give_the_order(tmp_path: Path, attrs: dict[str, object], vary: dict[str, list[object]]) -> None:
    paths = make_series(tmp_path, 3, vary=vary, **attrs)
    (series,) = read_series(tmp_path)
    assert [frame.path for frame in series.stacks[0].frames] == [paths[1], paths[2], paths[0]]


def test_one_slice_series(tmp_path: Path) -> None:
    (path,) = make_series(tmp_path, 1)
    (series,) = read_series(path)
    assert series.path == path
    assert labels(series) == [("", 1)]
    assert series.stacks[0].spacing_mm == (2.0, 1.0, 0.75)
    assert series.skip_reason is None


def test_without_pixel_spacing_no_spacing_is_claimed(tmp_path: Path) -> None:
    make_series(tmp_path, 2, PixelSpacing=None)
    (series,) = read_series(tmp_path)
    assert series.stacks[0].spacing_mm is None


def test_enhanced_frames_become_stacks(tmp_path: Path) -> None:
    path = make_enhanced(tmp_path / "e.dcm", 4, volumes=[{"EffectiveEchoTime": 30}, {"EffectiveEchoTime": 10}])
    (series,) = read_series(path)
    assert labels(series) == [("echo 1 (TE 10 ms)", 4), ("echo 2 (TE 30 ms)", 4)]
    assert [frame.frame for frame in series.stacks[0].frames] == [4, 5, 6, 7]
    assert series.stacks[0].spacing_mm == (2.0, 1.0, 0.75)
    np.testing.assert_array_equal(series.source.stored(series.stacks[0]), phantom(8, 32, 24)[4:])
    np.testing.assert_array_equal(series.source.stored(series.stacks[1]), phantom(8, 32, 24)[:4])


@pytest.mark.parametrize(
    ("volumes", "expected"),
    [
        ([{"DiffusionBValue": 0}, {"DiffusionBValue": 800}], ["b 0", "b 800"]),
        ([{"TemporalPositionIndex": 1}, {"TemporalPositionIndex": 2}], ["time 1", "time 2"]),
        ([{}, {}, {}], ["repeat 1", "repeat 2", "repeat 3"]),
    ],
)
def test_enhanced_labels(tmp_path: Path, volumes: list[dict[str, float]], expected: list[str]) -> None:
    (series,) = read_series(make_enhanced(tmp_path / "e.dcm", 3, volumes=volumes))
    assert [stack.label for stack in series.stacks] == expected


def test_enhanced_series_in_several_files(tmp_path: Path) -> None:
    uid = generate_uid()
    make_enhanced(tmp_path / "1.dcm", 3, SeriesInstanceUID=uid, InstanceNumber=1)
    make_enhanced(tmp_path / "2.dcm", 3, SeriesInstanceUID=uid, InstanceNumber=2)
    (series,) = read_series(tmp_path)
    assert labels(series) == [("repeat 1", 3), ("repeat 2", 3)]
    assert {frame.path.name for frame in series.stacks[0].frames} == {"1.dcm"}


def test_multi_frame_without_functional_groups_keeps_the_frame_order(tmp_path: Path) -> None:
    (path,) = make_series(tmp_path, stored=phantom(5, 32, 24)[None], ImagePositionPatient=None, SliceLocation=None)
    (series,) = read_series(path)
    assert [frame.frame for frame in series.stacks[0].frames] == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(series.source.stored(series.stacks[0]), phantom(5, 32, 24))


def test_magnitude_and_phase_of_one_uid_part_ways(tmp_path: Path) -> None:
    uid = generate_uid()
    make_series(tmp_path, 3, SeriesInstanceUID=uid, prefix="m", ImageType=["ORIGINAL", "PRIMARY", "M_FFE", "M", "FFE"])
    make_series(tmp_path, 3, SeriesInstanceUID=uid, prefix="p", ImageType=["ORIGINAL", "PRIMARY", "PHASE MAP", "P", "FFE"])
    accepted, refused = sorted(read_series(tmp_path), key=lambda one: one.skip_reason is not None)
    assert (accepted.skip_reason, labels(accepted)) == (None, [("", 3)])
    assert refused.skip_reason == "a phase image: ImageType (0008,0008) says PHASE MAP"
    assert refused.n_images == 3


def test_three_plane_localiser_is_refused_once(tmp_path: Path) -> None:
    uid = generate_uid()
    for prefix, orientation in (("a", AXIAL), ("s", SAGITTAL), ("c", CORONAL)):
        make_series(tmp_path, 3, SeriesInstanceUID=uid, prefix=prefix, ImageOrientationPatient=orientation, SeriesDescription="3-plane loc")
    (series,) = read_series(tmp_path)
    assert series.n_images == 9
    assert series.skip_reason is not None
    assert "localiser" in series.skip_reason


def test_structured_report_beside_images_is_skipped(tmp_path: Path) -> None:
    make_series(tmp_path, 2)
    report = Path(get_testdata_file("test-SR.dcm", download=False))
    (tmp_path / "sr.dcm").write_bytes(report.read_bytes())
    reasons = {one.skip_reason for one in read_series(tmp_path)}
    assert reasons == {None, "not MR: Modality (0008,0060) is SR"}


def test_order_of_files_does_not_matter(tmp_path: Path) -> None:
    uid = generate_uid()
    for echo, prefix in ((10, "x"), (20, "y")):
        make_series(tmp_path / "one", 4, SeriesInstanceUID=uid, EchoTime=echo, prefix=prefix)
    datasets = [dcmread(path) for path in sorted((tmp_path / "one").iterdir())]
    random.Random(3).shuffle(datasets)
    for index, dataset in enumerate(datasets):
        save(dataset, tmp_path / f"{index}.dcm")
    first = read_series(tmp_path / "one")[0]
    (tmp_path / "two").mkdir()
    for path in tmp_path.glob("*.dcm"):
        path.rename(tmp_path / "two" / path.name)
    second = read_series(tmp_path / "two")[0]
    assert [[frame.sop_instance_uid for frame in stack.frames] for stack in first.stacks] == [
        [frame.sop_instance_uid for frame in stack.frames] for stack in second.stacks
    ]


def test_logs_and_reasons_hold_no_patient_data(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for path in make_series(tmp_path / "Doe^Jane", 2, PatientName="Doe^Jane", PatientID="4711"):
        path.write_bytes(path.read_bytes().replace(b"CS\x06\x00BRAIN ", b"CS\x06\x00doe 4 "))  # a bad value, which pydicom would quote
        assert b"doe 4" in path.read_bytes()
    (tmp_path / "Doe^Jane" / "note.txt").write_text("no DICOM here")
    with caplog.at_level(logging.DEBUG):
        (series,) = read_series(tmp_path)
        series.source.images(series.stacks[0])
    assert "series read" in caplog.text
    assert "doe" not in caplog.text.lower()
    assert "4711" not in caplog.text
