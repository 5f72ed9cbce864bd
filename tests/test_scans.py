"""The packed-scan door: what it reads, repairs and refuses."""

from pathlib import Path

import numpy as np
import pytest

from onenex.errors import DataError
from onenex.scans import load_images, read_manifest, write_scan
from onenex.series import Acquisition

HEADER = (
    "split,id,kind,organ,vendor,model,field_strength_T,sequence,plane,n_slices,n_repeats,rows,columns,echo_time_ms,repetition_time_ms,"
    "inversion_time_ms,flip_angle_deg,nex,pixel_spacing_mm,slice_thickness_mm,source,licence,note\n"
)
CLEAN = 'test,a,clean,knee,GE,X,3.0,PDw,sagittal,2,1,4,5,12.5,,,90.0,1.0,0.6,3.0,here,MIT,"a note, with a comma"\n'
REPEATS = "train,b,repeats,head,unknown,,,DWI,axial,2,3,4,5,,,,,,,,here,MIT,\n"


def folder_of(tmp_path: Path, rows: str, **arrays: np.ndarray) -> Path:
    (tmp_path / "manifest.csv").write_text(HEADER + rows, encoding="utf-8")
    for name, images in arrays.items():
        path = tmp_path / ("train" if name == "b" else "test") / f"{name}.npz"
        path.parent.mkdir(exist_ok=True)
        np.savez_compressed(path, images=images)
    return tmp_path


def test_rows_are_typed(tmp_path: Path) -> None:
    clean, repeats = read_manifest(folder_of(tmp_path, CLEAN + REPEATS))
    assert (clean.n_slices, clean.field_strength_T, clean.repetition_time_ms) == (2, 3.0, None)
    assert clean.note == "a note, with a comma"
    assert repeats.path == tmp_path / "train" / "b.npz"
    assert clean.acquisition.vendor == "GE"
    assert clean.acquisition.organ == "knee"
    assert repeats.acquisition.nex is None


def test_images_keep_shape_and_values(tmp_path: Path) -> None:
    stored = np.arange(2 * 3 * 4 * 5, dtype=np.uint16).reshape(2, 3, 4, 5)
    (info,) = read_manifest(folder_of(tmp_path, REPEATS, b=stored))
    images = load_images(info)
    assert images.dtype == np.float32
    np.testing.assert_array_equal(images, stored)


def test_signed_data_stored_as_unsigned_gets_its_zero_back(tmp_path: Path) -> None:
    stored = (np.arange(40).reshape(2, 4, 5) + 32768).astype(np.uint16)
    (info,) = read_manifest(folder_of(tmp_path, CLEAN, a=stored))
    np.testing.assert_array_equal(load_images(info), np.arange(40).reshape(2, 4, 5))


@pytest.mark.parametrize(
    ("rows", "arrays", "message"),
    [
        (CLEAN, {}, "missing"),
        (CLEAN, {"a": np.zeros((2, 4, 6), np.uint16)}, "the manifest says"),
        (CLEAN.replace("3.0,PDw", "high,PDw"), {}, "not a number"),
        (CLEAN.replace("sagittal,2,", "sagittal,2.5,"), {}, "whole number"),
        ("test,a,clean\n", {}, "no column"),
    ],
)
def test_bad_folders_are_refused(tmp_path: Path, rows: str, arrays: dict[str, np.ndarray], message: str) -> None:
    folder = folder_of(tmp_path, rows, **arrays)
    with pytest.raises(DataError, match=message):
        load_images(read_manifest(folder)[0])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0])
def test_what_no_magnitude_is_is_refused(tmp_path: Path, bad: float) -> None:
    images = np.ones((2, 4, 5), np.float32)
    images[1, 2, 3] = bad
    with pytest.raises(DataError, match="1 pixels are negative, NaN or infinite: store magnitudes"):
        load_images(read_manifest(folder_of(tmp_path, CLEAN, a=images))[0])


def test_unknown_kinds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"manifest\.csv:2: kind is 'pair': write one of clean, repeats, pairs"):
        read_manifest(folder_of(tmp_path, CLEAN.replace("clean", "pair")))


def test_columns_of_pairs_may_be_missing(tmp_path: Path) -> None:
    pairs = REPEATS.replace("repeats", "pairs").replace("2,3,4,5", "2,2,4,5")
    (info,) = read_manifest(folder_of(tmp_path, pairs, b=np.ones((2, 2, 4, 5), np.uint16)))
    assert (info.reference_nex, info.acceleration) == (None, None)
    assert load_images(info).shape == (2, 2, 4, 5)
    np.savez_compressed(info.path, images=np.ones((2, 3, 4, 5), np.uint16))
    with pytest.raises(DataError, match=r"\(2, 3, 4, 5\), the manifest says \(2, 2, 4, 5\).*kind pairs is \(slice, 2, row, column\)"):
        load_images(info)


def test_written_scans_are_read_back(tmp_path: Path) -> None:
    acquisition = Acquisition(vendor="GE", organ="knee", field_strength_T=1.5, acceleration=2.0)
    images = np.arange(2 * 2 * 4 * 5, dtype=np.uint16).reshape(2, 2, 4, 5)
    write_scan(tmp_path, "one", images, "pairs", vars(acquisition) | {"reference_nex": 3, "note": "a, b"})
    write_scan(tmp_path, "two", images[:, 0], "clean", {"split": "test"})
    write_scan(tmp_path, "one", images + 1, "pairs", vars(acquisition) | {"reference_nex": 4, "patient": "p7"})
    clean, pairs = read_manifest(tmp_path)
    assert (clean.id, clean.split, clean.organ, clean.nex) == ("two", "test", "", None)
    assert pairs.patient == "p7"
    assert (pairs.reference_nex, pairs.acquisition.vendor, pairs.acquisition.acceleration, pairs.note) == (4, "GE", 2.0, "")
    np.testing.assert_array_equal(load_images(pairs), images + 1)
    np.testing.assert_array_equal(load_images(clean), images[:, 0])


def test_foreign_columns_survive_writing(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, CLEAN.strip() + ",mine\n")
    manifest = folder / "manifest.csv"
    manifest.write_text(manifest.read_text().replace("licence,note\n", "licence,note,scanner_room\n"))
    write_scan(folder, "two", np.ones((2, 4, 5)), "clean", {})
    assert "mine" in manifest.read_text()


@pytest.mark.parametrize(
    ("kind", "shape"), [("pairs", (2, 3, 4, 5)), ("pairs", (2, 4, 5)), ("clean", (2, 2, 4, 5)), ("clean", (0, 4, 5)), ("pear", (2, 4, 5))]
)
def test_wrong_shapes_are_not_written(tmp_path: Path, kind: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="kind"):
        write_scan(tmp_path, "one", np.ones(shape), kind, {})
    assert not list(tmp_path.iterdir())


def test_a_folder_without_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"manifest\.csv"):
        read_manifest(tmp_path)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, CLEAN, a=np.zeros((2, 4, 5), np.uint16))
    (folder / "test" / "a.npz").write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(DataError, match="no readable array"):
        load_images(read_manifest(folder)[0])


@pytest.mark.data
def test_every_real_scan_loads(data_dir: Path) -> None:
    infos = [info for info in read_manifest(data_dir) if info.split == "test"]
    assert {info.kind for info in infos} == {"clean", "repeats"}
    for info in infos:
        images = load_images(info)
        assert 0 <= images.min() < 100, info.id
        assert images.max() > 400, info.id
