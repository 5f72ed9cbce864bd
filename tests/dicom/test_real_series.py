"""Every real series of shared/data: accepted or refused rightly, understood, read and restored bit for bit."""

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from onenex.dicom import DicomSource, read_series
from onenex.dicom.pixels import embed, extract, to_images, to_stored
from onenex.series import Series

pytestmark = pytest.mark.data

ACCEPTED = {
    "head_ge_seepi": ("GE", "head", "T2w", "axial", 3.0, 1.0, [60]),
    "head_philips_b0_x6": ("Philips", "head", "DWI", "axial", 3.0, 1.0, [16] * 6),
    "head_philips_t1": ("Philips", "head", "T1w", "sagittal", 3.0, 1.0, [24]),
    "head_siemens_t1_enhanced": ("Siemens", "head", "T1w", "sagittal", 3.0, 1.0, [96]),
    "head_siemens_t2flair": ("Siemens", "head", "T2-FLAIR", "axial", 1.5, 1.0, [30]),
    "head_uih_t1": ("UIH", "head", "T1w", "sagittal", 3.0, 1.0, [24]),
    "knee_ge_pd_te32": ("GE", "knee", "PDw", "sagittal", 3.0, 1.0, [24]),
    "lspine_hitachi_stir": ("Hitachi", "L-spine", "STIR", "sagittal", 0.3, 4.0, [11]),
    "lspine_hitachi_t2": ("Hitachi", "L-spine", "T2w", "sagittal", 0.3, 4.0, [11]),
}
REFUSED = {
    "head_siemens_adc_map": "an ADC map: ImageType (0008,0008) says ADC",
    "head_siemens_dwi_mosaic": "a mosaic of many slices in one image: ImageType (0008,0008) says MOSAIC",
}


def only_series(data_dir: Path, name: str) -> Series:
    (series,) = read_series(data_dir / "dicom" / name)
    return series


def test_no_series_is_left_out(data_dir: Path) -> None:
    assert {path.name for path in (data_dir / "dicom").iterdir()} == set(ACCEPTED) | set(REFUSED)


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted_and_understood(data_dir: Path, name: str) -> None:
    series = only_series(data_dir, name)
    vendor, organ, sequence, plane, field, nex, sizes = ACCEPTED[name]
    acquisition = series.acquisition
    assert series.skip_reason is None
    assert (acquisition.vendor, acquisition.organ, acquisition.sequence, acquisition.plane) == (vendor, organ, sequence, plane)
    assert (acquisition.field_strength_T, acquisition.nex) == (field, nex)
    assert [len(stack.frames) for stack in series.stacks] == sizes
    assert {"vendor", "organ", "sequence", "plane", "field_strength_T", "nex"} <= set(acquisition.evidence)
    for stack in series.stacks:
        assert stack.spacing_mm is not None
        assert stack.spacing_mm[0] > 0


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_a_reason(data_dir: Path, name: str) -> None:
    assert (only_series(data_dir, name).skip_reason or "").startswith(REFUSED[name])


def test_the_knees_only_word_on_its_organ_is_the_coil(data_dir: Path) -> None:
    assert only_series(data_dir, "knee_ge_pd_te32").acquisition.evidence["organ"] == "ReceiveCoilName (0018,1250)"


def test_philips_stacks_share_their_positions(data_dir: Path) -> None:
    series = only_series(data_dir, "head_philips_b0_x6")
    assert [stack.label for stack in series.stacks] == ["b 0"] + [f"b 2, direction {index}" for index in range(1, 6)]
    positions = [[tuple(dcmread(frame.path, stop_before_pixels=True).ImagePositionPatient) for frame in stack.frames] for stack in series.stacks]
    assert all(one == positions[0] for one in positions)


@pytest.mark.parametrize("name", ACCEPTED)
def test_pixels_go_round_exactly(data_dir: Path, name: str) -> None:
    series = only_series(data_dir, name)
    assert isinstance(series.source, DicomSource)
    stack = series.stacks[-1]
    images = series.source.images(stack)
    raw = {path: dcmread(path) for path in {frame.path for frame in stack.frames}}
    pixels = {path: dataset.pixel_array.reshape(-1, stack.rows, stack.columns) for path, dataset in raw.items()}
    for index, coding, words in series.source.frames(stack):
        ref = stack.frames[index]
        stored = extract(words, coding)
        np.testing.assert_array_equal(stored, pixels[ref.path][ref.frame])
        slope, intercept = (float(raw[ref.path].get(keyword, default)) for keyword, default in (("RescaleSlope", 1), ("RescaleIntercept", 0)))
        np.testing.assert_allclose(images[index], stored * slope + intercept, rtol=1e-6)
        restored = to_stored(images[index], stored, coding)
        np.testing.assert_array_equal(embed(restored, words, coding), words)
        np.testing.assert_array_equal(to_images(restored, coding), images[index])
