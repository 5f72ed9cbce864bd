"""NIfTI files come back as they went in: header, affine, and every voxel that nobody changed."""

import gzip
import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from onenex.errors import DataError, OneNexError, OutOfDomain
from onenex.nifti import read_series
from onenex.series import Provenance, Series

PROVENANCE = Provenance(version="0.1.0", weights_hash="0123456789ab", mode="fast", strength=1.0, seed=0)
INTEGERS = [np.uint8, np.int8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64]
AFFINE = np.array([[-0.9, 0.1, 0, 90], [0.05, 0.9, 0.3, -120], [0, -0.2, 3.0, -60], [0, 0, 0, 1.0]])


def full_range(dtype: type, shape: tuple[int, ...], seed: int = 0) -> NDArray[Any]:
    """Numbers all over the type's range, its ends included."""
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return (rng.normal(size=shape) * 10.0 ** rng.integers(-20, 20, shape)).astype(dtype)
    limits = np.iinfo(dtype)
    numbers = rng.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)
    numbers.flat[:2] = limits.min, limits.max
    return numbers


def save(path: Path, stored: NDArray[Any], *, slope: float = 1.0, inter: float = 0.0, big_endian: bool = False, **header: Any) -> Path:
    """Write `stored` bit for bit behind a header with these fields."""
    image = nib.Nifti1Image(stored, AFFINE, dtype=stored.dtype)
    made = image.header
    made.set_xyzt_units("mm", "sec")
    made["descrip"] = header.pop("descrip", b"made by a test")
    for key, value in header.items():
        made[key] = value
    made.set_data_dtype(stored.dtype)
    made["scl_slope"], made["scl_inter"], made["magic"], made["vox_offset"] = slope, inter, b"n+1", 352
    made = made.as_byteswapped(">") if big_endian else made
    data = made.binaryblock + b"\0" * 4 + stored.astype(stored.dtype.newbyteorder(">" if big_endian else "<")).tobytes(order="F")
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def raw(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def rewrite(series: Series, folder: Path, add: float = 0.0) -> list[Path]:
    folder.mkdir(exist_ok=True)
    writer = series.source.writer(series, folder, PROVENANCE)
    for stack in series.stacks:
        writer.write(stack, series.source.images(stack) + np.float32(add))
    return writer.close()


@pytest.mark.parametrize("dtype", [*INTEGERS, np.float32, np.float64], ids=lambda d: np.dtype(d).name)
@pytest.mark.parametrize(("slope", "inter"), [(1.0, 0.0), (0.0, 0.0), (2.36166056, -17.5), (-0.001, 3.0)])
@pytest.mark.parametrize("big_endian", [False, True])
def test_unchanged_voxels_keep_their_bits(tmp_path: Path, dtype: type, slope: float, inter: float, big_endian: bool) -> None:
    source = save(tmp_path / "scan.nii", full_range(dtype, (5, 4, 3)), slope=slope, inter=inter, big_endian=big_endian)
    (written,) = rewrite(read_series(source)[0], tmp_path / "out")
    before, after = bytearray(raw(source)), bytearray(raw(written))
    assert after[348:] == before[348:]
    assert nib.load(written).header["descrip"] == b"made by a test; OneNEX 0.1.0 fast s=1 w=0123456789ab"
    after[148:228] = before[148:228]
    assert after == before


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 4), (6, 5, 4, 3), (1, 5, 4), (6, 1, 4), (6, 5, 1), (1, 7, 1), (6, 5, 4, 3, 1)])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_any_shape(tmp_path: Path, shape: tuple[int, ...], ending: str) -> None:
    stored = full_range(np.int16, shape)
    source = save(tmp_path / f"scan{ending}", stored)
    series = read_series(source)[0]
    assert len(series.stacks) == (shape[3] if len(shape) > 3 else 1)
    for stack in series.stacks:
        assert series.source.images(stack).shape == (len(stack.frames), stack.rows, stack.columns)
    (written,) = rewrite(series, tmp_path / "out")
    assert written == (tmp_path / "out" / f"scan_OneNEX{ending}").resolve()
    assert raw(written)[348:] == raw(source)[348:]
    assert nib.load(written).shape == shape
    np.testing.assert_array_equal(nib.load(written).affine, nib.load(source).affine)


