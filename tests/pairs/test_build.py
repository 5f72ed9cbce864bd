"""From a small hospital's folders to pairs: what is true is found, what is false is not, nothing names anybody, and what is built stays."""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from onenex.cli import app
from onenex.errors import DataError
from onenex.pairs import manifest
from onenex.pairs.build import REJECTED, SPLITS, Built, Settings, build
from onenex.pairs.check import check
from onenex.pairs.make import Making
from onenex.pairs.manifest import Row
from onenex.pairs.packing.deidentify import load_salt
from onenex.pairs.showing.contact import write_contact_sheet
from onenex.pairs.summary import summarise
from tests.pairs.hospital.make import Truth, make_hospital
from tests.pairs.judge import Judgement, judge, words
from tests.pairs.kills import Build, differences
from tests.pairs.leaks import leaks

OWNED = Making(source="whose scans these are", licence="what may be done with them")
FIRST, LATER = Settings(making=OWNED), Settings(making=OWNED, test_share=1.0)
"""So few patients are all needed to train on, unless all are asked for."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One build, and how things stood after it."""

    built: Built
    rows: list[Row]
    splits: dict[str, str]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Story:
    """A hospital of three patients is built, built again, grows to four, and in the end gets simulated scans."""

    truth: Truth
    folder: Path
    index: Path
    salt: Path
    first: Stage
    again: Stage
    grown: Stage
    judgement: Judgement
    simulated: Stage
    log: str


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    work = tmp_path_factory.mktemp("story")
    source, folder, index, salt = (work / name for name in ("hospital", "built", "index.sqlite", "salt"))

    def stage(settings: Settings) -> Stage:
        began = time.process_time()
        built = build(source, folder, index=index, salt=salt, settings=settings)
        seconds = time.process_time() - began
        splits = json.loads((folder / SPLITS).read_text())
        return Stage(built=built, rows=manifest.read_rows(folder), splits=splits, seconds=seconds)

    with everything_logged() as lines:
        make_hospital(source, data=None, n_patients=3, seed=1)
        first, again = stage(FIRST), stage(FIRST)
        truth = make_hospital(source, data=None, n_patients=4, seed=1)
        grown = stage(LATER)
        write_contact_sheet(folder, folder / "sheet")
        judgement = judge(truth, folder, load_salt(salt, folder))
        simulated = stage(replace(LATER, synthetic=True))
    return Story(
        truth=truth, folder=folder, index=index, salt=salt, first=first, again=again, grown=grown, judgement=judgement, simulated=simulated,
        log="\n".join(lines),
    )  # fmt: skip


@contextmanager
def everything_logged() -> Iterator[list[str]]:
    """Collect what the package logs, of any level."""
    lines: list[str] = []
    handler, logger = logging.Handler(logging.DEBUG), logging.getLogger("onenex")
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def test_every_true_pair_is_found_and_no_false_one(story: Story) -> None:
    found = story.judgement
    assert found.n_true >= 8
    assert not found.missed, str(found)
    assert not found.false, str(found)
    assert (found.repeats_missed, found.repeats_false) == ((), ())
    assert found.n_slices_accepted >= 0.8 * found.n_slices


def test_every_row_says_whose_it_is_and_what_may_be_done_with_it(story: Story) -> None:
    assert {(row.source, row.licence) for row in story.simulated.rows} == {(OWNED.source, OWNED.licence)}


def test_registration_is_within_a_fraction_of_a_pixel(story: Story) -> None:
    assert story.judgement.error_px(50) <= 0.3
    assert story.judgement.error_px(100) <= 0.7
    assert any(row.transform for row in story.grown.rows)


def test_nothing_names_anybody(story: Story) -> None:
    assert len(words(story.truth)) > 100
    assert story.judgement.leaked == ()
    assert leaks(story.folder, words(story.truth)) == [], "after the simulated scans"


def test_the_log_names_nobody(story: Story, tmp_path: Path) -> None:
    assert "event=registered" in story.log
    (tmp_path / "log").write_text(story.log, encoding="utf-8")
    assert leaks(tmp_path, words(story.truth)) == []


def test_whatever_is_no_pair_has_its_reason(story: Story) -> None:
    lines = [json.loads(line) for line in (story.folder / REJECTED).read_text(encoding="utf-8").splitlines()]
    assert len(lines) == story.grown.built.n_rejected > 10
    assert all(line["reason"] and 1 <= len(line["series"]) <= len(line["stacks"]) for line in lines)
    assert all(row.reason for row in story.grown.rows if not row.accepted)


def test_building_again_adds_nothing_and_is_fast(story: Story) -> None:
    assert story.first.built.n_new == len(story.first.rows) > 50
    assert story.again.built.n_new == 0
    assert story.again.rows == story.first.rows
    assert story.again.splits == story.first.splits
    assert story.again.seconds < story.first.seconds / 4


