"""A `Volume` as JSON and back, for the index: files relative to the root, so that an archive may be moved."""

from __future__ import annotations

import json
import os
from dataclasses import fields
from pathlib import Path
from typing import Any

from onenex.errors import DataError
from onenex.series import Acquisition, FrameRef, SliceStack
from onenex.volume import Geometry, Volume

FORMAT = 1
"""Raised when what is stored changes its meaning: series are then read anew."""

_PLAIN = [one.name for one in fields(Volume) if one.name not in ("acquisition", "stack", "geometry")]
_TUPLES = ("technique", "image_type", "direction")


def to_json(volume: Volume, root: Path) -> str:
    """Write a volume whose files lie below `root`; ASCII."""
    stack, geometry = volume.stack, volume.geometry
    body: dict[str, Any] = {name: getattr(volume, name) for name in _PLAIN}
    body["acquisition"] = {**vars(volume.acquisition), "evidence": dict(volume.acquisition.evidence)}
    body["stack"] = {
        **vars(stack), "frames": [(os.path.relpath(ref.path, root), ref.frame, ref.sop_instance_uid) for ref in stack.frames],
    }  # fmt: skip
    body["geometry"] = None if geometry is None else dict(vars(geometry))
    return json.dumps(body, separators=(",", ":"))


def from_json(text: str, root: Path) -> Volume:
    """Read a volume back; its files are below `root`.

    Raises
    ------
    DataError
        The text is none that `to_json` of this version writes.
    """
    try:
        body = json.loads(text)
        stack, geometry = body["stack"], body["geometry"]
        frames = tuple(FrameRef(path=root / path, frame=frame, sop_instance_uid=uid) for path, frame, uid in stack["frames"])
        plain = {name: _tuple(body[name]) if name in _TUPLES else body[name] for name in _PLAIN}
        return Volume(
            **plain,
            acquisition=Acquisition(**body["acquisition"]),
            stack=SliceStack(**{**stack, "frames": frames, "spacing_mm": _tuple(stack["spacing_mm"])}),
            geometry=None if geometry is None else Geometry(**{name: _tuple(value) for name, value in geometry.items()}),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"the index holds a series that cannot be read ({type(error).__name__}): delete the index and scan again") from error


def _tuple(value: Any) -> Any:
    """Turn JSON's lists into tuples, to any depth."""
    return tuple(_tuple(part) for part in value) if isinstance(value, list) else value
