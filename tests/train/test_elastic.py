"""torchrun: two processes train what one trains with the doubled batch, and a killed process changes nothing.

`ONENEX_TRAINING=1` (make test-training): every phase, the recipe as it is by the command line, and another number of processes after the kill.
"""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from onenex.model.weights import load_weights
from onenex.train import checkpoint
from onenex.train.loop import Phase
from tests.train import squad
from tests.train.crew import on_the_cpu
from tests.train.packed import write_packed

__all__ = ["on_the_cpu"]

AT_LENGTH = "ONENEX_TRAINING" in os.environ
WHOLE = squad.NAMES if AT_LENGTH else ("restoration",)
REPOSITORY = Path(__file__).resolve().parents[2]
PLACE = {"PYTHONPATH": f"{REPOSITORY / 'src'}:{REPOSITORY}", "OMP_NUM_THREADS": "1", "ONENEX_DEVICE": "cpu", "PYTHONWARNINGS": "ignore"}


def torchrun(*words: object, n: int = 2, restarts: int = 0) -> str:
    """Start processes with torchrun; return what they print."""
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        f"--nproc-per-node={n}",
        f"--max-restarts={restarts}",
        "-m",
        "--",
        *words,
    ]
    inherited = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    done = subprocess.run([str(word) for word in command], env=inherited | PLACE, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_packed(tmp_path_factory.mktemp("packed"))


@pytest.fixture(scope="module")
def pair(data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What the two processes of one torchrun found; the second was killed once, at a step that has no checkpoint."""
    folder = tmp_path_factory.mktemp("pair")
    told = torchrun("tests.train.squad", data, folder, *WHOLE, restarts=1)
    assert "exitcode: -9" in told or "Signal 9 (SIGKILL)" in told, told
    return [torch.load(folder / f"found-by-{rank}-of-2.pt", weights_only=True) for rank in range(2)]


def in_one_pass(phase: Phase) -> Phase:
    return replace(phase, config=replace(phase.config, together=2))


def in_two_passes(phase: Phase) -> Phase:
    return phase


ROUNDED = ("prior",)
"""Its gradients are the same in one pass as in two (`test_accumulated_passes_are_one_pass`), and tiny at first: Adam makes whole steps of what
rounding leaves of them. After 20 steps weights were 9e-6 apart on an Intel Xeon and 8e-4 on an AMD EPYC. So here the doubled batch is two passes."""


def distance(found: dict[str, Any], expected: dict[str, Any]) -> float:
    """Return the largest difference of any weight, over the largest weight where that is above 1 (else as it is)."""
    differences = [float((found[kind][name] - value).abs().max()) for kind in ("network", "average") for name, value in expected[kind].items()]
    return max(differences) / max(1.0, *(float(value.abs().max()) for value in expected["network"].values()))


@pytest.mark.parametrize("name", WHOLE)
def test_two_processes_train_what_one_trains_with_the_doubled_batch(name: str, data: Path, pair: list[dict[str, Any]], tmp_path: Path) -> None:
    """One forward and one backward pass of twice the patches a step, against one of the batch in each process."""
    doubled = squad.trained(name, data, tmp_path / "doubled", change=in_two_passes if name in ROUNDED else in_one_pass)
    print(f"{name}: at most {distance(pair[0][name], doubled):.2g} apart after {squad.STEPS} steps")
    for found in pair:
        assert distance(found[name], doubled) <= 1e-5
    began = {"network": squad.phase(name).network.state_dict(), "average": squad.phase(name).network.state_dict()}
    assert distance(doubled, began) > 1e-3
    assert distance(pair[0][name], pair[1][name]) == 0


def test_a_killed_process_changes_nothing(pair: list[dict[str, Any]]) -> None:
    """To the last bit: everybody goes on from the newest checkpoint."""
    for found in pair:
        assert distance(found["broken"], found["restoration"]) == 0


def moments(name: str, data: Path, folder: Path, **settings: Any) -> torch.Tensor:
    """Return the gradient of one step, as the optimiser notes it. Adam's first steps are signs, which rounding can turn."""
    squad.trained(name, data, folder, change=lambda phase: replace(phase, config=replace(phase.config, steps=1, **settings)))
    state = torch.load(folder / "checkpoint.pt", weights_only=True)["optimizer"]["state"]
    return torch.cat([entry["exp_avg"].flatten() for entry in state.values()])


@pytest.mark.parametrize("name", squad.NAMES)
def test_accumulated_passes_are_one_pass(name: str, data: Path, tmp_path: Path) -> None:
    """Also of losses that divide by what their batch holds."""
    apart, together = (moments(name, data, tmp_path / str(n), together=n) for n in (1, 2))
    half = moments(name, data, tmp_path / "half", sub_batches=1)
    assert float((together - apart).abs().max()) <= 1e-5 * float(apart.abs().max())
    assert float((half - apart).abs().max()) > 1e-2 * float(apart.abs().max())


def test_a_kill_while_a_checkpoint_is_written_leaves_the_one_before(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.save(tmp_path, {"step": 5})

    def torn(state: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint.torch, "save", torn)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(tmp_path, {"step": 10})
    assert checkpoint.load(tmp_path) == {"step": 5}


@pytest.mark.skipif(not AT_LENGTH, reason="minutes: set ONENEX_TRAINING=1")
def test_the_recipe_as_it_is(data: Path, tmp_path: Path) -> None:
    """Two processes by the command line, one process by the command line, and one that goes on where two were stopped."""
    words = ("onenex.cli", "train", "restoration_cpu", "--data", data, "--accumulate", 2, "--steps", 20, "--run")
    torchrun(*words, tmp_path / "two")
    torchrun(*words, tmp_path / "one", n=1)
    networks = [load_weights(tmp_path / name / "weights.safetensors") for name in ("two", "one")]
    for part in ("noise_level", "restoration"):
        two, one = (getattr(found, part).state_dict() for found in networks)
        worst = max(float((two[name] - value).abs().max()) for name, value in one.items())
        print(f"{part}: at most {worst:.2g} apart, weights up to {max(float(value.abs().max()) for value in one.values()):.2g}")
        assert worst <= 1e-5
