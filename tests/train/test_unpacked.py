"""Packed scans read slice by slice: the batches that memory would give, and memory that does not grow with the set."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from onenex.errors import DataError
from onenex.scans import read_manifest, write_scan
from onenex.train import unpacked
from onenex.train.config import PhaseConfig, TrainConfig
from onenex.train.dataset import draw_batch, load_scans
from onenex.train.drawing import Draws
from tests.train.packed_pairs import write_site

PHASE = PhaseConfig(steps=6, patch=32, margin=8, simulated_per_batch=2, real_per_batch=2, second_scan=True, sub_batches=2)
CONFIG = TrainConfig(name="tiny", noise=PHASE, restoration=PHASE, adaptation=PHASE, holdout_every=2)
STREAMED = replace(CONFIG, most_in_memory=0)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_site(tmp_path_factory.mktemp("site"), kinds=("pairs", "repeats", "clean"), size=64)
    write_scan(folder, "counts", np.random.default_rng(0).integers(0, 4000, (4, 40, 40)).astype(np.uint16), "clean", {"organ": "head"})
    return folder


@pytest.mark.parametrize("holdout", [False, True])
def test_disk_and_memory_give_the_same_batches(site: Path, holdout: bool) -> None:
    memory, disk = (load_scans(site, config, holdout=holdout) for config in (CONFIG, STREAMED))
    assert all(isinstance(scan.images, np.ndarray) for scan in memory)
    assert not any(isinstance(scan.images, np.ndarray) for scan in disk)
    for seed in range(8):
        one, other = (draw_batch(scans, PHASE, np.random.default_rng(seed)) for scans in (memory, disk))
        for name, value in vars(one).items():
            assert torch.equal(value, getattr(other, name)) if isinstance(value, torch.Tensor) else value == getattr(other, name), name


def test_integers_stay_small_and_everything_is_unpacked_once(site: Path) -> None:
    for _ in range(2):
        load_scans(site, STREAMED, holdout=False)
    copies = {path: np.load(path) for path in (site / "prepared").glob("unpacked-*.npy")}
    assert sorted(str(copy.dtype) for copy in copies.values()) == ["float32"] * 3 + ["uint16"]
    times = {path: path.stat().st_mtime_ns for path in copies}
    load_scans(site, STREAMED, holdout=True)
    assert {path: path.stat().st_mtime_ns for path in copies} == times


def test_a_changed_file_is_unpacked_again(tmp_path: Path) -> None:
    sums = []
    for level in (1, 2):
        write_scan(tmp_path, "one", np.full((2, 32, 32), level, np.uint16) + np.eye(32, dtype=np.uint16), "clean", {})
        (info,) = read_manifest(tmp_path)
        os.utime(info.path, ns=(level, level))
        stored = unpacked.on_disk(info, tmp_path).stored
        assert stored is not None
        sums.append((float(stored.read(0).sum()), stored.sha256))
    assert sums[1][0] - sums[0][0] == 32 * 32
    assert sums[0][1] != sums[1][1]


def test_a_missing_file_is_named(site: Path) -> None:
    (info,) = (info for info in read_manifest(site) if info.id == "counts")
    with pytest.raises(DataError, match=r"gone\.npz is missing"):
        unpacked.on_disk(replace(info, path=site / "gone.npz"), site)


def test_a_resumed_run_draws_on_at_the_same_patch(site: Path) -> None:
    scans = load_scans(site, STREAMED, holdout=False)
    whole, rest = (list(Draws(scans, PHASE, 5, first=first).steps()) for first in (0, 4))
    for one, other in zip([batch for step in whole[4:] for batch in step], [batch for step in rest for batch in step], strict=True):
        assert torch.equal(one.measured_B1HW, other.measured_B1HW)


PROGRAM = """
import sys
from dataclasses import replace
from pathlib import Path
import numpy as np
from onenex.train.dataset import draw_batch, load_scans
from tests.train.test_unpacked import CONFIG, PHASE, STREAMED

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

def most(folder, config):
    scans = load_scans(folder, config, holdout=False)
    found = []
    for step in range(40):
        draw_batch(scans, replace(PHASE, simulated_per_batch=1, real_per_batch=1), np.random.default_rng(step))
        found.append(resident())
    return max(found)

small, large = (Path(word) for word in sys.argv[1:])
most(small, STREAMED)
print(*(most(folder, config) for folder, config in ((small, STREAMED), (large, STREAMED), (large, CONFIG))))
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="asks Linux for the resident memory")
def test_resident_memory_does_not_grow_with_the_set(tmp_path: Path) -> None:
    """Twenty times the files; of the whole process, as the kernel counts it, mapped pages included."""
    counts = np.random.default_rng(0).integers(0, 15, (8, 192, 192)).astype(np.uint16) * 256
    for name, n in (("small", 2), ("large", 40)):
        for number in range(n):
            write_scan(tmp_path / name, f"a{number}", np.roll(counts, number, axis=1), "clean", {})
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, tmp_path / "small", tmp_path / "large"], env=environment, capture_output=True, text=True, check=True
    )  # fmt: skip
    small, large, in_memory = (int(word) for word in done.stdout.split())
    print(f"resident: small {small / 1e6:.0f} MB, large {large / 1e6:.0f} MB, large in memory {in_memory / 1e6:.0f} MB")
    pixels = 38 * counts.size * 4
    assert large - small < 0.1 * pixels
    assert in_memory - small > 0.8 * pixels
