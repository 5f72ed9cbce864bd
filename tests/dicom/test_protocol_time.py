"""How long a scan took: as stated, as its protocol implies, or unknown with the reason."""

from pathlib import Path

import pytest
from pydicom import dcmread

from onenex.dicom import acquisition_of, read_series
from onenex.dicom.frames import FrameHeader
from onenex.dicom.protocol_time import scan_time, scan_time_at
from onenex.dicom.synthesise import Protocol, write_mr_series
from onenex.scan_time import ScanTime
from tests.dicom.make import classic_dataset, make_enhanced, phantom

TSE = {
    "RepetitionTime": 4000, "EchoTime": 90, "EchoTrainLength": 16, "NumberOfAverages": 2, "NumberOfPhaseEncodingSteps": 256,
    "MRAcquisitionType": "2D",
}  # fmt: skip
GRE_3D = {
    "ScanningSequence": "GR", "RepetitionTime": 8, "EchoTime": 3, "EchoTrainLength": 1, "NumberOfAverages": 1, "NumberOfPhaseEncodingSteps": 200,
    "MRAcquisitionType": "3D",
}  # fmt: skip


def time_of(n_slices: int = 20, **attrs: object) -> ScanTime:
    dataset = classic_dataset(phantom(1, 32, 24)[0], 0, attrs)
    return scan_time(FrameHeader(dataset), acquisition_of(dataset), n_slices)


def test_a_stated_duration_is_believed_before_anything_else() -> None:
    found = time_of(**TSE, AcquisitionDuration=93.5)
    assert (found.seconds, found.source) == (93.5, "AcquisitionDuration (0018,9073)")


@pytest.mark.parametrize("stated", [0.0, -4.0, 1e9])
def test_nonsense_is_not_believed(stated: float) -> None:
    assert time_of(**TSE, AcquisitionDuration=stated).source.startswith("estimated")


@pytest.mark.parametrize(
    ("attrs", "seconds"),
    [
        ({}, 4 * 2 * 16),
        ({"NumberOfAverages": 1}, 4 * 16),
        ({"ParallelReductionFactorInPlane": 2.0}, 4 * 2 * 8),
        ({"EchoTrainLength": 15}, 4 * 2 * 18),  # 17.07 shots: a train is never half run
        ({"EchoTrainLength": 15, "NumberOfKSpaceTrajectories": 17}, 4 * 2 * 17),
        ({"NumberOfPhaseEncodingSteps": None, "AcquisitionMatrix": [0, 320, 192, 0]}, 4 * 2 * 12),
    ],
)
def test_2d_estimates(attrs: dict[str, object], seconds: float) -> None:
    found = time_of(**(TSE | attrs))
    assert found.seconds == pytest.approx(seconds)
    assert found.source.startswith("estimated from TR, lines, NEX, ETL, ")
    assert ("no acceleration stated" in found.source) == ("ParallelReductionFactorInPlane" not in attrs)
    assert found.source.endswith("all slices in one pass")


def test_slices_are_measured_one_after_the_other_where_tr_holds_only_one() -> None:
    found = time_of(
        n_slices=12, **(TSE | {"ScanningSequence": "GR", "RepetitionTime": 10, "EchoTime": 5, "EchoTrainLength": 1, "NumberOfAverages": 1})
    )
    assert found.seconds == pytest.approx(0.010 * 256 * 12)
    assert found.source.endswith("slice after slice")


def test_3d_estimates_count_partitions_and_both_accelerations() -> None:
    assert time_of(n_slices=60, **GRE_3D).seconds == pytest.approx(0.008 * 200 * 60)
    fourfold = {"ParallelReductionFactorInPlane": 2.0, "ParallelReductionFactorOutOfPlane": 2.0}
    assert time_of(n_slices=60, **(GRE_3D | fourfold)).seconds == pytest.approx(0.008 * 50 * 60)


@pytest.mark.parametrize(
    ("attrs", "why"),
    [
        ({"ScanningSequence": "EP"}, "echo-planar"),
        ({"RepetitionTime": None}, "RepetitionTime is missing"),
        ({"NumberOfAverages": None}, "NumberOfAverages is missing"),
        ({"EchoTrainLength": None}, "EchoTrainLength is missing"),
        ({"NumberOfPhaseEncodingSteps": None}, "NumberOfPhaseEncodingSteps is missing"),
        ({"ScanOptions": "ACC_GEMS"}, "parallel imaging by an unknown factor"),
        ({"EchoTime": 300, "RepetitionTime": 3000}, "20 slices don't fit into one TR"),
        (GRE_3D | {"SequenceVariant": "MP", "InversionTime": 900}, "prepared 3-D gradient echoes"),
        ({"RepetitionTime": 1e9}, "is no scan time"),
        (
            {"AcquisitionDate": "20260101", "AcquisitionTime": "120000", "ContentDate": "20260101", "ContentTime": "120100"},
            "implied|imply, 2:08, is longer than the time from AcquisitionTime to ContentTime",
        ),
    ],
)
def test_what_cannot_be_known_is_none_with_its_reason(attrs: dict[str, object], why: str) -> None:
    found = time_of(**(TSE | attrs))
    assert found.seconds is None
    assert "no duration stated" in found.source
    assert any(words in found.source for words in why.split("|"))


def test_enhanced_headers_are_read_from_their_functional_groups(tmp_path: Path) -> None:
    stated = read_series(make_enhanced(tmp_path / "a.dcm", AcquisitionDuration=61.0))[0].scan_time
    assert stated is not None
    assert stated.seconds == 61.0


def test_a_simulated_series_and_a_damaged_file(tmp_path: Path) -> None:
    write_mr_series(phantom(3, 32, 24).astype("float32"), tmp_path / "one", Protocol(description="T2w", nex=4))
    series = read_series(tmp_path / "one")[0]
    assert series.scan_time is not None
    assert series.scan_time.seconds is None
    assert "NumberOfPhaseEncodingSteps is missing" in series.scan_time.source
    for path in (tmp_path / "one").iterdir():
        header = dcmread(path)
        header.NumberOfPhaseEncodingSteps, header.EchoTrainLength = 192, 16
        header.save_as(path)
    ref = read_series(tmp_path / "one")[0].stacks[0].frames[0]
    assert scan_time_at(ref.path, ref.frame, 3).seconds == pytest.approx(4.8 * 4 * 12)
    (tmp_path / "bad.dcm").write_bytes(b"nothing")
    assert scan_time_at(tmp_path / "bad.dcm", 0, 3) == ScanTime(seconds=None, source="the header cannot be read")


@pytest.mark.data
def test_real_series(data_dir: Path) -> None:
    """Stated times as the vendors write them; the two estimates against the time from acquisition to image, 2:57 and 3:36."""
    times = {one.path.stem if one.path.is_file() else one.path.name: one.scan_time for one in read_series(data_dir / "dicom")}
    seconds = {name: None if one is None else one.seconds for name, one in times.items()}
    assert seconds["head_philips_t1"] == pytest.approx(301.74, abs=0.01)
    assert seconds["head_philips_b0_x6"] == pytest.approx(50.15, abs=0.01)
    assert seconds["head_uih_t1"] == pytest.approx(190.71, abs=0.01)
    assert seconds["lspine_hitachi_t2"] == pytest.approx(177, rel=0.05)
    assert seconds["lspine_hitachi_stir"] == pytest.approx(216, rel=0.05)
    for name, why in (("head_ge_seepi", "echo-planar"), ("knee_ge_pd_te32", "unknown factor"), ("head_siemens_t2flair", "longer than")):
        found = times[name]
        assert found is not None
        assert found.seconds is None
        assert why in found.source
