"""How a DICOM image asks to be shown: its first window, for the QA page."""

from __future__ import annotations

from onenex.dicom.files import quiet, read_header
from onenex.dicom.frames import FrameHeader
from onenex.series import FrameRef


def display_window(frame: FrameRef) -> tuple[float, float] | None:
    """Return the lowest and highest value shown by the first WindowCenter/WindowWidth of a frame, in the unit after rescale.

    Enhanced images keep them in the Frame VOI LUT Sequence (0028,9132), per frame or shared. None when absent or senseless.

    Source
    ------
    PS3.3 C.11.2.1.2: the linear function spans center - 0.5 ± (width - 1) / 2; for display the halves are dropped.
    """
    with quiet():
        header = read_header(frame.path)
        if header is None or header.dataset is None:
            return None
        own = FrameHeader(header.dataset, frame.frame)
        group = own.group("FrameVOILUTSequence")
        for place in (own if group is None else FrameHeader(group), own):
            center, width = place.number("WindowCenter"), place.number("WindowWidth")
            if center is not None and width is not None and width > 1:
                return center - width / 2, center + width / 2
    return None
