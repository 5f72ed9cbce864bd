"""Training from a built folder: the batches that `manifest.csv` would give, and memory that does not grow with the data."""

import gc
import logging
import pickle
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from onenex.errors import DataError
from onenex.scans import read_manifest, write_scan
from onenex.train import pairs, prepared
from onenex.train.claim import fingerprint
from onenex.train.config import PhaseConfig, TrainConfig
from onenex.train.dataset import Batch, Scan, draw_batch, load_scans
from onenex.train.validate import validate_restoration
from tests.pairs.built_folder import noise_images, write_built
from tests.train.packed_pairs import ABOUT, SIGMA, magnitude, pair_of, phantom

PHASE = PhaseConfig(steps=2, patch=32, margin=8, simulated_per_batch=2, real_per_batch=2, second_scan=True)
CONFIG = TrainConfig(name="tiny", noise=PHASE, restoration=PHASE, adaptation=PHASE, holdout_every=2)


def scans_of_all_kinds() -> dict[str, tuple[np.ndarray, dict[str, object]]]:
    """Integers, as a scanner stores them: (slice, image, row, column)."""
    clean = phantom(n_slices=4, size=64)
    repeats = np.stack([magnitude(clean, SIGMA, np.random.default_rng(seed)) for seed in range(3)], axis=1) * 1000
    told = {name: value for name, value in ABOUT.items() if name != "source"} | {"source": "our clinic"}
    return {
        "aa1": (np.rint(pair_of(clean)), told | {"kind": "pairs", "reference_nex": 4.0, "acceleration": 4.0, "nex": 1.0}),
        "bb2": (np.rint(repeats), told | {"kind": "repeats"}),
        "cc3": (np.rint(clean[:, None] * 1000), told | {"kind": "clean"}),
        "dd4": (np.rint(pair_of(clean, seed=1)), told | {"kind": "pairs", "reference_nex": None, "nex": 1.0}),
    }


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same scans in a folder with `manifest.csv` and in a built one."""
    plain, built = tmp_path_factory.mktemp("plain"), tmp_path_factory.mktemp("built")
    scans = scans_of_all_kinds()
    for name, (images, about) in scans.items():
        kind = str(about["kind"])
        write_scan(plain, name, images[:, 0] if kind == "clean" else images, kind, about)
    return plain, write_built(built, scans)


def same(first: Batch, second: Batch) -> bool:
    tensors = [name for name, value in vars(first).items() if isinstance(value, torch.Tensor)]
    return first.prompts == second.prompts and all(torch.equal(getattr(first, name), getattr(second, name)) for name in tensors)


@pytest.mark.parametrize("holdout", [False, True])
def test_both_doors_give_the_same_batches(both: tuple[Path, Path], holdout: bool) -> None:
    """To the last bit; the second time from what was kept the first time."""
    plain, built = both
    expected = load_scans(plain, CONFIG, holdout=holdout)
    for _ in range(2):
        scans = load_scans(built, CONFIG, holdout=holdout)
        assert [(scan.info.id, scan.info.kind, scan.least_sigma) for scan in scans] == [
            (scan.info.id, scan.info.kind, scan.least_sigma) for scan in expected
        ]
        for seed in range(6):
            drawn = [draw_batch(one, PHASE, np.random.default_rng(seed)) for one in (expected, scans)]
            assert same(*drawn), seed


def test_both_doors_give_the_same_validation(both: tuple[Path, Path]) -> None:
    def blurred(batch: Batch) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(batch.measured_B1HW, 3, stride=1, padding=1)

    figures = [validate_restoration(blurred, load_scans(folder, CONFIG, holdout=True), PHASE) for folder in both]
    assert set(figures[0]) >= {"gain_db_aa1", "gain_db_bb2", "gain_db_sigma_0.02"}
    assert figures[0] == figures[1]


def test_nothing_is_worked_out_twice(both: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    load_scans(both[1], CONFIG, holdout=False)

    def again(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(pairs, "prepare", again)
    monkeypatch.setattr(prepared, "load_images", again)
    assert len(load_scans(both[1], CONFIG, holdout=True)) == 6


def test_what_was_kept_is_made_again_when_lost_or_out_of_date(tmp_path: Path) -> None:
    images, about = scans_of_all_kinds()["aa1"]
    folder = write_built(tmp_path, {"aa1": (images[:, :, 8:56, 8:56], about)})
    (info,) = read_manifest(folder)
    prepared.prepare_all([info], folder)
    kept = folder / "prepared"
    (maps,) = kept.glob("*.npy")
    content = maps.read_bytes()
    for damage in (b"", content[:-9]):
        maps.write_bytes(damage)
        prepared.prepare_all([info], folder)
        assert maps.read_bytes() == content
    prepared.prepare_all([replace(info, reference_nex=2.0)], folder)
    assert len(list(kept.glob("*.npy"))) == 2


def test_a_folder_for_reading_only_is_kept_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_built(tmp_path / "built", {"cc3": scans_of_all_kinds()["cc3"]})
    monkeypatch.setattr(prepared.os, "access", lambda *_: False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (scan,) = load_scans(folder, CONFIG, holdout=False)
    assert scan.images[0].max() > 0.5
    assert list((tmp_path / "cache" / "onenex" / "prepared").glob("*.json"))
    assert not (folder / "prepared").exists()


def test_pairs_that_teach_nothing_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    scans = scans_of_all_kinds()
    images, about = scans["aa1"]
    folder = write_built(tmp_path, {"aa1": (np.repeat(images[:, :1], 2, axis=1), about), "cc3": scans["cc3"]})
    for _ in range(2):
        with caplog.at_level(logging.WARNING):
            assert [scan.info.id for scan in load_scans(folder, CONFIG, holdout=False)] == ["cc3"]
        assert "event=scan_left_out id=aa1 reason='slice 0: fast scan and reference are the same image" in caplog.text
        caplog.clear()


def test_a_missing_shard_stops_the_run(tmp_path: Path) -> None:
    folder = write_built(tmp_path, {"aa1": scans_of_all_kinds()["aa1"]})
    (folder / "shards" / "aa" / "aa1.npy").unlink()
    with pytest.raises(DataError, match=r"aa1\.npy: entry 0 cannot be read"):
        load_scans(folder, CONFIG, holdout=False)


def test_the_test_split_is_not_loaded(tmp_path: Path) -> None:
    scans = scans_of_all_kinds()
    scans["bb2"][1]["split"] = "test"
    loaded = load_scans(write_built(tmp_path, {name: scans[name] for name in ("bb2", "cc3")}), CONFIG, holdout=False)
    assert [scan.info.id for scan in loaded] == ["cc3"]


def test_scans_travel_to_the_processes_that_draw(both: tuple[Path, Path]) -> None:
    """As references to shards, not as pixels."""
    scans = load_scans(both[1], CONFIG, holdout=False)
    sent = pickle.dumps(scans)
    assert len(sent) < 30_000
    received: list[Scan] = pickle.loads(sent)
    assert same(*(draw_batch(one, PHASE, np.random.default_rng(0)) for one in (scans, received)))


def test_a_run_knows_its_data_again(both: tuple[Path, Path], tmp_path: Path) -> None:
    """The fingerprint of scans in memory is that of earlier versions: their runs can be resumed."""
    plain, built = (load_scans(folder, CONFIG, holdout=False) for folder in both)
    assert fingerprint(built) == fingerprint(load_scans(both[1], CONFIG, holdout=False))
    assert "stored" not in repr(plain[0].info)
    scans = scans_of_all_kinds()
    scans["bb2"][0][0, 0, 5, 5] += 1
    assert fingerprint(load_scans(write_built(tmp_path, scans), CONFIG, holdout=False)) != fingerprint(built)


def test_memory_does_not_grow_with_the_data(tmp_path: Path) -> None:
    """Ten times the files, as little memory: a file costs what the manifest says of it."""
    peaks, config = {}, replace(PHASE, simulated_per_batch=1, real_per_batch=1, second_scan=False)
    for n in (10, 100):
        about = [{"kind": kind} for kind in ("clean", "repeats")]
        folder = write_built(tmp_path / str(n), {f"a{i}": (noise_images(3, 1 + i % 2 * 2, (96, 96), i), about[i % 2]) for i in range(n)})
        gc.collect()
        gc.freeze()  # or pytest's own objects put off the collection of ours
        tracemalloc.start()
        scans = load_scans(folder, CONFIG, holdout=False)
        for step in range(20):
            draw_batch(scans, config, np.random.default_rng(step))
        peaks[n] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        gc.unfreeze()
    pixels = 3 * 2 * 96 * 96 * 4
    assert peaks[100] - peaks[10] < 90 * pixels / 5  # Python's own tables may double meanwhile