@pytest.mark.parametrize(
    ("zooms", "dim_info", "shape", "axis"),
    [
        ((1, 1, 3), 0, (6, 5, 4), 2),
        ((3, 1, 1), 0, (6, 5, 4), 0),
        ((1, 3, 1), 0, (6, 5, 4), 1),
        ((1, 1, 1), 0, (6, 5, 4), 2),
        ((1, 1.005, 1), 0, (6, 5, 4), 2),
        ((3, 3, 1), 0, (6, 5, 4), 2),
        ((3, 1, 1), 0b100000, (6, 5, 4), 1),
        ((1, 1, 3), 0, (1, 5, 4), 0),
    ],
)
def test_slice_direction(tmp_path: Path, zooms: tuple[float, ...], dim_info: int, shape: tuple[int, int, int], axis: int) -> None:
    stored = full_range(np.int16, shape)
    series = read_series(save(tmp_path / "scan.nii", stored, pixdim=[1, *zooms, 1, 0, 0, 0], dim_info=dim_info))[0]
    (stack,) = series.stacks
    assert len(stack.frames) == shape[axis]
    first, second = (other for other in range(3) if other != axis)
    np.testing.assert_array_equal(series.source.images(stack), stored.transpose(axis, second, first))
    assert stack.spacing_mm == pytest.approx((zooms[axis], zooms[second], zooms[first]))


def test_scale_is_applied_and_undone(tmp_path: Path) -> None:
    source = save(tmp_path / "scan.nii", np.arange(60, dtype=np.int16).reshape(5, 4, 3), slope=0.5, inter=-10.0)
    series = read_series(source)[0]
    images = series.source.images(series.stacks[0])
    assert images.min() == -10.0
    assert images.max() == 19.5
    (written,) = rewrite(series, tmp_path / "out", add=0.5)
    np.testing.assert_array_equal(nib.load(written).dataobj.get_unscaled(), nib.load(source).dataobj.get_unscaled() + 1)
    np.testing.assert_array_equal(nib.load(written).get_fdata(), nib.load(source).get_fdata() + 0.5)


@pytest.mark.parametrize("dtype", INTEGERS, ids=lambda d: np.dtype(d).name)
def test_what_does_not_fit_is_clipped(tmp_path: Path, dtype: type) -> None:
    source = save(tmp_path / "scan.nii", np.full((3, 3, 2), 100, dtype))
    for add, limit in ((1e30, np.iinfo(dtype).max), (-1e30, np.iinfo(dtype).min)):
        (written,) = rewrite(read_series(source)[0], tmp_path / "out", add=add)
        voxels = nib.load(written).dataobj.get_unscaled()
        np.testing.assert_allclose(voxels.astype(float), float(limit), rtol=1e-15)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["scan_OneNEX.nii", "scan_OneNEX_2.nii"]


def test_header_fields_extensions_and_nifti2_survive(tmp_path: Path) -> None:
    for kind in (nib.Nifti1Image, nib.Nifti2Image):
        image = kind(full_range(np.int16, (6, 5, 4)), AFFINE)
        image.set_qform(AFFINE, 1)
        image.set_sform(AFFINE, 4)
        image.header.set_intent("estimate", (), name="mri")
        image.header.set_xyzt_units("micron", "msec")
        image.header["descrip"] = b"x" * 60
        image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"kept"))
        image.to_filename(tmp_path / "scan.nii.gz")
        series = read_series(tmp_path / "scan.nii.gz")[0]
        written = rewrite(series, tmp_path / "out")[0]
        assert raw(written) == raw(tmp_path / "scan.nii.gz")  # descrip has no room for the note
        assert type(nib.load(written)) is kind
        assert nib.load(written).header.extensions[0].get_content() == b"kept"
        assert series.stacks[0].spacing_mm == pytest.approx(np.linalg.norm(AFFINE[:3, [2, 1, 0]], axis=0) / 1000)


def test_same_run_same_bytes(tmp_path: Path) -> None:
    series = read_series(save(tmp_path / "scan.nii.gz", full_range(np.int16, (6, 5, 4))))[0]
    assert rewrite(series, tmp_path / "a", add=3)[0].read_bytes() == rewrite(series, tmp_path / "b", add=3)[0].read_bytes()


def test_sidecar_tells_the_acquisition_and_is_copied(tmp_path: Path) -> None:
    said = {
        "Manufacturer": "GE MEDICAL SYSTEMS",
        "MagneticFieldStrength": 3,
        "BodyPartExamined": "C-SPINE",
        "ParallelReductionFactorInPlane": 2,
        "NumberOfAverages": 0,
    }
    (tmp_path / "sub-1_T2w.json").write_text(json.dumps(said))
    series = read_series(save(tmp_path / "sub-1_T2w.nii.gz", full_range(np.int16, (6, 5, 4))))[0]
    known = series.acquisition
    assert (known.vendor, known.organ, known.sequence, known.field_strength_T, known.acceleration, known.nex) == (
        "GE",
        "C-spine",
        "T2w",
        3.0,
        2.0,
        None,
    )
    assert set(known.evidence) == {"vendor", "organ", "sequence", "field_strength_T", "acceleration"}
    image, sidecar = rewrite(series, tmp_path / "out")
    assert image.name == "sub-1_T2w_OneNEX.nii.gz"
    made = {"Version": "0.1.0", "Weights": "0123456789ab", "Mode": "fast", "Strength": 1.0, "Seed": 0, "Guard": True}
    assert json.loads(sidecar.read_text()) == {**said, "Sources": ["sub-1_T2w.nii.gz"], "OneNEX": made}


