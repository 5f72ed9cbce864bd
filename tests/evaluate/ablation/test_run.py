"""The ablation: paired differences recover what was planted, the bars read them rightly, and the whole runs from end to end."""

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from onenex.errors import DataError, OutOfDomain
from onenex.evaluate import perceptual
from onenex.evaluate.ablation import files as ablation_files
from onenex.evaluate.ablation import run as ablation
from onenex.evaluate.ablation import speed as ablation_speed
from onenex.evaluate.ablation.run import VARIANTS, Variant, told
from onenex.evaluate.ablation.table import DEFAULT_NAME, FAST, GUARDED, INPUT, NO_TEXT, WRONG_TEXT, Measured, bars, grouped, overall, paired
from onenex.evaluate.trials import Plan, Trial, files, trials
from onenex.model import Model, Settings
from onenex.model.reddiff import Preset
from onenex.series import Acquisition
from tests.model.weights import random_model
from tests.train.packed import write_packed


def measured(file: str, variant: str, psnr: float, *, condition: str = "σ 0.06 uniform", simulated: bool = True, **changed: object) -> Measured:
    one = Measured(
        file=file, condition=condition, organ="head", vendor="GE", simulated=simulated, unseen=True, n_slices=2, variant=variant, psnr=psnr,
        ssim=0.9, lpips=0.1, seconds=0.5,
    )  # fmt: skip
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
    assert difference.low is not None
    assert difference.high is not None
    assert difference.low < 0.5 < difference.high
    assert difference.high - difference.low < 0.25  # pairs: the spread of 4 dB between files doesn't count


def test_intervals_of_few_files_hold_the_truth_as_often_as_they_say() -> None:
    generator = np.random.default_rng(1)
    held = 0
    for _ in range(400):
        found = [measured(f"f{index}", FAST, 30) for index in range(3)]
        found += [measured(f"f{index}", DEFAULT_NAME, 30 + generator.normal(0.2, 1)) for index in range(3)]
        difference = paired(found, DEFAULT_NAME, FAST, "psnr")
        assert difference is not None
        assert difference.low is not None
        assert difference.high is not None
        held += difference.low < 0.2 < difference.high
    assert 0.92 <= held / 400 <= 0.98


def test_rows_of_one_file_count_once() -> None:
    found = [measured("a", FAST, 30, condition=str(i)) for i in range(50)] + [measured("a", DEFAULT_NAME, 31, condition=str(i)) for i in range(50)]
    found += [measured("b", FAST, 30), measured("b", DEFAULT_NAME, 28)]
    difference = paired(found, DEFAULT_NAME, FAST, "psnr")
    assert difference is not None
    assert difference.mean == pytest.approx(-0.5)
    assert difference.n_files == 2


def test_one_file_has_no_interval() -> None:
    difference = paired([measured("a", FAST, 30), measured("a", DEFAULT_NAME, 31)], DEFAULT_NAME, FAST, "psnr")
    assert difference is not None
    assert difference.low is None
    assert difference.text(2) == "+1.00 (one file)"


def test_no_pair_no_difference() -> None:
    assert paired([measured("a", FAST, 30)], DEFAULT_NAME, FAST, "psnr") is None
    none = [measured("a", name, 30, lpips=None) for name in (FAST, DEFAULT_NAME)]
    assert paired(none, DEFAULT_NAME, FAST, "lpips") is None


def pair(found: dict[str, float], **changed: object) -> list[Measured]:
    return [measured(changed.get("file", "r"), name, value, **{k: v for k, v in changed.items() if k != "file"}) for name, value in found.items()]  # type: ignore[arg-type]


def judged(default: float, fast: float, given: float, no_text: float, wrong: float) -> dict[str, bool | None]:
    values = {DEFAULT_NAME: default, FAST: fast, INPUT: given, NO_TEXT: no_text, WRONG_TEXT: wrong, GUARDED: default}
    found = pair(values, simulated=False, lpips=None, condition="real repeats")
    found += [measured("s", name, value, ssim=value / 100, lpips=1 - value / 100) for name, value in values.items()]
    return {finding.text: finding.passed for finding in bars(found) if not finding.text.startswith("  ")}


def test_bars_pass_and_fail_where_they_should() -> None:
    good = judged(default=31, fast=30.5, given=25, no_text=30.9, wrong=30.85)
    assert len(good) == 4 + 4 + 2  # full, full with guard, text
    assert set(good.values()) == {True}
    assert set(judged(default=30, fast=30.5, given=30.2, no_text=30.1, wrong=29.9).values()) == {False}


