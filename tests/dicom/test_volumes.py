"""What the headers of one series tell about its volumes: place, time, contrast, patient; damage and copies; vendors' own words."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from onenex.dicom import read_series
from onenex.dicom.files import quiet
from onenex.dicom.frames import FrameHeader
from onenex.dicom.quick import FileKind, glances
from onenex.dicom.times import duration_s, started_s
from onenex.dicom.volumes import SeriesVolumes, read_volumes
from onenex.volume import Volume
from tests.dicom.make import SAGITTAL, classic_dataset, make_enhanced, make_series, phantom, save


def read(folder: Path) -> SeriesVolumes:
    return read_volumes(folder.iterdir())


def only(folder: Path) -> Volume:
    (volume,) = read(folder).volumes
    return volume


def seconds(*moment: int) -> float:
    return datetime(*moment, tzinfo=UTC).timestamp()  # type: ignore[arg-type, misc]


def header(**attrs: object) -> FrameHeader:
    return FrameHeader(classic_dataset(phantom(1, 32, 24)[0], 0, attrs))


def test_a_plain_series(tmp_path: Path) -> None:
    attrs = {
        "PatientID": "P1", "SeriesDescription": "T2", "AcquisitionDate": "20240229", "AcquisitionTime": "235959.5", "AcquisitionDuration": 61.5,
        "InversionTime": 0, "ImageOrientationPatient": SAGITTAL, "InPlanePhaseEncodingDirection": "ROW", "MRAcquisitionType": "2D",
    }  # fmt: skip
    paths = make_series(tmp_path, 5, 32, 24, **attrs)
    found = only(tmp_path)
    (series,) = read_series(tmp_path)
    assert (found.stack, found.acquisition) == (series.stacks[0], series.acquisition)
    assert (found.patient, found.description, found.started_s, found.duration_s) == ("P1", "T2", seconds(2024, 2, 29, 23, 59, 59) + 0.5, 61.5)
    assert (found.echo_time_ms, found.repetition_time_ms, found.inversion_time_ms, found.flip_angle_deg) == (90, 4000, None, 90)
    assert (found.technique, found.image_type, found.phase_encoding, found.coil) == (("2D", "SE"), ("M",), "ROW", "HeadCoil")
    assert found.geometry is not None
    assert (found.geometry.rows, found.geometry.columns, found.geometry.spacing_mm, found.geometry.slice_thickness_mm) == (32, 24, (1.0, 0.75), 2.0)
    assert found.geometry.orientation == tuple(SAGITTAL)
    first = dcmread(found.stack.frames[0].path, stop_before_pixels=True)
    assert found.geometry.positions_mm[0] == tuple(first.ImagePositionPatient)
    np.testing.assert_allclose(np.diff(found.geometry.coordinates_mm), 2.0, atol=1e-6)
    assert {ref.path for ref in found.stack.frames} == set(paths)


def test_the_order_of_the_files_does_not_matter(tmp_path: Path) -> None:
    uid, generator = str(generate_uid()), np.random.default_rng(0)
    paths = [
        path for echo in (1, 2)
        for path in make_series(tmp_path, 4, prefix=f"e{echo}", SeriesInstanceUID=uid, EchoTime=30 * echo, AcquisitionNumber=echo)
    ]  # fmt: skip
    expected = read_volumes(paths)
    assert [one.stack.label for one in expected.volumes] == ["echo 1 (TE 30 ms)", "echo 2 (TE 60 ms)"]
    assert [one.echo_time_ms for one in expected.volumes] == [30, 60]
    assert {one.n_stacks for one in expected.volumes} == {2}
    for _ in range(5):
        assert read_volumes([paths[index] for index in generator.permutation(8)]) == expected


def test_an_enhanced_file_has_a_volume_a_stack(tmp_path: Path) -> None:
    volumes = [{"TemporalPositionIndex": float(index)} for index in (1, 2, 3)]
    make_enhanced(tmp_path / "one.dcm", 4, volumes=volumes, AcquisitionDateTime="20240102030405.5", AcquisitionDuration=30.0)
    found = read(tmp_path).volumes
    assert [one.stack.label for one in found] == ["time 1", "time 2", "time 3"]
    assert {(one.started_s, one.duration_s, one.n_stacks) for one in found} == {(seconds(2024, 1, 2, 3, 4, 5) + 0.5, 30.0, 3)}
    assert [ref.frame for ref in found[1].stack.frames] == [4, 5, 6, 7]
    assert len({one.geometry for one in found}) == 1


@pytest.mark.parametrize(
    ("attrs", "expected"),
    [
        ({"PatientID": "7", "IssuerOfPatientID": "West"}, "7^^^West"), ({"PatientID": " 7 "}, "7"),
        ({"PatientID": "", "PatientName": "Doe^Jane", "PatientBirthDate": "19700101"}, "DOE^JANE\\19700101"),
        ({"PatientID": None, "PatientName": "Anonymous", "PatientBirthDate": ""}, ""),
        ({"PatientID": None, "PatientName": "", "PatientBirthDate": "19700101"}, ""),
    ],
)  # fmt: skip
def test_who_the_patient_is(tmp_path: Path, attrs: dict[str, object], expected: str) -> None:
    make_series(tmp_path, 2, **attrs)
    assert only(tmp_path).patient == expected


def test_files_that_name_two_patients_are_refused(tmp_path: Path) -> None:
    make_series(tmp_path, 4, vary={"PatientID": ["A", "A", "B", "A"]})
    assert only(tmp_path).refused.startswith("its files name 2 patients")


def test_refused_series_come_once_for_each_reason(tmp_path: Path) -> None:
    make_series(
        tmp_path,
        6,
        vary={"ImageType": [["ORIGINAL", "PRIMARY", "M"]] * 2 + [["ORIGINAL", "PRIMARY", "P"]] * 2 + [["DERIVED", "SECONDARY", "MPR"]] * 2},
    )
    found = sorted(read(tmp_path).volumes, key=lambda one: one.refused)
    assert [(len(one.stack.frames), one.refused.split(":")[0]) for one in found] == [(2, ""), (2, "a phase image"), (2, "computed from other images")]


def test_damage_is_told_file_by_file_and_refuses_all(tmp_path: Path) -> None:
    paths = make_series(tmp_path, 4)
    paths[1].write_bytes(paths[1].read_bytes()[:-100])
    paths[2].write_bytes(paths[2].read_bytes()[:200])
    found = read(tmp_path)
    assert set(found.problems) == {paths[1], paths[2]}
    (volume,) = found.volumes
    assert volume.refused.startswith("2 of its 4 files damaged")
    for path in paths:
        path.write_bytes(path.read_bytes()[:150])
    assert read(tmp_path).volumes == ()


def test_a_series_that_cannot_be_understood_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(dataset: Dataset, frame: int) -> None:
        raise ValueError(frame)

    paths = make_series(tmp_path, 3)
    monkeypatch.setattr("onenex.dicom.volumes.acquisition_of", fails)
    found = read(tmp_path)
    assert (found.volumes, list(found.problems)) == ((), [paths[0]])


def test_a_whole_copy_replaces_a_damaged_one_in_either_order(tmp_path: Path) -> None:
    paths = make_series(tmp_path, 3)
    for whole, bad in (("z.dcm", paths[0]), ("a.dcm", paths[1])):
        shutil.copyfile(bad, tmp_path / whole)
        bad.write_bytes(bad.read_bytes()[:-100])
    found = read(tmp_path)
    assert (found.volumes[0].refused, len(found.volumes[0].stack.frames), dict(found.problems)) == ("", 3, {})


def test_twins_under_new_uids_are_no_repeats_but_later_images_are(tmp_path: Path) -> None:
    uid, day = str(generate_uid()), {"AcquisitionDate": "20240101"}
    make_series(tmp_path, 3, prefix="a", SeriesInstanceUID=uid, AcquisitionTime="100000", **day)
    make_series(tmp_path, 3, prefix="b", SeriesInstanceUID=uid, AcquisitionTime="100000", **day)
    assert only(tmp_path).stack.label == ""
    make_series(tmp_path, 3, prefix="c", SeriesInstanceUID=uid, AcquisitionTime="100100", **day)
    found = read(tmp_path).volumes
    assert [(one.stack.label, one.started_s) for one in found] == [("repeat 1", seconds(2024, 1, 1, 10)), ("repeat 2", seconds(2024, 1, 1, 10, 1))]


def test_missing_geometry_is_none(tmp_path: Path) -> None:
    make_series(tmp_path, 3, PixelSpacing=None)
    assert only(tmp_path).geometry is None


@pytest.mark.parametrize(
    ("attrs", "expected"),
    [
        ({"ContrastBolusAgent": "Gadovist"}, True), ({"ContrastBolusAgent": "off"}, False), ({"ContrastBolusAgent": ""}, False),
        ({"SeriesDescription": "t1_tse_tra_KM"}, True), ({"SeriesDescription": "AX T1 +C"}, True), ({"SeriesDescription": "T1 post Gd"}, True),
        ({"SeriesDescription": "T1 pre contrast"}, False), ({"SeriesDescription": "T1 ohne KM"}, False),
        ({"SeriesDescription": "posterior fossa"}, False),
        ({"SeriesDescription": "T1 SE 3000"}, False),
    ],
)  # fmt: skip
def test_contrast_agent(tmp_path: Path, attrs: dict[str, object], expected: bool) -> None:
    make_series(tmp_path, 2, **attrs)
    assert only(tmp_path).contrast_agent is expected


@pytest.mark.parametrize(
    ("attrs", "expected"),
    [
        ({"SeriesDescription": "T2"}, (None, ())), ({"SeriesDescription": "DWI"}, (None, None)), ({"DiffusionBValue": 0.0}, (0.0, ())),
        ({"DiffusionBValue": 800.0}, (800.0, None)), ({"DiffusionBValue": 800.0, "DiffusionDirectionality": "ISOTROPIC"}, (800.0, ())),
        ({"DiffusionBValue": 800.0, "DiffusionGradientOrientation": [0.0, 0.6, 0.8]}, (800.0, (0.0, 0.6, 0.8))),
        ({"DiffusionBValue": 800.0, "ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "TRACEW"]}, (800.0, ())),
    ],
)  # fmt: skip
def test_diffusion(tmp_path: Path, attrs: dict[str, object], expected: tuple[object, object]) -> None:
    make_series(tmp_path, 2, **attrs)
    assert (only(tmp_path).b_value, only(tmp_path).direction) == expected


def test_the_dimension_goes_by_the_majority_of_the_frames(tmp_path: Path) -> None:
    make_series(tmp_path, 3, vary={"MRAcquisitionType": ["3D", "2D", "2D"]})
    assert only(tmp_path).technique == ("2D", "SE")


@pytest.mark.parametrize(
    ("attrs", "expected"),
    [({"Laterality": "L"}, "L"), ({"Laterality": "", "ImageLaterality": "R"}, "R"), ({"Laterality": "B"}, ""), ({}, "")],
)
def test_laterality(tmp_path: Path, attrs: dict[str, object], expected: str) -> None:
    make_series(tmp_path, 2, **attrs)
    assert only(tmp_path).laterality == expected


@pytest.mark.parametrize(
    ("attrs", "expected"),
    [
        ({"AcquisitionDateTime": "20240101120000.25+0100"}, seconds(2024, 1, 1, 12) + 0.25),
        ({"AcquisitionDateTime": "20240101", "AcquisitionDate": "20240101", "AcquisitionTime": "0805"}, seconds(2024, 1, 1, 8, 5)),
        ({"AcquisitionTime": "080500", "AcquisitionDate": None, "StudyDate": "20240101"}, seconds(2024, 1, 1, 8, 5)),
        ({"AcquisitionDate": "20240101", "AcquisitionTime": "000000.00", "ContentDate": "20240101", "ContentTime": "000000"}, None),
        ({"ContentDate": "20240101", "ContentTime": "09"}, seconds(2024, 1, 1, 9)),
        ({"SeriesDate": "20241301", "SeriesTime": "09"}, None), ({"AcquisitionDateTime": "yesterday"}, None),
    ],
)  # fmt: skip
def test_when_it_began(attrs: dict[str, object], expected: float | None) -> None:
    blank = dict.fromkeys((f"{what}{part}" for what in ("Acquisition", "Content", "Series", "Study") for part in ("Date", "Time")), None)
    with quiet():
        assert started_s(header(**(blank | attrs))) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("TA 02:15", 135.0), ("TA 00.40*12", 4.8), ("TA 1:02:03", 3723.0), ("TA 00:35*2", 70.0), ("TA 12.5", 12.5), ("", None), ("TP 0", None)],
)
def test_how_long_siemens_took(text: str, expected: float | None) -> None:
    told = header(Manufacturer="SIEMENS")
    told.dataset.private_block(0x0051, "SIEMENS MR HEADER", create=True).add_new(0x0A, "LO", text)
    assert duration_s(told) == (pytest.approx(expected) if expected is not None else None)


def test_how_long_ge_took() -> None:
    told = header(Manufacturer="GE MEDICAL SYSTEMS")
    told.dataset.private_block(0x0019, "GEMS_ACQU_01", create=True).add_new(0x5A, "FL", 301184992.0)
    assert duration_s(told) == pytest.approx(301.185)


@pytest.mark.parametrize(
    ("vendor", "stated", "made", "expected"),
    [("Philips", 50.15, "100000", 50.15), ("Philips", 190713.0, "100000", None),
     ("UIH", 190713.0, "100341", 190.713), ("UIH", 190713.0, "100300", None)],
)  # fmt: skip
def test_how_long_the_standard_says(vendor: str, stated: float, made: str, expected: float | None) -> None:
    times = {"AcquisitionDate": "20240101", "AcquisitionTime": "100000", "ContentDate": "20240101", "ContentTime": made}
    assert duration_s(header(Manufacturer=vendor, AcquisitionDuration=stated, **times)) == expected


def test_a_glance_tells_files_apart(tmp_path: Path) -> None:
    (good,) = make_series(tmp_path, 1, SOPInstanceUID="1.2.3", SeriesInstanceUID="1.2.4", StudyInstanceUID="1.2.5")
    bare, without = tmp_path / "bare", dcmread(good)
    bare.write_bytes(good.read_bytes()[132 + 12 + dcmread(good).file_meta.FileMetaInformationGroupLength :])
    del without.SeriesInstanceUID
    save(without, tmp_path / "without")
    (tmp_path / "garbage").write_bytes(b"\0" * 128 + b"DICM" + bytes(range(256)))
    (tmp_path / "text").write_text("(0008,0016) UI =MRImageStorage")
    kinds = [one.kind for one in glances(tmp_path / name for name in ("im0000.dcm", "bare", "without", "garbage", "text", "gone"))]
    assert kinds == [FileKind.DICOM, FileKind.DICOM, FileKind.DAMAGED, FileKind.DAMAGED, FileKind.OTHER, FileKind.DENIED]
    first = glances([good])[0]
    assert (first.sop_uid, first.series_uid, first.study_uid) == ("1.2.3", "1.2.4", "1.2.5")


def test_a_glance_does_not_read_past_what_it_needs(tmp_path: Path) -> None:
    (good,) = make_series(tmp_path, 1)
    dataset: Dataset = dcmread(good)
    early = good.read_bytes().index(dataset.SeriesInstanceUID.encode()) + 80
    good.write_bytes(good.read_bytes()[:early])
    assert glances([good])[0].series_uid == dataset.SeriesInstanceUID


@pytest.mark.data
def test_real_series_as_their_headers_have_them(data_dir: Path) -> None:
    philips = read(data_dir / "dicom" / "head_philips_b0_x6").volumes
    assert [(one.b_value, one.technique) for one in philips] == [(0.0, ("2D", "SE"))] + [(2.0, ("2D", "SE"))] * 5
    assert {round(one.duration_s or 0, 3) for one in philips} == {50.147}
    assert len({one.geometry for one in philips}) == 1
    assert only(data_dir / "dicom" / "head_uih_t1").duration_s == pytest.approx(190.713)
    assert only(data_dir / "dicom" / "head_siemens_t1_enhanced").duration_s == pytest.approx(169.862)
    assert only(data_dir / "dicom" / "knee_ge_pd_te32").started_s is None  # its time was blanked to midnight
    assert not only(data_dir / "dicom" / "lspine_hitachi_t2").contrast_agent  # ContrastBolusAgent is "off"
