"""The limits benchmark, from end to end on phantom scans."""

import csv
from pathlib import Path

import pytest

from onenex.errors import DataError
from onenex.evaluate.denoisers import limits
from tests.model.weights import random_model
from tests.train.packed import write_packed


def test_every_way_is_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    limits.run(write_packed(tmp_path / "data", size=40), tmp_path / "out")
    with (tmp_path / "out" / "limits.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["sigma"] for row in rows] == ["0.03", "0.06", "0.1"]
    for row in rows:
        assert float(row["as it is"]) > float(row["input"]) + 1
        assert float(row["mean of 8 ways round"]) > float(row["as it is"]) - 0.2
    assert "reference denoised first" in capsys.readouterr().out


def test_an_empty_split_is_refused(tmp_path: Path) -> None:
    random_model(tmp_path)
    with pytest.raises(DataError, match="split 'holdout'"):
        limits.run(write_packed(tmp_path / "data"), split="holdout", weights=tmp_path / "random.safetensors")
