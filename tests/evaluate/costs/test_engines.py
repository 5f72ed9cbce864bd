"""Engines against torch, and a whole series against its parts: what is printed is what was measured."""

from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from onenex.cli import app
from onenex.errors import DataError
from onenex.evaluate.costs import engines, series
from onenex.evaluate.costs.engines import Comparison, Difference
from onenex.evaluate.costs.roofline import Traffic
from tests.model.weights import random_model
from tests.train.packed import write_packed


def row(**changed: float) -> Difference:
    return Difference(**({"row": "one", "psnr_dB": 0.0, "ssim": 0.0, "largest": 0.0, "apart": 0.0, "time": 0.5} | changed))  # type: ignore[arg-type]


@pytest.mark.parametrize(("changed", "holds"), [({}, True), ({"psnr_dB": -0.03}, False), ({"ssim": -0.001}, False), ({"psnr_dB": 0.3}, True)])
def test_one_row_that_loses_decides(changed: dict[str, float], holds: bool) -> None:
    found = Comparison(engine="int8", rows=(row(), row(**changed), row()))
    assert found.holds is holds
    assert ("does not hold" in str(found)) is not holds


def test_int8_and_half_precision_are_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for package in ("onnxruntime", "onnxscript"):
        pytest.importorskip(package)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    random_model(tmp_path)
    data, before = write_packed(tmp_path / "data", size=40), torch.get_num_threads()
    for found in engines.run(data, ["int8-noise", "bfloat16"], quick=True, weights=tmp_path / "random.safetensors"):
        assert [one.row.split(", ")[1] for one in found.rows] == ["real repeats", "σ 0.06 uniform", "σ 0.06 varying"]
        assert all(0 < one.largest < 1 and one.time > 0 for one in found.rows)
    said = capsys.readouterr().out
    assert "int8 (noise_level): " in said
    assert "bfloat16: " in said
    assert torch.get_num_threads() == before
    with pytest.raises(DataError, match="know text"):
        engines.run(data, ["int8"], quick=True, weights=tmp_path / "random.safetensors")


def test_unknown_engines_and_empty_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="abacus: choose from onnx, bfloat16, int8"):
        engines.run(tmp_path, ["abacus"])
    data = write_packed(tmp_path / "data", size=40, splits=("train",))
    with pytest.raises(DataError, match="no test file"):
        engines.run(data, ["onnx"])


def test_a_series_is_timed_from_files_to_files(tmp_path: Path) -> None:
    said = CliRunner().invoke(app, ["benchmark", "series", "--slices", "2", "--rounds", "1", "--folder", str(tmp_path / "speed")]).stdout
    assert "whole over networks" in said
    assert not (tmp_path / "speed").exists()


def test_ratios_are_medians_of_rounds(tmp_path: Path) -> None:
    seconds = {"networks": (1.0, 2.0, 4.0), "model": (2.0, 2.0, 2.0), "whole": (2.0, 3.0, 20.0)}
    found = series.SeriesCost(n_slices=2, seconds=seconds, cpu=seconds)
    assert (found.ratio("networks"), found.ratio("model")) == (2.0, 1.5)
    (tmp_path / "there").mkdir()
    with pytest.raises(DataError, match="exists"):
        series.measure(random_model(tmp_path), tmp_path / "there")


def test_traffic_counts_what_moves_and_not_what_is_only_seen_otherwise() -> None:
    x = torch.zeros(4, 8)
    with Traffic() as traffic:
        seen = x.transpose(0, 1).view(2, 4, 4)
    assert traffic.n_bytes == 0
    with Traffic() as traffic:
        np.testing.assert_array_equal((seen + 1).shape, (2, 4, 4))
    assert traffic.n_bytes == 2 * x.nbytes
    with Traffic() as traffic:
        x.relu_()
    assert traffic.n_bytes == 2 * x.nbytes
