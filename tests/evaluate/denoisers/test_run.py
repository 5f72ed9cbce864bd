"""Both benchmarks from end to end, on a folder made of the phantom and networks with random weights."""

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from onenex.cli import app
from onenex.errors import DataError, ModelError
from onenex.evaluate.cases import cases, load_clean
from onenex.evaluate.costs import memory
from onenex.evaluate.denoisers import run as benchmark
from onenex.evaluate.denoisers import speed
from onenex.evaluate.denoisers.rows import INPUT, ONENEX
from onenex.evaluate.noise import table as noise_table
from onenex.evaluate.peers import all_peers
from onenex.scans import read_manifest
from tests.model.weights import random_model
from tests.train.packed import write_packed


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    random_model(tmp_path)
    return tmp_path / "random.safetensors"


@pytest.fixture(autouse=True)
def _threads_back() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_denoisers_from_end_to_end(tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "QUICK", replace(speed.QUICK, sides=(32, 64), memory_job=(1, 32, 32)))
    data, output = write_packed(tmp_path / "data", size=40), tmp_path / "out" / "deep"
    path = benchmark.run(data, output, methods=["tv", " NLM-blockwise"], quick=True, weights=weights, threads=1)
    assert path == output / "denoisers.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    assert [row["condition"] for row in document["rows"]] == ["real repeats", "σ 0.06 uniform", "σ 0.06 varying"]
    for row in document["rows"]:
        assert list(row["scores"]) == [INPUT, ONENEX, "NLM blockwise", "TV"]
        assert row["scores"]["TV"]["psnr"] > row["scores"][INPUT]["psnr"] - 3
    assert document["costs"]["peak_bytes"] > 1e7
    assert set(document["costs"]["seconds"]) == {ONENEX, "NLM blockwise", "TV", "NLM blockwise, default"}
    assert (output / "growth.png").is_file()
    with (output / "denoisers.csv").open(encoding="utf-8") as stream:
        assert len(list(csv.reader(stream))) == 1 + 3 * 4
    printed = capsys.readouterr().out
    for words in ("input", ONENEX, "repeats_test", "σ 0.06 varying", "do no harm", "peak memory", "PASS"):
        assert words in printed


def test_nothing_is_written_without_output(tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "QUICK", replace(speed.QUICK, sides=(32, 64)))
    monkeypatch.setattr(benchmark, "peak_bytes_of_job", lambda *_: 1)
    data = write_packed(tmp_path / "data", size=40)
    before = sorted(tmp_path.rglob("*"))
    assert benchmark.run(data, methods=[], quick=True, weights=weights, threads=1) is None
    assert sorted(tmp_path.rglob("*")) == before


def test_the_verbs_reach_the_benchmarks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(benchmark, "run", lambda *a, **k: asked.append((a, k)))
    monkeypatch.setattr(noise_table, "run", lambda *a, **k: asked.append((a, k)))
    options = ["--data", str(tmp_path), "--quick", "--device", "cpu", "--threads", "1"]
    for verb in (["denoisers", "--methods", "tv,ants"], ["noise", "-o", str(tmp_path / "out")]):
        assert CliRunner().invoke(app, ["benchmark", *verb, *options]).exit_code == 0
    shared = {"device": "cpu", "weights": None, "threads": 1}
    assert asked == [((tmp_path, None, ["tv", "ants"], True), shared), ((tmp_path, tmp_path / "out", True), shared)]


def test_methods_are_chosen_by_name() -> None:
    peers = all_peers(1, ["u-net"])
    assert benchmark.chosen_peers(peers, None) == peers
    assert [peer.name for peer in benchmark.chosen_peers(peers, ["u-net", "tv", "NLM Classic"])] == ["NLM classic", "TV", "U-Net"]
    with pytest.raises(DataError, match="no method named bm4d: choose from gaussian, nlm-classic"):
        benchmark.chosen_peers(peers, ["bm4d"])


class Torn:
    """A peer that fails at one pixel and is perfect elsewhere."""

    name = "torn"
    package = "none"

    def __call__(self, images: np.ndarray, sigma: np.ndarray) -> np.ndarray:
        restored = np.zeros_like(images)
        restored[0, 20, 20] = np.nan
        return restored


def test_a_pixel_that_a_peer_lost_counts_as_unchanged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    case = list(cases(write_packed(tmp_path, size=40), quick=True))[1]
    row = benchmark.score(case, random_model(tmp_path), [Torn()])
    kept = np.zeros_like(case.stacks[0])
    kept[0, 20, 20] = case.stacks[0][0, 20, 20]
    assert row.scores["torn"] == case.score([kept])
    assert "method=torn n_pixels=1" in caplog.text


def test_a_folder_without_test_files_is_refused(tmp_path: Path, weights: Path) -> None:
    data = write_packed(tmp_path / "data", size=40, splits=("train",))
    with pytest.raises(DataError, match="no test file"):
        benchmark.run(data, methods=[], quick=True, weights=weights, threads=1)
    with pytest.raises(DataError, match="no clean test file"):
        noise_table.run(data, weights=weights, threads=1)


def test_memory_is_that_of_the_job_alone(weights: Path) -> None:
    small, large = (memory.peak_bytes_of_job((n, 256, 256), "cpu", weights) for n in (1, 32))
    assert large - small > 32 * 256 * 256 * 4
    assert small < 1.5e9


def test_a_failed_memory_job_says_why(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"absent\.safetensors"):
        memory.peak_bytes_of_job((1, 32, 32), "cpu", tmp_path / "absent.safetensors")


def test_noise_table_from_end_to_end(tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = noise_table.run(write_packed(tmp_path / "data", size=40), tmp_path / "out", weights=weights, threads=1)
    assert path is not None
    with path.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(noise_table.KINDS) * len(noise_table.SIGMAS)
    printed = capsys.readouterr().out
    for words in (*noise_table.KINDS, "σ 0.15", "clean_test", "rows within 10 %", "classical estimate"):
        assert words in printed


@pytest.mark.parametrize("kind", noise_table.KINDS)
def test_a_perfect_estimate_has_ratio_one(tmp_path: Path, kind: str) -> None:
    (info,) = noise_table.clean_files(write_packed(tmp_path / "data", size=96))
    clean = load_clean(info)
    truths = {}
    for sigma in noise_table.SIGMAS:
        measured, reference, level = noise_table.acquire(clean, info, kind, sigma)
        truths[measured.tobytes()] = level
        bright = reference > max(0.5, 4 * sigma)
        assert ((measured - reference) / level)[bright].std() == pytest.approx(1, abs=0.12)
    rows = [row for row in noise_table.rows_of(info, lambda images: 1.2 * truths.get(images.tobytes(), images)) if row.kind == kind]
    assert [row.ratio for row in rows] == pytest.approx([1.2] * 5, rel=1e-4)
    assert all(row.ratio_with_own <= row.ratio for row in rows)
    passed = {finding.text: finding.passed for finding in noise_table.findings([replace(row, kind=k) for row in rows for k in noise_table.KINDS])}
    assert [verdict for text, verdict in passed.items() if "bar" in text] == [False] * 4


def test_the_packed_folder_is_read_as_the_real_one(tmp_path: Path) -> None:
    infos = read_manifest(write_packed(tmp_path))
    assert {(info.split, info.kind) for info in infos} == {("train", "clean"), ("train", "repeats"), ("test", "clean"), ("test", "repeats")}
    assert np.isfinite(load_clean(infos[2]).images).all()
