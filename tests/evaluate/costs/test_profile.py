"""The profile counts what it says, and leaves the product as it was."""

import json
from pathlib import Path

import pytest
import torch

from onenex.evaluate.costs import profile
from onenex.model import engine
from tests.model.test_engine import scan
from tests.model.weights import random_model


def test_stages_and_operations_are_counted(tmp_path: Path) -> None:
    model, guard = random_model(tmp_path), engine.guard
    found = profile.measure(model, scan(2, 48, 40), "fast", 2)
    stages = {stage.name: stage for stage in found.stages}
    assert set(stages) == {"noise_level", "restoration", "edges", "details", "guard", "of which lines", "all"}
    assert stages["all"].cpu_ms > stages["restoration"].cpu_ms + stages["guard"].cpu_ms
    net = model._networks.restoration.net
    first = net.stem[1]
    assert stages["restoration"].gflop * 1e9 > 2 * first.weight.numel() * 24 * 20
    assert stages["guard"].gflop == 0
    assert stages["restoration"].megabytes * 1e6 > 2 * 4 * first.out_channels * 24 * 20
    assert engine.guard is guard
    assert "forward" not in vars(model._networks.restoration)
    assert "of peak" in found.table()


def test_a_profile_is_printed_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = torch.get_num_threads()
    profile.run(random_model(tmp_path), tmp_path / "profile.json", rounds=1, slices=1)
    kept = json.loads((tmp_path / "profile.json").read_text(encoding="utf-8"))
    assert kept["mode"] == "fast"
    assert all(value > 0 for value in kept["peak"].values())
    assert "restoration" in capsys.readouterr().out
    assert torch.get_num_threads() == before