def test_the_edge_of_each_bar() -> None:
    same = judged(default=30, fast=30, given=30, no_text=30, wrong=30)
    assert {text.split(",")[1].split()[0] for text, passed in same.items() if not passed} == {"LPIPS"}  # "better", not "no worse"


def test_one_bad_averaging_of_one_set_fails_though_its_mean_is_good() -> None:
    found = pair({DEFAULT_NAME: 40.0, FAST: 30.0, INPUT: 30.0}, simulated=False, lpips=None, condition="real repeats")
    found += pair({DEFAULT_NAME: 29.8, FAST: 30.0, INPUT: 29.9}, simulated=False, lpips=None, condition="real repeats, means of 2")
    found += pair({DEFAULT_NAME: 40.0, FAST: 30.0, INPUT: 30.0}, simulated=False, lpips=None, file="other")
    assert [(finding.passed, "r, real repeats, means of 2" in finding.text) for finding in bars(found)] == [(False, True), (False, True)]


def test_where_repeats_show_no_error_the_bars_still_judge() -> None:
    none = math.inf
    both, lost = (
        bars(pair({DEFAULT_NAME: default, FAST: none, INPUT: none}, simulated=False, lpips=None)) for default in (none, 45.0)
    )  # fmt: skip
    assert [finding.passed for finding in both] == [True, True]
    assert [finding.passed for finding in lost] == [False, False]
    assert overall(pair({DEFAULT_NAME: 45.0, FAST: none}, simulated=False)).rows[0][7:9] == ("45.00", "-")


def test_a_measure_that_is_missing_is_said_to_be() -> None:
    values = {DEFAULT_NAME: 31.0, FAST: 30.0}
    (line,) = [finding for finding in bars(pair(values, lpips=None)) if "LPIPS" in finding.text]
    assert line.passed is None
    assert "not measured" in line.text


def test_a_variant_on_part_of_the_rows_is_shown_beside_the_others_on_those_rows() -> None:
    found = [measured(file, name, psnr) for file, psnr in (("a", 20.0), ("b", 40.0)) for name in (FAST, DEFAULT_NAME)]
    found.append(measured("b", "paper preset", 41.0))
    labels = {row[0]: row[1:3] for row in overall(found).rows}
    assert labels[FAST] == ("30.00", "-")
    assert labels["paper preset ‡"] == ("41.00", "+1.00 (one file)")
    assert labels[f"  {FAST} ‡"] == ("40.00", "-")
    assert labels[f"  {DEFAULT_NAME} ‡"] == ("40.00", "+0.00 (one file)")


def test_groups_hold_every_variant() -> None:
    found = [
        measured(f"{organ}{i}", name, 30 + gain, organ=organ) for organ in ("head", "knee") for i in (1, 2) for name, gain in ((FAST, 0), ("x", i))
    ]
    rows = grouped(found, "organ").rows
    assert [row[:2] for row in rows] == [("head (2)", FAST), ("", "x"), ("knee (2)", FAST), ("", "x")]
    assert [row[2] for row in rows] == ["30.00", "+1.50 [-4.85, +7.85]"] * 2
    records = [one for one in ablation_files.groups(found) if one["grouping"] == "organ" and one["measure"] == "PSNR"]
    assert {(one["group"], one["variant"], one["mean"], one["minus_fast"]) for one in records} == {
        (organ, name, mean, gain) for organ in ("head", "knee") for name, mean, gain in ((FAST, 30, None), ("x", 31.5, 1.5))
    }


def test_wrong_text_is_wrong_in_every_word() -> None:
    for truth in (Acquisition(vendor="GE", organ="knee", sequence="T1w", plane="coronal", field_strength_T=0.3), Acquisition()):
        wrong = told(truth, "wrong")
        assert all(getattr(wrong, name) != getattr(truth, name) for name in ("vendor", "organ", "sequence", "plane", "field_strength_T"))
    assert told(truth, "none") == Acquisition()


QUICK_PRESET = Preset(t_start=20, n_steps=2, prior_weight=5.0, likelihood=True, learning_rate=0.8)
SHORTER = [
    replace(one, settings=replace(one.settings, preset=QUICK_PRESET)) if one.name == "paper preset" and one.settings else one for one in VARIANTS
]


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    model = random_model(tmp_path, unified=True)
    monkeypatch.setattr(ablation.models, "load", lambda device, weights: model)
    monkeypatch.setattr(perceptual, "available", lambda: False)
    monkeypatch.setattr(ablation_speed, "SIDE", 64)
    return model


