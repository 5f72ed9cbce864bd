"""How a DICOM image asks to be shown: its first window, for the QA page."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pydicom
from pydicom.errors import InvalidDicomError

from onenex.series import FrameRef

_WANTED = ["WindowCenter", "WindowWidth", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"]


def display_window(frame: FrameRef) -> tuple[float, float] | None:
    """Return the lowest and highest value shown by the first WindowCenter/WindowWidth of a frame, in the unit after rescale.

    Enhanced images keep them in the Frame VOI LUT Sequence (0028,9132), per frame or shared. None when absent or senseless.

    Source
    ------
    PS3.3 C.11.2.1.2: the linear function spans center - 0.5 ± (width - 1) / 2; for display the halves are dropped.
    """
    try:
        header = pydicom.dcmread(frame.path, stop_before_pixels=True, specific_tags=list(_WANTED))
    except (InvalidDicomError, OSError, EOFError):
        return None
    for item in _places(header, frame.frame):
        try:
            center, width = (float(_first(item.get(name))) for name in ("WindowCenter", "WindowWidth"))
        except (TypeError, ValueError):
            continue
        if width > 1:
            return center - width / 2, center + width / 2
    return None


def _places(header: pydicom.Dataset, frame: int) -> Iterable[pydicom.Dataset]:
    """Yield where a window may stand, nearest to the frame first."""
    per_frame = header.get("PerFrameFunctionalGroupsSequence") or []
    groups = ([per_frame[frame]] if frame < len(per_frame) else []) + list(header.get("SharedFunctionalGroupsSequence") or [])
    for group in groups:
        yield from group.get("FrameVOILUTSequence") or []
    yield header


def _first(value: Any) -> Any:
    """Return the first of several values, or the value itself."""
    return value[0] if isinstance(value, (list, pydicom.multival.MultiValue)) else value
