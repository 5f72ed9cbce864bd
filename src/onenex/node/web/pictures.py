"""Draws the status page's pictures of one series, in a process of its own that may die of them.

`python -m onenex.node.web.pictures` reads a request (JSON) from standard input and writes PNG files and `pictures.json` into
a folder that exists. Its memory and processor time are limited, because a small file may claim to unpack to anything and
a codec may crash on a damaged one; it says nothing on standard output or error, where a header's words could end up.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset

from onenex.dicom.display import display_window
from onenex.dicom.files import HEADER_ERRORS, quiet, read_header
from onenex.dicom.frames import FrameHeader
from onenex.dicom.read import n_frames
from onenex.dicom.select import skip_reason
from onenex.dicom.source import DicomSource
from onenex.errors import DecodeError, OneNexError, UnsupportedSeries
from onenex.report.png import to_bytes
from onenex.series import FloatImages, FrameRef, SliceStack

SIDE = 360
"""Longest side of a picture, pixels; larger images are scaled down."""
PLACES = (0.3, 0.5, 0.7)
"""Where in the series the pictures are from, 0 the first image, 1 the last."""
LARGEST_FILE, LARGEST_SIDE = 512 * 2**20, 8192
"""Bytes and pixels beyond which nothing is drawn."""
MEMORY_BYTES, PROCESSOR_S = 4 * 2**30, 20

_HIDDEN = ("not MR", "not an MR image", "a screen save", "a secondary capture", "text is burned", "not an image", "a colour image")
_HIDDEN_REASON = "No pictures: these are no plain MR images and may have text burned in."


def draw(before: Sequence[Path], after: Sequence[Path], folder: Path) -> dict[str, Any]:
    """Draw up to three slices and return what there is, which is also in `folder/pictures.json`.

    Parameters
    ----------
    before
        Original files, in order.
    after
        Denoised files, in order; empty where there are none yet. They name the originals that they belong to.
    folder
        Where the PNG files go.

    Raises
    ------
    OneNexError
        Files that cannot be decoded, are beyond the limits, or must not be shown.
    """
    rows = [_pair(number, frame, of, before, folder) for number, (frame, of) in enumerate(_chosen(after or before))]
    found = {"rows": rows, "problem": ""}
    (folder / "pictures.json").write_text(json.dumps(found), encoding="utf-8")
    return found


def _chosen(files: Sequence[Path]) -> list[tuple[FrameRef, str]]:
    """Return up to three frames and, of each, "7 of 20"."""
    if not files:
        raise DecodeError("the series holds no image")
    if len(files) == 1:
        n = n_frames(_header(files[0]))
        wanted = sorted({round(place * (n - 1)) for place in PLACES})
        return [(FrameRef(path=files[0], frame=frame), f"{frame + 1} of {n}") for frame in wanted]
    wanted = sorted({round(place * (len(files) - 1)) for place in PLACES})
    return [(FrameRef(path=files[k], frame=n_frames(_header(files[k])) // 2), f"{k + 1} of {len(files)}") for k in wanted]


def _pair(number: int, frame: FrameRef, label: str, before: Sequence[Path], folder: Path) -> dict[str, Any]:
    """Draw one slice, and its original with the same window where `frame` is a denoised one."""
    header = _header(frame.path)
    source = frame if frame.path in before else FrameRef(path=_original(header, frame.frame, before), frame=frame.frame)
    images = {"before": _image(source)} | ({"after": _image(frame)} if source is not frame else {})
    window = display_window(source)
    low, high = window or (float(value) for value in np.percentile(images["before"], (1.0, 99.5)))
    row: dict[str, Any] = {"label": f"Image {label}", "window": f"level {(low + high) / 2:.4g}, width {high - low:.4g}"}
    row["from_header"] = window is not None
    for kind, image in images.items():
        picture = _scaled(Image.fromarray(to_bytes(image, low, high)), _aspect(header, frame.frame))
        picture.save(folder / f"{kind}-{number}.png")
        row |= {kind: f"{kind}-{number}.png", "width": picture.width, "height": picture.height}
    return row


def _header(path: Path) -> Dataset:
    if path.stat().st_size > LARGEST_FILE:
        raise DecodeError(f"{path.name} is larger than {LARGEST_FILE >> 20} MiB")
    header = read_header(path)
    if header is None or header.dataset is None:
        raise DecodeError(f"{path.name} cannot be read")
    return header.dataset


def _original(derived: Dataset, frame: int, before: Sequence[Path]) -> Path:
    """Return the file that a denoised frame names as its source (PS3.3 C.7.6.1.1.4 and C.7.6.16.2.6)."""
    from onenex.node.database.spool import safe_name

    own = FrameHeader(derived, frame)
    group = own.group("DerivationImageSequence")
    for item in [*own.items("SourceImageSequence"), *([] if group is None else FrameHeader(group).items("SourceImageSequence"))]:
        name = safe_name(FrameHeader(item).text("ReferencedSOPInstanceUID"))
        for path in before:
            if path.stem == name:
                return path
    raise DecodeError("the original of a denoised image is not among the series' files")


def _image(ref: FrameRef) -> FloatImages:
    """Return one frame (row, column), in the unit after rescale."""
    dataset = _header(ref.path)
    header = FrameHeader(dataset, ref.frame)
    rows, columns = header.integer("Rows") or 0, header.integer("Columns") or 0
    if not (1 <= rows <= LARGEST_SIDE and 1 <= columns <= LARGEST_SIDE):
        raise DecodeError(f"{ref.path.name} has {rows} × {columns} pixels, which cannot be drawn")
    if (skip_reason(dataset, ref.frame) or "").startswith(_HIDDEN):
        raise UnsupportedSeries(_HIDDEN_REASON)
    stack = SliceStack(label="", frames=(ref,), rows=rows, columns=columns)
    return np.asarray(DicomSource().images(stack)[0], np.float32)


def _aspect(header: Dataset, frame: int) -> float:
    """Return height over width of a pixel, within reason."""
    spacing = FrameHeader(header, frame).numbers("PixelSpacing")
    if len(spacing) != 2 or min(spacing) <= 0:
        return 1.0
    return min(max(spacing[0] / spacing[1], 0.2), 5.0)


def _scaled(picture: Image.Image, aspect: float) -> Image.Image:
    """Return the picture with square pixels, at most `SIDE` on its longer side; an image that fits keeps its rows."""
    width, height = (picture.width, picture.height * aspect) if aspect >= 1 else (picture.width / aspect, float(picture.height))
    shrink = min(1.0, SIDE / max(width, height))
    size = max(1, round(width * shrink)), max(1, round(height * shrink))
    return picture if size == picture.size else picture.resize(size, Image.Resampling.BOX if shrink < 1 else Image.Resampling.BICUBIC)


def _problem(error: Exception) -> str:
    """Say why there is nothing, in words that hold nothing of the header."""
    if isinstance(error, UnsupportedSeries):
        return _HIDDEN_REASON
    return f"No pictures: the images could not be decoded or drawn ({type(error).__name__})."


def main() -> None:
    """Serve one request."""
    silence = os.open(os.devnull, os.O_WRONLY)
    request = json.load(sys.stdin)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (PROCESSOR_S, PROCESSOR_S + 5))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    folder = Path(request["folder"])
    try:
        with quiet():
            draw([Path(path) for path in request["before"]], [Path(path) for path in request["after"]], folder)
    except (OneNexError, *HEADER_ERRORS) as error:
        (folder / "pictures.json").write_text(json.dumps({"rows": [], "problem": _problem(error)}), encoding="utf-8")


if __name__ == "__main__":
    main()