def test_from_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str], small: Model) -> None:
    found = ablation.run(write_packed(tmp_path / "data"), tmp_path / "out", quick=True, variants=SHORTER)
    said = capsys.readouterr().out
    assert perceptual.NOT_INSTALLED in said
    assert "nothing is said of how much faster full is" in said
    assert {one.variant for one in found} == {one.name for one in VARIANTS}
    assert {one.simulated for one in found} == {True, False}
    with (tmp_path / "out" / "ablation.csv").open(encoding="utf-8") as stream:
        assert len(list(csv.DictReader(stream))) == len(found)
    document = json.loads((tmp_path / "out" / "ablation.json").read_text(encoding="utf-8"))
    assert document["weights"] == small.weights_hash
    assert len(document["rows"]) == len(found)
    assert {one["text"].split(",")[0] for one in document["findings"]} >= {f"{name} − fast" for name in (DEFAULT_NAME, GUARDED)}
    assert any("s a slice of 64 × 64" in one["text"] for one in document["findings"])
    assert document["speed"]["modes"].keys() == {"fast", "fast + guard", "full", "full + guard"}
    page = (tmp_path / "out" / "ablation.md").read_text(encoding="utf-8")
    assert page.count("\n| --- |") == 1 + 3 + 1  # variants, three groupings, speed
    with (tmp_path / "out" / "ablation-groups.csv").open(encoding="utf-8") as stream:
        assert {(line["grouping"], line["group"]) for line in csv.DictReader(stream)} == {
            ("all", "all"), ("organ", "head"), ("vendor", "unknown"), ("training", "unseen")
        }  # fmt: skip


def counted(monkeypatch: pytest.MonkeyPatch, stop_after: int | None = None) -> list[tuple[str, str]]:
    """Note every measurement that is really made; stop as a killed run does."""
    made: list[tuple[str, str]] = []
    measure = ablation.measure

    def noted(trial: Trial, variant: Variant, model: Model, lpips: perceptual.Lpips | None) -> Measured:
        if stop_after is not None and len(made) == stop_after:
            raise KeyboardInterrupt
        made.append((trial.info.id, variant.name))
        return measure(trial, variant, model, lpips)

    monkeypatch.setattr(ablation, "measure", noted)
    return made


def collected(data: Path, out: Path, *, slices: int = 1) -> list[Measured]:
    plan = Plan(quick=True, slices=slices)
    return ablation.collect(ablation.open_bench(None, plan, journal=out), trials(data, files(data, plan), plan), SHORTER)


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path, small: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    data, journal = write_packed(tmp_path / "data"), tmp_path / "new" / "ablation.csv"
    with monkeypatch.context() as first:
        counted(first, stop_after=4)
        with pytest.raises(KeyboardInterrupt):
            collected(data, journal)
    with journal.open("ab") as stream:  # a line that was being written
        stream.write(b"abc,def,clean_te")
    made = counted(monkeypatch)
    found = collected(data, journal)
    assert len(found) == 2 * len(VARIANTS)
    assert len(made) == len(found) - 4
    assert collected(data, journal) == found  # floats, None and all come back as they were
    assert len(made) == len(found) - 4
    assert len(journal.read_text(encoding="utf-8").splitlines()) == 1 + len(found)


def test_other_slices_weights_or_code_are_measured_anew(tmp_path: Path, small: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    data, journal = write_packed(tmp_path / "data"), tmp_path / "ablation.csv"
    n_all = len(collected(data, journal))
    made = counted(monkeypatch)
    collected(data, journal, slices=2)
    assert len(made) == n_all
    monkeypatch.setattr(small, "weights_hash", "another")
    collected(data, journal)
    assert len(made) == 2 * n_all
    monkeypatch.setattr(ablation_files, "CODE", ("model",))
    collected(data, journal)
    assert len(made) == 3 * n_all


def test_a_file_of_another_kind_is_not_appended_to(tmp_path: Path, small: Model) -> None:
    (tmp_path / "ablation.csv").write_text("file,psnr\na,30\n", encoding="utf-8")
    with pytest.raises(DataError, match="move it away"):
        collected(write_packed(tmp_path / "data"), tmp_path / "ablation.csv")
    assert (tmp_path / "ablation.csv").read_text(encoding="utf-8") == "file,psnr\na,30\n"


def test_the_length_of_a_run_is_foretold(tmp_path: Path) -> None:
    data, plan = write_packed(tmp_path / "data", size=256), Plan(slices=3)
    infos = files(data, plan)
    slow = next(one for one in VARIANTS if one.name == "paper preset")
    assert slow.passes == 2 + 2 * 41
    said = ablation.foretell(infos, plan, [VARIANTS[1], slow])
    # 3 slices: of 3 single repeats, and at 3 noise levels; the slow variant on the repeats and on one noise level
    assert "in all 18 such slices (paper preset: one row of each file, 12 slices)" in said
    assert f"At most {18 * 2 + 12 * slow.passes} network passes" in said


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
