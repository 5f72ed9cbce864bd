"""What ran the networks is asked for by name, and named in the images unless it is torch."""

from pathlib import Path

import pytest
from pydicom import dcmread

import onenex.model
from onenex.pipeline import denoise_path
from tests.fake_model import FakeModel
from tests.test_cli import call
from tests.test_work import described, fake, scan

__all__ = ["fake", "scan"]


def test_an_engine_that_is_not_torch_is_named_and_makes_other_series(scan: Path, tmp_path: Path, fake: FakeModel) -> None:
    plain = denoise_path(scan, tmp_path / "torch", model=fake)
    fake.engine = "onnx"
    other = denoise_path(scan, tmp_path / "onnx", model=fake)
    assert "engine" not in described(plain)[0]
    assert ", engine onnx. " in described(other)[0]
    assert (plain.series[0].settings.get("engine"), other.series[0].settings["engine"]) == (None, "onnx")
    series = [dcmread(report.series[0].outputs[0]).SeriesInstanceUID for report in (plain, other)]
    assert series[0] != series[1]


def test_the_engine_that_was_asked_for_is_loaded(scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(onenex.model, "load", lambda device, engine: asked.append(engine) or FakeModel())
    assert call("denoise", scan, "-o", tmp_path / "out", "--engine", "onnx")[0] == 0
    assert asked == ["onnx"]