def test_without_sidecar_nothing_is_made_up(tmp_path: Path) -> None:
    (tmp_path / "scan.json").write_text("[1, 2]")
    series = read_series(save(tmp_path / "scan.nii", full_range(np.int16, (6, 5, 4))))[0]
    assert series.acquisition.evidence == {}
    assert (series.uid, series.description, series.skip_reason) == ("scan.nii", "scan", None)


@pytest.mark.parametrize(
    ("name", "image_type"), [("sub-1_part-phase_bold", ["M"]), ("sub-1_phase2", []), ("scan", ["ORIGINAL", "PRIMARY", "P", "ND"])]
)
def test_phase_images_are_skipped(tmp_path: Path, name: str, image_type: list[str]) -> None:
    (tmp_path / f"{name}.json").write_text(json.dumps({"ImageType": image_type}))
    reason = read_series(save(tmp_path / f"{name}.nii", full_range(np.int16, (6, 5, 4))))[0].skip_reason
    assert reason is not None
    assert "phase" in reason


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused_with_their_number_and_place(tmp_path: Path, bad: float) -> None:
    stored = np.ones((6, 5, 4, 2), np.float32)
    stored[1, 2, 3, 1] = stored[0, 0, 2, 1] = bad
    series = read_series(save(tmp_path / "scan.nii", stored))[0]
    series.source.images(series.stacks[0])
    with pytest.raises(OutOfDomain, match=r"scan\.nii, volume 2: 2 of 120 voxels are NaN.*slice 3.*replace"):
        series.source.images(series.stacks[1])
    writer = series.source.writer(series, tmp_path, PROVENANCE)
    with pytest.raises(OutOfDomain, match="NaN"):
        writer.write(series.stacks[0], np.full((4, 5, 6), bad, np.float32))


def test_numbers_beyond_float32_are_refused(tmp_path: Path) -> None:
    series = read_series(save(tmp_path / "scan.nii", np.full((3, 3, 2), 1e200)))[0]
    with pytest.raises(OutOfDomain, match="beyond float32"):
        series.source.images(series.stacks[0])


def test_colour_and_complex_are_refused(tmp_path: Path) -> None:
    colour = np.zeros((3, 3, 2), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
    nib.Nifti1Image(colour, AFFINE).to_filename(tmp_path / "colour.nii")
    nib.Nifti1Image(np.zeros((3, 3, 2), np.complex64), AFFINE).to_filename(tmp_path / "complex.nii")
    for name in ("colour", "complex"):
        with pytest.raises(DataError, match=rf"{name}\.nii holds {name} voxels"):
            read_series(tmp_path / f"{name}.nii")


def test_five_dimensions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="two to four dimensions"):
        read_series(save(tmp_path / "scan.nii", np.zeros((3, 3, 2, 1, 3), np.int16)))


@pytest.mark.parametrize("name", ["text.nii", "text.nii.gz", "empty.nii", "empty.nii.gz", "absent.nii", "other.mgz"])
def test_what_is_no_nifti_is_refused(tmp_path: Path, name: str) -> None:
    if not name.startswith("absent"):
        (tmp_path / name).write_text("" if name.startswith("empty") else "hello " * 100)
    with pytest.raises(DataError, match=name):
        read_series(tmp_path / name)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("keep", [0.2, 0.9])
def test_truncated_files_are_refused(tmp_path: Path, ending: str, keep: float) -> None:
    source = save(tmp_path / f"scan{ending}", full_range(np.int16, (16, 16, 8)))
    data = source.read_bytes()
    source.write_bytes(data[: int(len(data) * keep)])

    def read() -> None:
        series = read_series(source)[0]
        series.source.images(series.stacks[0])

    with pytest.raises(DataError, match="truncated"):
        read()


def test_a_header_that_promises_terabytes_is_refused(tmp_path: Path) -> None:
    source = save(tmp_path / "scan.nii", np.zeros((3, 3, 2), np.int16), dim=[3, 32767, 32767, 32767, 1, 1, 1, 1])
    with pytest.raises(DataError, match="truncated"):
        read_series(source)


def test_volumes_out_of_order_or_missing_are_refused(tmp_path: Path) -> None:
    series = read_series(save(tmp_path / "scan.nii", full_range(np.int16, (6, 5, 4, 3))))[0]
    writer = series.source.writer(series, tmp_path, PROVENANCE)
    images = [series.source.images(stack) for stack in series.stacks]
    with pytest.raises(DataError, match="order"):
        writer.write(series.stacks[1], images[1])
    writer.write(series.stacks[0], images[0])
    with pytest.raises(DataError, match="order"):
        writer.write(series.stacks[1], images[1][:-1])
    with pytest.raises(OneNexError, match="1 of 3 volumes"):
        writer.close()
