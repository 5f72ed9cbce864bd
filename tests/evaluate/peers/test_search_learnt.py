"""The search for samplers' settings: on training files only, scored against the input, resumed where it stopped."""

from pathlib import Path

import pytest

from onenex.evaluate.peers import search_learnt
from onenex.evaluate.peers.ddpm import ConditionalDdpm
from onenex.evaluate.peers.dps import DpsPeer
from onenex.evaluate.peers.reddiff import RedDiffPeer
from onenex.evaluate.peers.search_learnt import GRIDS, Sample, Tried, best, measure, samples
from onenex.rivals.sampling import RedDiff
from tests.rivals.files import write_tiny
from tests.train.packed import write_packed

IDLE = RedDiff(n_steps=2, start=1.0, prior_weight=0.0, rate=0.5)
BUSY = RedDiff(n_steps=2, start=1.0, prior_weight=1e4, rate=0.9)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_packed(tmp_path_factory.mktemp("packed"))


@pytest.fixture(scope="module")
def rivals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("rivals") / "rivals.safetensors")


@pytest.fixture(scope="module")
def rows(data: Path) -> list[Sample]:
    return samples(data)


def test_only_training_files_are_looked_at(rows: list[Sample]) -> None:
    assert {row.trial.info.id for row in rows} == {"clean_train", "repeats_train"}


def test_gains_are_over_the_input(rows: list[Sample], rivals: Path) -> None:
    idle, busy = (measure("RED-diff", settings, rows, weights=rivals) for settings in (IDLE, BUSY))
    assert idle.gain_dB == pytest.approx(0, abs=1e-4)
    assert abs(busy.gain_dB) > 0.01
    assert best([idle, busy]) is (idle if busy.gain_dB < 0 else busy)


def test_a_stopped_search_goes_on(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_learnt, "GRIDS", {"RED-diff": [IDLE, BUSY]})
    rivals = write_tiny(tmp_path / "rivals.safetensors")
    first = search_learnt.run(data, tmp_path, weights=rivals)

    def refuse(*_: object, **__: object) -> Tried:
        raise AssertionError("measured twice")

    monkeypatch.setattr(search_learnt, "measure", refuse)
    assert search_learnt.run(data, tmp_path, weights=rivals) == first
    write_tiny(rivals, seed=1)
    with pytest.raises(AssertionError, match="measured twice"):
        search_learnt.run(data, tmp_path, weights=rivals)


def test_what_the_peers_use_was_in_the_grid() -> None:
    for method, peer in (("DDPM", ConditionalDdpm()), ("DPS", DpsPeer()), ("RED-diff", RedDiffPeer())):
        assert peer.settings in GRIDS[method]
