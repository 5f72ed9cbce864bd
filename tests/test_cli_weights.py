"""The command line with weights of one's own."""

import json
from pathlib import Path

import nibabel
import numpy as np
from typer.testing import CliRunner

from onenex.cli import app
from tests.model.weights import random_model

runner = CliRunner()


def test_weights_prints_the_card(tmp_path: Path) -> None:
    random_model(tmp_path)
    done = runner.invoke(app, ["weights", str(tmp_path / "random.safetensors")])
    assert done.exit_code == 0
    assert "recipe: none" in done.output
    bundled = json.loads(runner.invoke(app, ["weights", "--json"]).output)
    assert {"hash", "recipe", "training_data"} <= set(bundled)
    missing = runner.invoke(app, ["weights", str(tmp_path / "none.safetensors")])
    assert missing.exit_code == 3


def test_denoise_takes_other_weights(tmp_path: Path) -> None:
    expected = random_model(tmp_path).weights_hash
    image = nibabel.Nifti1Image(np.random.default_rng(0).uniform(0, 100, (24, 24, 2)).astype(np.int16), np.eye(4))
    nibabel.save(image, tmp_path / "scan.nii.gz")
    words = ["denoise", str(tmp_path / "scan.nii.gz"), "-o", str(tmp_path / "out"), "--weights", str(tmp_path / "random.safetensors"), "--json"]
    done = runner.invoke(app, words)
    assert done.exit_code == 0, done.output
    (written,) = (tmp_path / "out").rglob("*.nii.gz")
    assert f"w={expected}" in str(nibabel.load(written).header["descrip"])
