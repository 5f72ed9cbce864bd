"""The attributes that tell apart several images of one slice position: component, type, echo, b-value, time …"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from onenex.dicom.frames import CONVERSION_ERRORS, FrameHeader

Value = tuple[Any, ...]
"""A trait's value: comparable with the same trait of other frames."""


@dataclass(frozen=True, kw_only=True)
class Trait:
    """One attribute's value in one frame."""

    value: Value
    label: Callable[[Value, int, Sequence[Value]], str]
    """(value, its rank from 1, all values in rising order) → the stack's label."""


def traits_of(header: FrameHeader) -> tuple[Trait, ...]:
    """Return the traits of a frame, those asked first that separate best."""
    echo_time = header.number("EffectiveEchoTime")
    echo_time = header.number("EchoTime") if echo_time is None else echo_time
    b_value = diffusion_b_value(header)
    return (
        Trait(value=image_type(header), label=_type_label),
        Trait(value=_rounded(echo_time, 2), label=lambda value, rank, _: f"echo {rank}" + _in_brackets("TE", value, "ms")),
        _numbered(header, "EchoNumbers", "echo"),
        Trait(value=_rounded(_round_b(b_value), 0), label=lambda value, rank, _: "b " + _plain(value, "unknown")),
        Trait(value=diffusion_direction(header, b_value), label=lambda value, rank, _: f"direction {rank}"),
        Trait(value=_rounded(_inversion_time(header), 1), label=lambda value, rank, _: "TI " + _plain(value, "unknown") + " ms"),
        Trait(value=_rounded(header.number("FlipAngle"), 1), label=lambda value, rank, _: "flip angle " + _plain(value, "unknown") + "°"),
        Trait(value=(header.text("MagnetizationTransfer").upper(),), label=lambda value, rank, _: f"MT {value[0].lower() or 'unknown'}"),
        _numbered(header, "TemporalPositionIndex", "time"),
        _numbered(header, "TemporalPositionIdentifier", "time"),
        Trait(value=_rounded(header.number("NominalCardiacTriggerDelayTime"), 1), label=lambda value, rank, _: f"phase {rank}"),
        Trait(value=_rounded(header.number("TriggerTime"), 0), label=lambda value, rank, _: f"phase {rank}" + _in_brackets("trigger", value, "ms")),
        _numbered(header, "AcquisitionNumber", "acquisition"),
        _numbered(header, "FrameAcquisitionNumber", "acquisition"),
        Trait(value=(header.text("StackID"),), label=lambda value, rank, _: f"stack {value[0] or rank}"),
        Trait(value=(header.text("ReceiveCoilName"),), label=lambda value, rank, _: f"coil {rank}"),
    )


def image_type(header: FrameHeader) -> tuple[str, ...]:
    """Return FrameType (enhanced) or ImageType, in capitals."""
    return header.tokens("FrameType") or header.tokens("ImageType")


def diffusion_b_value(header: FrameHeader) -> float | None:
    """Return the b-value in s/mm²: the standard attribute, else what Siemens and GE write privately."""
    b_value = header.number("DiffusionBValue")
    if b_value is not None:
        return b_value
    for creator, group, element in (("SIEMENS MR HEADER", 0x0019, 0x0C), ("GEMS_PARM_01", 0x0043, 0x39)):
        number = _number(_private(header.dataset, creator, group, element))
        if number is not None:
            return number % 1e9  # GE adds a multiple of 10⁹ as a flag
    return None


def private_text(dataset: Dataset, creator: str, group: int, element: int) -> str:
    """Return a private element's value as text, empty when its creator's block or the element is absent."""
    value = _private(dataset, creator, group, element)
    if isinstance(value, bytes):
        return value.decode("latin-1").strip("\0 ")
    if value is None:
        return ""
    return str(value) if isinstance(value, str) or not hasattr(value, "__iter__") else "\\".join(str(part) for part in value)


def _private(dataset: Dataset, creator: str, group: int, element: int) -> Any:
    if not any(tag >> 16 == group for tag in dataset.keys()):  # noqa: SIM118 - pydicom would sort all elements to find that out
        return None
    try:
        return dataset.private_block(group, creator)[element].value
    except CONVERSION_ERRORS:
        return None


def _number(value: Any) -> float | None:
    if isinstance(value, bytes):
        value = value.decode("latin-1").strip("\0 ").split("\\")[0]
    elif not isinstance(value, str) and hasattr(value, "__iter__"):
        value = next(iter(value), None)
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _numbered(header: FrameHeader, keyword: str, word: str) -> Trait:
    return Trait(value=_rounded(header.integer(keyword), 0), label=lambda value, rank, _: f"{word} {_plain(value, str(rank))}")


def _rounded(value: float | None, digits: int) -> Value:
    """Comparable value: unknown sorts before any number."""
    return (-np.inf,) if value is None or not np.isfinite(value) else (round(float(value), digits),)


def _plain(value: Value, unknown: str) -> str:
    return unknown if value[0] == -np.inf else f"{value[0]:g}"


def _in_brackets(name: str, value: Value, unit: str) -> str:
    return "" if value[0] == -np.inf else f" ({name} {value[0]:g} {unit})"


def _round_b(b_value: float | None) -> float | None:
    """Join b-values that one shell scatters over (995, 1000, 1005), keep the fine steps of small ones."""
    if b_value is None:
        return None
    step = 1 if b_value < 100 else 10 if b_value < 500 else 50
    return step * round(b_value / step)


def diffusion_direction(header: FrameHeader, b_value: float | None) -> Value:
    """Diffusion gradient direction; () where nothing is diffusion-weighted."""
    if not b_value:
        return ()
    vector = header.numbers("DiffusionGradientOrientation")
    group = header.group("MRDiffusionSequence")
    for item in FrameHeader(group).items("DiffusionGradientDirectionSequence") if group is not None else []:
        vector = FrameHeader(item).numbers("DiffusionGradientOrientation")
    if not vector:
        private = _private(header.dataset, "SIEMENS MR HEADER", 0x0019, 0x0E)
        vector = tuple(private) if isinstance(private, MultiValue) and all(isinstance(part, float) for part in private) else ()
    return tuple(round(part, 3) for part in vector)


def _inversion_time(header: FrameHeader) -> float | None:
    value = header.number("InversionTime")
    return header.number("InversionTimes") if value is None else value


def _type_label(value: Value, rank: int, values: Sequence[Value]) -> str:
    """Name an image type by the tokens that not all of `values` share: "type w"."""
    own = [token for token in value if not all(token in other for other in values)]
    return "type " + ("/".join(own).lower() or str(rank))
