"""Several processes train what one process trains, and only one of them writes."""

import json
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import multiprocessing

from onenex.errors import OutOfDomain
from onenex.train import checkpoint
from onenex.train.distributed import Objective, crew, move, training_device
from onenex.train.drawing import Draws
from onenex.train.loop import generator_of, train_phase
from tests.train.crew import CONFIG, STEPS, Odd, member, odd_loss, on_the_cpu, phase, scans
from tests.train.packed import write_packed

__all__ = ["on_the_cpu"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_packed(tmp_path_factory.mktemp("packed"))


@pytest.fixture(scope="module")
def alone(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What one process trains; its folder holds the journal."""
    folder, trained = tmp_path_factory.mktemp("alone"), phase()
    average = train_phase(trained, scans(data), folder)
    return {"network": trained.network.state_dict(), "average": average.state_dict(), "folder": folder}


def killed_halfway(data: Path, folder: Path) -> None:
    """Leave what one process leaves when it is killed right after its first checkpoint."""
    save = checkpoint.save

    def save_and_die(folder: Path, state: dict[str, object]) -> None:
        save(folder, state)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "save", save_and_die)
        with pytest.raises(KeyboardInterrupt):
            train_phase(phase(), scans(data), folder)


@pytest.fixture(scope="module")
def pair(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """What two processes find, and where they worked."""
    folder = tmp_path_factory.mktemp("pair")
    killed_halfway(data, folder / "begun")
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(member, (2, port, data, folder), nprocs=2)  # type: ignore[no-untyped-call]
    return folder, [torch.load(folder / f"found-by-{rank}.pt", weights_only=True) for rank in range(2)]


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    for kind in ("network", "average"):
        for name, value in expected[kind].items():
            torch.testing.assert_close(found[kind][name], value, rtol=1e-5, atol=1e-5, msg=f"{kind} {name}")


def test_two_processes_train_what_one_trains(pair: tuple[Path, list[dict[str, Any]]], alone: dict[str, Any]) -> None:
    for rank, found in enumerate(pair[1]):
        assert found["crew"] == (rank, 2)
        assert_same(found["whole"], alone)


def test_two_processes_go_on_where_one_was_killed(pair: tuple[Path, list[dict[str, Any]]], alone: dict[str, Any]) -> None:
    for found in pair[1]:
        assert_same(found["begun"], alone)


def test_training_depends_on_every_sub_batch(data: Path, alone: dict[str, Any], tmp_path: Path) -> None:
    """The comparison above would notice a process that is not heard."""
    trained = phase(replace(CONFIG, sub_batches=1))
    train_phase(trained, scans(data), tmp_path)
    with pytest.raises(AssertionError, match="network"):
        assert_same({"network": trained.network.state_dict()}, alone)


def test_a_parameter_without_gradient_stays(alone: dict[str, Any]) -> None:
    assert torch.equal(alone["network"]["never"], torch.ones(3))
    assert not torch.equal(alone["network"]["sometimes"], torch.ones(3))


def test_only_the_leader_validates_and_writes(pair: tuple[Path, list[dict[str, Any]]], alone: dict[str, Any]) -> None:
    folder, _ = pair
    assert (folder / "validated-by-0").exists()
    assert not (folder / "validated-by-1").exists()
    journals = [[json.loads(line) for line in (place / "log.jsonl").read_text().splitlines()] for place in (folder / "whole", alone["folder"])]
    assert journals[0] == journals[1] == [{"step": 10, "gain": 1.0}, {"step": STEPS, "gain": 1.0}]
    assert len(list((folder / "whole").glob("events.out.tfevents.*"))) == 1


def test_processes_that_see_different_checkpoints_stop(pair: tuple[Path, list[dict[str, Any]]]) -> None:
    for found in pair[1]:
        assert f"steps 0 to {STEPS}" in found["differing"]
        assert "disk that all of them share" in found["differing"]


def test_sub_batches_must_be_shared_evenly(pair: tuple[Path, list[dict[str, Any]]]) -> None:
    for found in pair[1]:
        assert found["uneven"].startswith("2 processes cannot share 3 sub-batches")


def test_processes_draw_every_sub_batch_once(data: Path) -> None:
    config = replace(CONFIG, sub_batches=4, steps=3)
    whole = [batch for step in Draws(scans(data), config, 5, first=1).steps() for batch in step]
    halves = [list(Draws(scans(data), config, 5, first=1, rank=rank, size=2).steps()) for rank in range(2)]
    woven = [batch for first, second in zip(*halves, strict=True) for pair in zip(first, second, strict=True) for batch in pair]
    assert len(whole) == len(woven) == 8
    for one, other in zip(whole, woven, strict=True):
        assert torch.equal(one.measured_B1HW, other.measured_B1HW)
    assert len({float(batch.measured_B1HW.sum()) for batch in whole}) == 8
    draws = [float(torch.rand((), generator=generator_of(seed, step, sub))) for seed in range(3) for step in range(50) for sub in range(8)]
    assert len(set(draws)) == len(draws)


def test_the_objective_is_the_loss(data: Path) -> None:
    batch = Draws(scans(data), CONFIG, 0)[0]
    network = Odd()
    whole = Objective(network, odd_loss)(batch, torch.Generator().manual_seed(1), 0.5)
    assert torch.equal(whole, odd_loss(network, batch, torch.Generator().manual_seed(1), 0.5))


def test_the_device_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONENEX_DEVICE", "cpu")
    assert crew().leads
    assert training_device() == torch.device("cpu")
    for nonsense in ("abacus", "cuda:77"):
        monkeypatch.setenv("ONENEX_DEVICE", nonsense)
        with pytest.raises(OutOfDomain, match="set ONENEX_DEVICE=cpu"):
            training_device()


def test_a_batch_moves_as_a_whole(data: Path) -> None:
    batch = Draws(scans(data), CONFIG, 0)[0]
    moved = move(batch, torch.device("meta"))
    tensors = [value for value in vars(moved).values() if isinstance(value, torch.Tensor)]
    assert len(tensors) == 7
    assert {value.device.type for value in tensors} == {"meta"}
    assert moved.prompts == batch.prompts
