"""The rivals' weights file: safetensors in half precision with a card in its metadata; nothing is ever unpickled."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from importlib import resources
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from onenex.errors import WeightsMismatch
from onenex.rivals.networks import Conditional, Direct, Unconditional

FORMAT = "onenex-rivals-1"
FILE = "rivals.safetensors"
_RETRAIN = "onenex train rivals_cpu"
Sized = Direct | Conditional | Unconditional
_KINDS: dict[str, Callable[[tuple[int, ...], int], Sized]] = {"unet": Direct, "gan": Direct, "ddpm": Conditional, "prior": Unconditional}


@dataclass(frozen=True, kw_only=True)
class Rivals:
    """All networks, in evaluation mode."""

    unet: Direct
    gan: Direct
    ddpm: Conditional
    prior: Unconditional
    """Shared by DPS and RED-diff."""

    def networks(self) -> dict[str, Sized]:
        """Return them by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def bundled_path() -> Path:
    """Return the weights file inside the installed package, whether it's there or not."""
    return Path(str(resources.files("onenex") / "rivals" / "weights" / FILE))


def save(path: Path, rivals: Rivals, card: Mapping[str, str]) -> None:
    """Write all networks and the card to `path` (replaced when it exists); weights are rounded to half precision."""
    described = {"format": FORMAT}
    tensors: dict[str, torch.Tensor] = {}
    for name, network in rivals.networks().items():
        described[name] = json.dumps({"widths": network.widths, "depth": network.depth})
        tensors |= {f"{name}.{key}": value.detach().half().contiguous() for key, value in network.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    save_file(tensors, str(partial), metadata={**card, **described})
    partial.chmod(0o644)  # safetensors makes it private
    partial.replace(path)


def load(path: Path | None = None) -> Rivals:
    """Load the networks, by default the bundled ones, in single precision.

    Raises
    ------
    WeightsMismatch
        The file is missing, is no safetensors file, or holds other networks.
    """
    path = path or bundled_path()
    card = read_card(path)
    loaded: dict[str, Sized] = {}
    try:
        with safe_open(str(path), framework="pt") as stream:
            tensors = {name: stream.get_tensor(name).float() for name in stream.keys()}  # noqa: SIM118 - not a dict
        for name, kind in _KINDS.items():
            shape = json.loads(card[name])
            network = kind(tuple(shape["widths"]), shape["depth"])
            network.load_state_dict({key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")})
            network.eval().requires_grad_(False)
            loaded[name] = network
    except (OSError, SafetensorError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise WeightsMismatch(f"{path}: the tensors do not fit the rivals' networks ({error}): train them again with `{_RETRAIN}`") from error
    return Rivals(**loaded)  # type: ignore[arg-type]


def read_card(path: Path | None = None) -> dict[str, str]:
    """Return the card of a weights file: recipe, training data and licences, figures.

    Raises
    ------
    WeightsMismatch
        As `load`.
    """
    path = path or bundled_path()
    try:
        with safe_open(str(path), framework="pt") as stream:
            card = dict(stream.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise WeightsMismatch(f"{path}: no readable safetensors file ({error}): train the rivals with `{_RETRAIN}` and put the file there") from error
    if card.get("format") != FORMAT:
        raise WeightsMismatch(f"{path}: format '{card.get('format')}' instead of '{FORMAT}': train the rivals again with `{_RETRAIN}`")
    return card
