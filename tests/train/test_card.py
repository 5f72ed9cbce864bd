"""Model cards: where figures, commit and limits come from."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from onenex import __version__
from onenex.train import card
from onenex.train.config import PhaseConfig, TrainConfig
from onenex.train.dataset import load_scans
from tests.train.packed_pairs import write_site

PHASE = PhaseConfig(steps=1, patch=32, simulated_per_batch=1, real_per_batch=1)
CONFIG = TrainConfig(name="tiny", noise=PHASE, restoration=PHASE, adaptation=PHASE, holdout_every=3)


def test_the_card_says_all_that_it_should(tmp_path: Path) -> None:
    scans = load_scans(write_site(tmp_path, kinds=("clean",), n_slices=3, size=48), CONFIG, holdout=False)
    found = card.model_card(CONFIG, scans, metrics={"adaptation": {"gain_db_x": 1.23456}})
    assert set(found) == {"recipe", "config", "training_data", "commit", "metrics", "licence", "intended_use", "limits"}
    assert json.loads(found["metrics"]) == {"adaptation": {"gain_db_x": 1.2346}}
    assert found["licence"].startswith("Apache-2.0")
    assert "organs: head; vendors: Siemens; sequences: T2w" in found["limits"]


def test_metrics_are_the_last_validation(tmp_path: Path) -> None:
    (tmp_path / "noise").mkdir()
    lines = [{"step": 100, "seconds": 1.0, "loss": 3.0}, {"step": 100, "ratio": 0.9}, {"step": 200, "ratio": 1.0}, {"step": 200, "loss": 1.0}]
    (tmp_path / "noise" / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    (tmp_path / "killed").mkdir()
    (tmp_path / "killed" / "log.jsonl").write_text("", encoding="utf-8")
    assert card.metrics_of(tmp_path) == {"noise": {"ratio": 1.0}}


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_the_commit_is_that_of_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*words: str) -> str:
        named = ["-c", "user.name=x", "-c", "user.email=x@x", "-c", "commit.gpgsign=false"]
        return subprocess.run(["git", "-C", str(tmp_path), *named, *words], capture_output=True, text=True, check=True).stdout.strip()

    file = tmp_path / "src" / "onenex" / "train" / "card.py"
    file.parent.mkdir(parents=True)
    file.write_text("first", encoding="utf-8")
    monkeypatch.setattr(card, "__file__", str(file))
    git("init", "-q")
    assert card.commit() == f"onenex {__version__}"
    git("add", "-A")
    git("commit", "-qm", "x")
    assert re.fullmatch("[0-9a-f]{40}", card.commit())
    assert card.commit() == git("rev-parse", "HEAD")
    file.write_text("second", encoding="utf-8")
    assert card.commit() == git("rev-parse", "HEAD") + "+"


def test_no_git_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert card.commit() == f"onenex {__version__}"
