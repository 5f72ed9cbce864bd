"""Weights files: safetensors with a model card in their metadata; nothing is ever unpickled."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from onenex.errors import WeightsMismatch
from onenex.model.degradation import Degradation
from onenex.model.noise_level import NoiseLevel
from onenex.model.prior import Prior
from onenex.model.restoration import Restoration
from onenex.text.tokens import PhraseTable

FORMAT = "onenex-1"
BUNDLED = "onenex.safetensors"
_SIZED: dict[str, Callable[[tuple[int, ...], int], nn.Module]] = {"restoration": Restoration, "degradation": Degradation, "prior": Prior}
"""Networks whose size the file states."""


@dataclass(frozen=True, kw_only=True)
class Networks:
    """All that a weights file holds, without its card."""

    noise_level: NoiseLevel
    restoration: Restoration
    degradation: Degradation | None = None
    """None in files that were trained for mode `fast` only, like the next two."""
    prior: Prior | None = None
    phrases: PhraseTable | None = None


@dataclass(frozen=True, kw_only=True)
class Weights(Networks):
    """A loaded weights file."""

    card: dict[str, str]
    """The model card: recipe, training data and licences, figures."""
    hash: str
    """First 12 hex digits of the file's SHA-256."""
    path: Path
    """The file."""


def bundled_path() -> Path:
    """Return the weights file inside the installed package."""
    return Path(str(resources.files("onenex") / "weights" / BUNDLED))


def save(path: Path, networks: Networks, card: dict[str, str]) -> None:
    """Write all networks and the model card to `path` (replaced when it exists)."""
    tensors: dict[str, Tensor] = {}
    described = {"format": FORMAT}
    for name in _SIZED:
        network = getattr(networks, name)
        if network is not None:
            described[name] = json.dumps({"widths": network.widths, "depth": network.depth})
    for name in ("noise_level", *_SIZED):
        network = getattr(networks, name)
        if network is not None:
            tensors |= {f"{name}.{key}": value.contiguous() for key, value in network.state_dict().items()}
    if networks.phrases is not None:
        words, described["phrases"] = networks.phrases.to_tensors()
        tensors |= {f"phrases.{key}": value for key, value in words.items()}
    partial = path.with_name(path.name + ".partial")
    save_file(tensors, str(partial), metadata={**card, **described})
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
    noise_level = NoiseLevel().eval()
    parts: dict[str, Any] = {"noise_level": noise_level}
    try:
        _fill(noise_level, _under("noise_level", tensors))
        for name, kind in _SIZED.items():
            if name in card:
                shape = json.loads(card[name])
                parts[name] = kind(tuple(shape["widths"]), shape["depth"]).eval()
                _fill(parts[name], _under(name, tensors))
    except (RuntimeError, KeyError, TypeError, ValueError) as error:
        raise WeightsMismatch(f"{path}: the tensors do not fit the networks: {error}") from error
    if "phrases" in card:
        parts["phrases"] = PhraseTable.from_tensors(_under("phrases", tensors), card["phrases"])
    return Weights(card=card, hash=file_hash(path), path=path, **parts)


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of one network, without its name."""
    return {name.removeprefix(f"{prefix}."): value for name, value in tensors.items() if name.startswith(f"{prefix}.")}


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
