"""The steps benchmark: every number of steps is measured, from end to end, and drawn."""

from pathlib import Path

import pytest

from onenex.evaluate import perceptual, steps
from onenex.evaluate.ablation_table import FAST
from tests.model.weights import random_model
from tests.train.packed import write_packed


def test_from_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    model = random_model(tmp_path, unified=True)
    monkeypatch.setattr(steps.models, "load", lambda device, weights: model)
    monkeypatch.setattr(perceptual, "available", lambda: False)
    monkeypatch.setattr(steps, "STEPS", (1, 3))
    found = steps.run(write_packed(tmp_path / "data", size=40), tmp_path / "out")
    assert {one.variant for one in found} == {FAST, "1 steps", "3 steps"}
    assert "3 steps" in capsys.readouterr().out
    assert (tmp_path / "out" / "steps.png").stat().st_size > 5_000
    assert (tmp_path / "out" / "ablation.csv").is_file()
