"""The manifest: what is written is read back by the door of all scans; old rows stay; contradictions are refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from onenex import built
from onenex.errors import DataError
from onenex.pairs import manifest
from onenex.scans import load_images, read_manifest, write_scan
from tests.pairs.built_folder import SALT_CHECK, name_of, noise_images, rows_of, write_built

ABOUT = {"organ": "knee", "vendor": "GE", "sequence": "PDw", "plane": "sagittal", "nex": 1.0, "reference_nex": 3.0, "acceleration": 3.0}


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    about = ABOUT | {"transform": tuple(np.eye(3, 4).ravel()), "nmi": 1.25, "fat_suppressed": True, "note": "a, b"}
    rows = rows_of(tmp_path, "aa1", noise_images(), **about) + rows_of(tmp_path, "bb2", noise_images(n_images=4), "repeats")
    assert manifest.add(tmp_path, rows, salt_check=SALT_CHECK) == len(rows)
    assert manifest.read_rows(tmp_path) == rows


def test_the_door_groups_rows_into_scans(tmp_path: Path) -> None:
    """One pair in a unit of its own, one file of repeats, one clean scan, one synthetic pair."""
    scans = {
        "bb2": (noise_images(seed=1) / 7, {"kind": "pairs", "row_spacing_mm": 0.5} | ABOUT),
        "aa1": (noise_images(2, 4, seed=2), {"kind": "repeats", "split": "test", "nex": 2.0}),
        "cc3": (noise_images(3, 1, (5, 9), seed=3), {"kind": "clean"}),
        "dd4": (noise_images(seed=4), {"kind": "synthetic"}),
    }
    pair, repeats, clean, synthetic = infos = read_manifest(write_built(tmp_path, scans))
    assert [info.id for info in infos] == list(scans)
    assert [info.kind for info in infos] == ["pairs", "repeats", "clean", "pairs"]
    assert [(info.n_slices, info.n_repeats, info.rows, info.columns) for info in infos] == [(3, 2, 8, 6), (2, 4, 8, 6), (3, 1, 5, 9), (3, 2, 8, 6)]
    assert (pair.pixel_spacing_mm, pair.reference_nex, pair.acceleration, pair.acquisition.organ) == (0.5, 3.0, 3.0, "knee")
    assert pair.acquisition.evidence["organ"] == "pairs.parquet"
    assert (repeats.split, repeats.nex, repeats.acceleration) == ("test", 2.0, None)
    assert (synthetic.synthetic, pair.synthetic, pair.patient) == (True, False, name_of("patient", "bb2"))
    for info, (images, _) in zip(infos, scans.values(), strict=True):
        wanted = images[:, 0] if info.kind == "clean" else images
        np.testing.assert_allclose(load_images(info), wanted, rtol=0, atol=images.max() / 131000)
    np.testing.assert_array_equal(load_images(clean), scans["cc3"][0][:, 0])


def test_rejected_rows_are_kept_and_not_loaded(tmp_path: Path) -> None:
    images = noise_images(4)
    rows = rows_of(tmp_path, "aa1", images)
    rows[1] = replace(rows[1], accepted=False, reason="residual motion 2.1 px", residual_motion_px=2.1)
    lost = replace(rows[0], id="bb2", accepted=False, reason="other anatomy", shard="", shard_sha256="", index=-1, scales=())
    manifest.add(tmp_path, [*rows, lost], salt_check=SALT_CHECK)
    (info,) = read_manifest(tmp_path)
    assert info.n_slices == 3
    np.testing.assert_array_equal(load_images(info), images[[0, 2, 3]])
    assert [row.reason for row in manifest.read_rows(tmp_path) if not row.accepted] == ["residual motion 2.1 px", "other anatomy"]


def test_a_repeat_that_no_accepted_setting_uses_is_not_loaded(tmp_path: Path) -> None:
    images = noise_images(2, 4)
    rows = rows_of(tmp_path, "aa1", images, "repeats")
    moved = [
        replace(row, accepted=False, reason="repeat 3 moved")
        if row.slice == 0 and len(row.fast_repeats) < 3
        else replace(row, reference_repeats=())
        if row.slice == 0
        else row
        for row in rows
    ]
    manifest.add(tmp_path, moved, salt_check=SALT_CHECK)
    (info,) = read_manifest(tmp_path)
    assert (info.n_repeats, info.n_slices) == (3, 2)
    np.testing.assert_array_equal(load_images(info), images[:, :3])


def test_old_rows_stay_when_data_are_added(tmp_path: Path) -> None:
    first = rows_of(tmp_path, "aa1", noise_images(seed=1), organ="knee")
    manifest.add(tmp_path, first, salt_check=SALT_CHECK)
    path = tmp_path / built.MANIFEST
    table = parquet.read_table(path)
    parquet.write_table(table.append_column("of_tomorrow", pa.array(["x"] * len(table))).replace_schema_metadata(table.schema.metadata), path)
    again = [replace(row, organ="head") for row in first]
    assert manifest.add(tmp_path, again + rows_of(tmp_path, "bb2", noise_images(seed=2)), salt_check=SALT_CHECK) == 3
    rows = manifest.read_rows(tmp_path)
    assert rows[:3] == first
    assert [row.id for row in rows] == ["aa1"] * 3 + ["bb2"] * 3
    assert built.read_table(tmp_path)["of_tomorrow"].to_pylist() == ["x"] * 3 + [None] * 3
    assert len(read_manifest(tmp_path)) == 2


def test_the_same_rows_make_the_same_file(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_built(tmp_path / name, {"aa1": (noise_images(), {})})
    assert (tmp_path / "one" / built.MANIFEST).read_bytes() == (tmp_path / "two" / built.MANIFEST).read_bytes()


def test_a_write_that_fails_leaves_the_old_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_built(tmp_path, {"aa1": (noise_images(), {})})
    before = (tmp_path / built.MANIFEST).read_bytes()

    def torn(table: object, path: Path, **_: object) -> None:
        path.write_bytes(b"PAR1 torn")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(parquet, "write_table", torn)
    with pytest.raises(DataError, match=r"cannot write .*No space left"):
        manifest.add(tmp_path, rows_of(tmp_path, "bb2", noise_images()), salt_check=SALT_CHECK)
    assert (tmp_path / built.MANIFEST).read_bytes() == before
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "synthetic", "split": "test"}, "nothing may be judged by it"),
        ({"split": "dev"}, "write one of pairs"),
        ({"kind": "pear"}, "write one of pairs"),
        ({"shard": ""}, "without an entry"),
        ({"scales": (1.0,)}, "1 scales for 2 images"),
        ({"scales": (1.0, float("nan"))}, "no number above 0"),
        ({"transform": (1.0, 2.0)}, "3 × 4"),
        ({"fast_repeats": (0,), "reference_repeats": (0, 1)}, "favour keeping noise"),
        ({"fast_repeats": (4,)}, "none of the 2"),
        ({"accepted": False}, "no reason"),
        ({"patient": ""}, "no patient"),
    ],
)
def test_rows_that_contradict_themselves_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    row = rows_of(tmp_path, "aa1", noise_images())[0]
    with pytest.raises(DataError, match=message):
        manifest.add(tmp_path, [replace(row, **change)], salt_check=SALT_CHECK)
    assert not (tmp_path / built.MANIFEST).exists()


def test_a_patient_stays_on_one_side(tmp_path: Path) -> None:
    manifest.add(tmp_path, rows_of(tmp_path, "aa1", noise_images(), patient="ff"), salt_check=SALT_CHECK)
    assert manifest.patients(tmp_path) == {"ff": "train"}
    with pytest.raises(DataError, match="in split 'train' already"):
        manifest.add(tmp_path, rows_of(tmp_path, "bb2", noise_images(), patient="ff", split="test"), salt_check=SALT_CHECK)


def test_another_salt_is_noticed(tmp_path: Path) -> None:
    write_built(tmp_path, {"aa1": (noise_images(), {})})
    with pytest.raises(DataError, match="made with another salt"):
        manifest.add(tmp_path, rows_of(tmp_path, "bb2", noise_images()), salt_check="f" * 24)


def test_two_manifests_are_refused(tmp_path: Path) -> None:
    write_scan(tmp_path / "site", "one", np.ones((2, 4, 5)), "clean", {})
    write_built(tmp_path / "site", {"aa1": (noise_images(), {})})
    with pytest.raises(DataError, match=r"two manifests, manifest\.csv and pairs\.parquet"):
        read_manifest(tmp_path / "site")
    with pytest.raises(DataError, match="to another folder"):
        write_scan(write_built(tmp_path / "built", {"aa1": (noise_images(), {})}), "one", np.ones((2, 4, 5)), "clean", {})


def rewritten(folder: Path, change: str) -> None:
    """Damage the manifest behind the writer's back."""
    path = folder / built.MANIFEST
    table = parquet.read_table(path)
    metadata = dict(table.schema.metadata)
    if change == "newer":
        metadata[built.VERSION_KEY] = b"99"
    elif change == "foreign":
        metadata = {}
    elif change in ("disagree", "outside", "synthetic"):
        rows = table.to_pylist()
        rows[1] |= {"disagree": {"rows": 9}, "outside": {}, "synthetic": {}}[change]
        for row in rows:
            row.update({"disagree": {}, "outside": {"shard": "../x.npy"}, "synthetic": {"kind": "synthetic", "split": "test"}}[change])
        table = pa.Table.from_pylist(rows, schema=table.schema)
    elif change == "no column":
        table = table.drop_columns(["scales"])
    parquet.write_table(table.replace_schema_metadata(metadata), path)
    if change == "torn":
        path.write_bytes(path.read_bytes()[:200])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("newer", "format 99, this OneNEX reads up to 1: update"),
        ("foreign", "no manifest of OneNEX"),
        ("torn", "cannot be read"),
        ("disagree", "scan aa1 disagree on 'rows'"),
        ("outside", "lies outside the folder"),
        ("synthetic", "synthetic and in the test split"),
        ("no column", "no column scales"),
    ],
)
def test_bad_manifests_are_refused(tmp_path: Path, change: str, message: str) -> None:
    write_built(tmp_path, {"aa1": (noise_images(), {})})
    rewritten(tmp_path, change)
    with pytest.raises(DataError, match=message):
        read_manifest(tmp_path)


def test_missing_and_short_shards_are_named(tmp_path: Path) -> None:
    (info,) = read_manifest(write_built(tmp_path, {"aa1": (noise_images(), {})}))
    info.path.write_bytes(info.path.read_bytes()[:150])
    with pytest.raises(DataError, match=r"aa1\.npy: entry 0 cannot be read"):
        load_images(info)
    info.path.unlink()
    with pytest.raises(DataError, match=r"aa1\.npy: entry 0 cannot be read"):
        load_images(info)
