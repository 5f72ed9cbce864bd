"""The rivals' weights file: what is written is read, and nothing else is."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from onenex.errors import WeightsMismatch
from onenex.rivals.weights import FORMAT, load, read_card
from tests.rivals.files import tiny_rivals, write_tiny


def test_round_trip_in_half_precision(tmp_path: Path) -> None:
    loaded = load(write_tiny(tmp_path / "rivals.safetensors")).networks()
    for name, network in tiny_rivals().networks().items():
        for key, value in network.state_dict().items():
            torch.testing.assert_close(loaded[name].state_dict()[key], value.half().float(), rtol=0, atol=0)
        assert not loaded[name].training
        assert not any(parameter.requires_grad for parameter in loaded[name].parameters())


def test_the_card_is_kept(tmp_path: Path) -> None:
    card = read_card(write_tiny(tmp_path / "rivals.safetensors"))
    assert card["recipe"] == "tiny"
    assert card["format"] == FORMAT


def test_a_missing_file_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(WeightsMismatch, match="onenex train rivals_cpu"):
        load(tmp_path / "none.safetensors")


def test_other_files_are_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    save_file({"x": torch.zeros(1)}, str(other), metadata={"format": "onenex-1"})
    with pytest.raises(WeightsMismatch, match="format 'onenex-1'"):
        load(other)
    sizes = dict.fromkeys(("unet", "gan", "ddpm", "prior"), '{"widths": [8, 8, 8], "depth": 1}')
    save_file({"unet.x": torch.zeros(1)}, str(other), metadata={"format": FORMAT, **sizes})
    with pytest.raises(WeightsMismatch, match="do not fit"):
        load(other)