def test_added_patients_leave_rows_and_splits_as_they_are(story: Story) -> None:
    assert story.grown.rows[: len(story.first.rows)] == story.first.rows
    assert story.grown.built.n_new == len(story.grown.rows) - len(story.first.rows) > 0
    assert story.first.splits.items() < story.grown.splits.items()
    assert all(row.split == story.grown.splits[row.patient] for row in story.grown.rows)
    assert {row.split for row in story.grown.rows} == {"train", "test"}


def test_simulated_scans_are_marked_and_train_only(story: Story) -> None:
    added = story.simulated.rows[len(story.grown.rows) :]
    assert story.simulated.rows[: len(story.grown.rows)] == story.grown.rows
    assert story.simulated.built.n_synthetic > 0
    assert {(row.kind, row.split) for row in added} == {("synthetic", "train")}
    assert all(row.recipe for row in added if row.accepted)
    assert any(row.accepted for row in added)
    assert {row.patient for row in story.grown.rows if row.split == "test"} - {row.patient for row in added}
    assert not {row.id for row in added} & {row.id for row in story.grown.rows}


def test_check_finds_nothing_wrong(story: Story) -> None:
    assert check(story.folder) == []


def test_the_summary_counts_what_is_accepted(story: Story) -> None:
    found = summarise(story.folder)
    assert sum(found.counts.values()) == story.simulated.built.n_accepted == sum(row.accepted for row in story.simulated.rows)
    assert sum(found.rejected.values()) == sum(not row.accepted for row in story.simulated.rows) == story.simulated.built.reasons.total()
    kinds = Counter(row.kind for row in story.simulated.rows if row.accepted)
    assert found.by("kind") == {(kind,): n for kind, n in kinds.items()}


def test_training_takes_the_folder_at_once(story: Story, tmp_path: Path) -> None:
    import torch

    from onenex.train.config import PhaseConfig, TrainConfig
    from onenex.train.dataset import draw_batch, load_scans

    phase = PhaseConfig(steps=2, patch=32, margin=8, simulated_per_batch=1, real_per_batch=3, second_scan=True)
    config = TrainConfig(name="tiny", noise=phase, restoration=phase, adaptation=phase, holdout_every=5)
    scans = load_scans(story.folder, config, holdout=False)
    assert {scan.info.split for scan in scans} == {"train"}
    assert len(scans) > 5
    batch = draw_batch(scans, phase, np.random.default_rng(0))
    tensors = {name: value for name, value in vars(batch).items() if isinstance(value, torch.Tensor)}
    assert (tensors.pop("target_nex_B") >= 1).all()  # infinite where nobody knows how many averages the reference has
    assert all(torch.isfinite(value).all() for value in tensors.values())


def test_index_and_salt_may_not_lie_in_what_is_built(story: Story, tmp_path: Path) -> None:
    built = tmp_path / "built"
    with pytest.raises(DataError, match=r"index .* names patients"):
        build(story.truth.folder, built, index=built / "index.sqlite", salt=story.salt)
    with pytest.raises(DataError, match=r"salt .* would lie in the built folder"):
        build(story.truth.folder, built, index=story.index, salt=built / "salt")
    assert not built.exists()


def test_another_salt_is_noticed(story: Story, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="another salt"):
        build(story.truth.folder, story.folder, index=story.index, salt=tmp_path / "other")


def test_a_build_killed_at_random_ends_up_the_same(tmp_path: Path) -> None:
    """Here with one patient; `tests.pairs.judge` does it with a whole hospital."""
    truth = make_hospital(tmp_path / "hospital", data=None, n_patients=1, seed=3)
    whole = Build(source=truth.folder, folder=tmp_path / "whole", index=tmp_path / "whole.sqlite", salt=tmp_path / "salt")
    killed = replace(whole, folder=tmp_path / "killed", index=tmp_path / "killed.sqlite")
    _, seconds = whole.finish()
    assert len(list(killed.kill_at_random(2, seconds, np.random.default_rng(0)))) == 2
    killed.finish()
    assert differences(whole.folder, killed.folder) == []
    assert check(killed.folder) == []


def test_the_verbs_say_what_they_did(story: Story, tmp_path: Path) -> None:
    runner = CliRunner()
    where = ["--output", str(story.folder), "--index", str(story.index), "--salt", str(story.salt)]
    done = runner.invoke(app, ["pairs", "build", str(story.truth.folder), *where])
    assert done.exit_code == 0, done.output
    assert "0 rows new" in done.output
    assert (story.folder / "sheet" / "index.html").is_file()
    shown = runner.invoke(app, ["pairs", "summary", str(story.folder), "--output", str(tmp_path / "counts.png")])
    assert shown.exit_code == 0, shown.output
    assert (tmp_path / "counts.png").stat().st_size > 1000
    checked = runner.invoke(app, ["pairs", "check", str(story.folder)])
    assert checked.exit_code == 0
    assert "nothing is wrong" in checked.output
