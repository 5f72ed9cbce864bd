"""The search for the classical peers' settings: training files only, mean PSNR, a table and a verdict."""

import csv
from pathlib import Path

import numpy as np
import pytest

from onenex.errors import DataError
from onenex.evaluate.cases import Score
from onenex.evaluate.peers import classical_peers, search
from onenex.evaluate.peers.gaussian import Gaussian
from onenex.evaluate.peers.search import GRIDS, MOST_DB, described, measure
from onenex.evaluate.peers.search_learnt import Sample
from onenex.evaluate.peers.total_variation import TotalVariation
from onenex.series import FloatImages
from tests.train.packed import write_packed

NOTHING, LITTLE, MUCH = (Gaussian(rate=width, exponent=0.0) for width in (0.01, 0.4, 6.0))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_packed(tmp_path_factory.mktemp("packed"))


@pytest.fixture(scope="module")
def rows(data: Path) -> list[Sample]:
    return search.samples(data, n_clean=2, quick_repeats=False)


def test_only_training_files_are_looked_at_and_repeats_in_full(rows: list[Sample]) -> None:
    assert [row.trial.info.id for row in rows] == ["repeats_train", "clean_train"]
    assert len(rows[0].trial.stacks) == 3


def test_what_a_setting_reached(rows: list[Sample]) -> None:
    idle, little, much = (measure(peer, rows) for peer in (NOTHING, LITTLE, MUCH))
    assert idle.psnr == pytest.approx(np.mean([row.input_psnr for row in rows]), abs=1e-5)
    assert (idle.simulated_gain, idle.repeats_gain, idle.least_gain) == pytest.approx((0, 0, 0), abs=1e-5)
    assert little.repeats_gain > 0.5
    assert little.least_gain == min(little.simulated_gain, little.repeats_gain)
    assert much.least_gain < 0
    assert search.best([idle, little, much]) is little


def test_a_lucky_score_does_not_win_by_being_infinite(rows: list[Sample]) -> None:
    class Lucky:
        simulated, stacks = True, (np.ones((1, 4, 4), np.float32),)

        def score(self, _: list[FloatImages]) -> Score:
            return Score(psnr=float("inf"), ssim=1.0)

    row = Sample(trial=Lucky(), sigma=(np.ones((1, 4, 4), np.float32),), input_psnr=40.0)  # type: ignore[arg-type]
    found = measure(NOTHING, [row])
    assert found.psnr == MOST_DB
    assert np.isnan(found.repeats_gain)


def test_the_table_and_its_verdict(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(search, "GRIDS", {"Gaussian": [MUCH, Gaussian()], "TV": [TotalVariation(), TotalVariation(weight=0.01)]})
    monkeypatch.setattr(search, "classical_peers", lambda _: [Gaussian(rate=6.0, exponent=0.0), TotalVariation()])
    found = search.run(data, tmp_path / "deep" / "out", n_clean=1)
    assert {name: one.peer for name, one in found.items()} == {"Gaussian": Gaussian(), "TV": TotalVariation()}
    with (tmp_path / "deep" / "out" / search.FILE).open(encoding="utf-8") as stream:
        lines = list(csv.reader(stream))
    assert [line[0] for line in lines[1:]] == ["Gaussian", "Gaussian", "TV", "TV"]
    assert f"{found['TV'].psnr:.3f}" in lines[3]
    printed = capsys.readouterr().out
    assert f"should use {described(Gaussian())}" in printed
    assert "+0.000 over what it uses): keeps weight" in printed
    assert "| TV | weight 0.01 |" in printed


def test_methods_are_chosen_by_name(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "GRIDS", {"Gaussian": [LITTLE], "TV": [TotalVariation()]})
    assert list(search.run(data, methods=[" tv"], n_clean=1)) == ["TV"]
    with pytest.raises(DataError, match="nothing to search for bm3d: choose from gaussian, tv"):
        search.run(data, methods=["bm3d"])


def test_what_the_peers_use_was_in_the_grid() -> None:
    peers = classical_peers(1)
    assert [peer.name for peer in peers] == list(GRIDS)
    for peer in peers:
        assert peer in GRIDS[peer.name]
        assert {one.name for one in GRIDS[peer.name]} == {peer.name}
