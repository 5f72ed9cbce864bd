"""Weights files: round trip, hash, and refusal of what is not one."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from onenex.errors import WeightsMismatch
from onenex.model.noise_level import NoiseLevel
from onenex.model.weights import Networks, file_hash, load_weights, save
from tests.model.weights import random_restoration


def test_round_trip(tmp_path: Path) -> None:
    path, restoration = tmp_path / "w.safetensors", random_restoration()
    save(path, Networks(noise_level=NoiseLevel(), restoration=restoration), card={"recipe": "test"})
    loaded = load_weights(path)
    for name, value in restoration.state_dict().items():
        torch.testing.assert_close(loaded.restoration.state_dict()[name], value)
    assert loaded.card["recipe"] == "test"
    assert loaded.hash == file_hash(path)
    assert len(loaded.hash) == 12


def test_missing_and_foreign_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsMismatch, match="cannot be read"):
        load_weights(tmp_path / "none.safetensors")
    text = tmp_path / "text.safetensors"
    text.write_text("no weights")
    with pytest.raises(WeightsMismatch, match="cannot be read"):
        load_weights(text)
    foreign = tmp_path / "foreign.safetensors"
    save_file({"a": torch.zeros(1)}, str(foreign))
    with pytest.raises(WeightsMismatch, match="not a OneNEX weights file"):
        load_weights(foreign)


def test_tensors_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path, restoration = tmp_path / "w.safetensors", random_restoration()
    restoration.widths = (16, 16, 64)
    save(path, Networks(noise_level=NoiseLevel(), restoration=restoration), card={})
    with pytest.raises(WeightsMismatch, match="do not fit"):
        load_weights(path)


def test_bundled_weights_are_whole_and_name_their_data() -> None:
    loaded = load_weights()
    assert loaded.card["recipe"]
    assert "licence" in loaded.card["training_data"].lower()
