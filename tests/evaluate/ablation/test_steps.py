"""The tool that presets are chosen with: held-out slices only, every preset measured and judged, from end to end."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from onenex.evaluate import perceptual
from onenex.evaluate.ablation import run as ablation
from onenex.evaluate.ablation import steps
from onenex.evaluate.ablation import table as ablation_table
from onenex.evaluate.ablation.table import FAST, INPUT
from onenex.model.reddiff import DEFAULT
from tests.model.weights import random_model
from tests.train.packed import write_packed


@pytest.fixture
def _small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_model(tmp_path, unified=True)
    monkeypatch.setattr(ablation.models, "load", lambda device, weights: model)
    monkeypatch.setattr(perceptual, "available", lambda: False)


@pytest.mark.usefixtures("_small")
def test_steps_from_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(steps, "STEPS", (1, 3))
    found = steps.run(write_packed(tmp_path / "data", size=40), tmp_path / "out")
    assert {one.variant for one in found} == {INPUT, FAST, "1 steps", "3 steps"}
    assert {one.file for one in found} == {"clean_train", "repeats_train"}
    assert {one.n_slices for one in found} == {1}  # of eight, one is held out
    assert "3 steps" in capsys.readouterr().out
    assert (tmp_path / "out" / "steps.png").stat().st_size > 5_000
    assert {path.name for path in (tmp_path / "out").iterdir()} == {f"steps{end}" for end in (".csv", ".json", ".md", "-groups.csv", ".png")}


@pytest.mark.usefixtures("_small")
def test_search_judges_every_preset_by_the_bars(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    still = replace(DEFAULT, n_steps=1, learning_rate=0.0)
    wild = replace(DEFAULT, n_steps=2, prior_weight=100.0)
    found = steps.search({"still": still, "wild": wild}, write_packed(tmp_path / "data", size=40))
    by_variant = {name: [(one.psnr, one.ssim) for one in found if one.variant == name] for name in (FAST, "still", "wild")}
    np.testing.assert_allclose(by_variant["still"], by_variant[FAST], rtol=1e-7)  # no step, no change
    assert by_variant["wild"] != by_variant[FAST]
    said = capsys.readouterr().out
    assert f"wild: t_start {DEFAULT.t_start}, 2 steps, λ 100, rate {DEFAULT.learning_rate:g}" in said
    for name in ("still", "wild"):
        verdicts = [line for line in ablation_table.quality(found, name) if line.passed is not None]
        assert len(verdicts) == 3  # SSIM; repeats against input and fast
        assert all(line.text in said for line in verdicts)


def test_the_grid_is_small_and_its_presets_differ() -> None:
    assert steps.GRID["default"] == DEFAULT
    assert len(set(steps.GRID.values())) == len(steps.GRID) <= 12
