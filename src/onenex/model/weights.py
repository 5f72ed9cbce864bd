"""Weights files: safetensors with a model card in their metadata; nothing is ever unpickled."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from onenex.errors import WeightsMismatch
from onenex.model.noise_level import NoiseLevel
from onenex.model.restoration import Restoration

FORMAT = "onenex-1"
BUNDLED = "onenex.safetensors"


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A loaded weights file."""

    noise_level: NoiseLevel
    restoration: Restoration
    card: dict[str, str]
    """The model card: recipe, training data and licences, figures."""
    hash: str
    """First 12 hex digits of the file's SHA-256."""


def bundled_path() -> Path:
    """Return the weights file inside the installed package."""
    return Path(str(resources.files("onenex") / "weights" / BUNDLED))


def save(path: Path, noise_level: NoiseLevel, restoration: Restoration, card: dict[str, str]) -> None:
    """Write both networks and the model card to `path` (replaced when it exists)."""
    tensors = {f"noise_level.{name}": value.contiguous() for name, value in noise_level.state_dict().items()}
    tensors |= {f"restoration.{name}": value.contiguous() for name, value in restoration.state_dict().items()}
    shape = json.dumps({"widths": restoration.widths, "depth": restoration.depth})
    partial = path.with_name(path.name + ".partial")
    save_file(tensors, str(partial), metadata={"format": FORMAT, "restoration": shape, **card})
    partial.chmod(0o644)  # safetensors makes it private
    partial.replace(path)


def load_weights(path: Path | None = None) -> Weights:
    """Load a weights file, by default the bundled one.

    Raises
    ------
    WeightsMismatch
        The file is missing, is no safetensors file, or was written for other networks.
    """
    path = path or bundled_path()
    try:
        with safe_open(str(path), framework="pt") as stream:
            card = dict(stream.metadata() or {})
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 - not a dict
    except (OSError, SafetensorError) as error:
        raise WeightsMismatch(f"{path}: cannot be read as a safetensors file ({error}): give a weights file written by onenex train") from error
    if card.get("format") != FORMAT:
        raise WeightsMismatch(f"{path}: format '{card.get('format')}' instead of '{FORMAT}': it is not a OneNEX weights file of this version")
    shape = json.loads(card["restoration"])
    noise_level, restoration = NoiseLevel(), Restoration(tuple(shape["widths"]), shape["depth"])
    try:
        for prefix, network in (("noise_level.", noise_level), ("restoration.", restoration)):
            _fill(network, {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)})
    except RuntimeError as error:
        raise WeightsMismatch(f"{path}: the tensors do not fit the networks: {error}") from error
    return Weights(noise_level=noise_level.eval(), restoration=restoration.eval(), card=card, hash=file_hash(path))


def _fill(network: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Load tensors; files from before text keep attention as it is made, adding nothing."""
    missing, unexpected = network.load_state_dict(tensors, strict=False)
    lacking = [name for name in missing if not name.startswith("net.attend.")]
    if lacking or unexpected:
        raise RuntimeError(f"missing {lacking[:3]}, unexpected {unexpected[:3]}")


def file_hash(path: Path) -> str:
    """Return the first 12 hex digits of the file's SHA-256."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:12]
