"""The ablation: paired differences recover what was planted, the bars read them rightly, and the whole runs from end to end."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from onenex.errors import DataError, OutOfDomain
from onenex.evaluate import ablation, perceptual
from onenex.evaluate.ablation import VARIANTS, told
from onenex.evaluate.ablation_table import DEFAULT_NAME, FAST, INPUT, NO_TEXT, WRONG_TEXT, Measured, bars, paired
from onenex.model import Settings
from onenex.model.reddiff import Preset
from onenex.series import Acquisition
from tests.model.weights import random_model
from tests.train.packed import write_packed


def measured(file: str, variant: str, psnr: float, *, condition: str = "σ 0.06 uniform", simulated: bool = True, **changed: object) -> Measured:
    one = Measured(
        file=file, condition=condition, organ="head", vendor="GE", simulated=simulated, variant=variant, psnr=psnr, ssim=0.9, lpips=0.1, seconds=0.5
    )
    return replace(one, **changed)  # type: ignore[arg-type]


def test_a_planted_difference_is_recovered_with_its_interval() -> None:
    generator = np.random.default_rng(0)
    found = []
    for index in range(30):
        base, gain = generator.normal(30, 4), generator.normal(0.5, 0.2)
        found += [measured(f"f{index}", FAST, base), measured(f"f{index}", DEFAULT_NAME, base + gain)]
    difference = paired(found, DEFAULT_NAME, FAST, "psnr")
    assert difference is not None
    assert difference.n_files == 30
    assert difference.low < 0.5 < difference.high
    assert difference.high - difference.low < 0.25  # pairs: the spread of 4 dB between files doesn't count


def test_rows_of_one_file_count_once() -> None:
    found = [measured("a", FAST, 30, condition=str(i)) for i in range(50)] + [measured("a", DEFAULT_NAME, 31, condition=str(i)) for i in range(50)]
    found += [measured("b", FAST, 30), measured("b", DEFAULT_NAME, 28)]
    difference = paired(found, DEFAULT_NAME, FAST, "psnr")
    assert difference is not None
    assert difference.mean == pytest.approx(-0.5)
    assert difference.n_files == 2


def test_no_pair_no_difference() -> None:
    assert paired([measured("a", FAST, 30)], DEFAULT_NAME, FAST, "psnr") is None
    none = [measured("a", name, 30, lpips=None) for name in (FAST, DEFAULT_NAME)]
    assert paired(none, DEFAULT_NAME, FAST, "lpips") is None


def verdicts(default: float, fast: float, given: float, no_text: float, wrong: float) -> list[bool | None]:
    values = {DEFAULT_NAME: default, FAST: fast, INPUT: given, NO_TEXT: no_text, WRONG_TEXT: wrong}
    found = [measured("r", name, value, simulated=False, lpips=None, condition="real repeats") for name, value in values.items()]
    found += [measured("s", name, value, ssim=value / 100, lpips=1 - value / 100) for name, value in values.items()]
    return [finding.passed for finding in bars(found)]


def test_bars_pass_and_fail_where_they_should() -> None:
    assert verdicts(default=31, fast=30.5, given=25, no_text=30.9, wrong=30.85) == [True] * 6
    assert verdicts(default=30, fast=30.5, given=30.2, no_text=30.1, wrong=29.9) == [False] * 6


def test_wrong_text_is_wrong_in_every_word() -> None:
    for truth in (Acquisition(vendor="GE", organ="knee", sequence="T1w", plane="coronal", field_strength_T=0.3), Acquisition()):
        wrong = told(truth, "wrong")
        assert all(getattr(wrong, name) != getattr(truth, name) for name in ("vendor", "organ", "sequence", "plane", "field_strength_T"))
    assert told(truth, "none") == Acquisition()


def test_from_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    quick = Preset(t_start=20, n_steps=2, prior_weight=5.0, likelihood=True, learning_rate=0.8)
    shorter = [replace(one, settings=replace(one.settings, preset=quick)) if one.name == "paper preset" and one.settings else one for one in VARIANTS]
    model = random_model(tmp_path, unified=True)
    monkeypatch.setattr(ablation.models, "load", lambda device, weights: model)
    monkeypatch.setattr(perceptual, "available", lambda: False)
    found = ablation.run(write_packed(tmp_path / "data"), tmp_path / "out", quick=True, variants=shorter)
    said = capsys.readouterr().out
    assert perceptual.NOT_INSTALLED in said
    assert {one.variant for one in found} == {one.name for one in VARIANTS}
    assert {one.simulated for one in found} == {True, False}
    with (tmp_path / "out" / "ablation.csv").open(encoding="utf-8") as stream:
        assert len(list(csv.DictReader(stream))) == len(found)
    document = json.loads((tmp_path / "out" / "ablation.json").read_text(encoding="utf-8"))
    assert document["weights"] == model.weights_hash
    assert len(document["findings"]) == 5  # six with LPIPS


def test_without_a_prior_there_is_nothing_to_ablate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_model(tmp_path)
    monkeypatch.setattr(ablation.models, "load", lambda device, weights: model)
    with pytest.raises(OutOfDomain, match="mode 'fast' only"):
        ablation.run(write_packed(tmp_path / "data"), quick=True)


def test_an_empty_split_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ablation.models, "load", lambda device, weights: random_model(tmp_path))
    with pytest.raises(DataError, match="split 'holdout'"):
        ablation.run(write_packed(tmp_path / "data"), quick=True, split="holdout")


def test_every_variant_is_one_mode_and_one_text() -> None:
    assert len({one.name for one in VARIANTS}) == len(VARIANTS)
    assert sum(one.settings is None for one in VARIANTS) == 1
    assert [one.name for one in VARIANTS if one.settings and one.settings.guard] == ["default + guard"]
    assert Settings().guard
