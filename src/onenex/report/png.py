"""8-bit PNG pictures as data URIs, written with zlib alone, and the colour tables of the page."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]


def png(indices: Bytes, palette: Bytes | None = None) -> bytes:
    """Return a PNG file.

    Parameters
    ----------
    indices
        (row, column) grey values, or positions in `palette`.
    palette
        (256, 3) red, green, blue; None for grey.

    Source
    ------
    PNG, W3C Recommendation (third edition, 2025), §5 and §11.2: IHDR, PLTE, IDAT, IEND; filter 0 on every row.
    """
    rows, columns = indices.shape
    header = struct.pack(">IIBBBBB", columns, rows, 8, 0 if palette is None else 3, 0, 0, 0)
    lines = np.zeros((rows, columns + 1), np.uint8)
    lines[:, 1:] = indices
    chunks = [(b"IHDR", header)]
    if palette is not None:
        chunks.append((b"PLTE", palette.astype(np.uint8).tobytes()))
    chunks += [(b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def data_uri(indices: Bytes, palette: Bytes | None = None) -> str:
    """Return the picture as a `data:` URI; arguments as in `png`."""
    return "data:image/png;base64," + base64.b64encode(png(indices, palette)).decode("ascii")


def to_bytes(values: NDArray[np.floating], low: float, high: float, levels: int = 256) -> Bytes:
    """Map `low`…`high` linearly to 0…255 in `levels` steps, clipped; an empty range gives 0 below `high` and 255 from it on."""
    if not high > low:
        return np.where(values >= high, np.uint8(255), np.uint8(0))
    unit = np.clip((np.nan_to_num(values) - low) / (high - low), 0, 1)
    return np.asarray(np.rint(np.rint(unit * (levels - 1)) * (255 / (levels - 1))), np.uint8)


def palette(name: str) -> Bytes:
    """Return a matplotlib colour map as (256, 3) bytes."""
    from matplotlib import colormaps

    return np.asarray(np.rint(colormaps[name](np.arange(256))[:, :3] * 255), np.uint8)
