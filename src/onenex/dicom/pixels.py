"""Stored integers to float32 images and back, exactly: what nobody changed comes back as the integer it was.

Rescale and padding are applied here and nowhere else (PS3.3 C.11.1 Modality LUT, C.7.5.1.1.2 Pixel Padding Value).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from onenex.dicom.frames import FrameHeader
from onenex.errors import DecodeError, InconsistentSeries, OutOfDomain
from onenex.series import FloatImages

StoredPixels = NDArray[Any]
"""Integers of any width, the dtype of the container (BitsAllocated, PixelRepresentation)."""

_MAX_FLOAT32 = float(np.finfo(np.float32).max)


@dataclass(frozen=True, kw_only=True)
class PixelCoding:
    """How one frame's integers are stored and what they mean."""

    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    slope: float = 1.0
    """RescaleSlope: value = slope · stored + intercept."""
    intercept: float = 0.0
    padding: tuple[int, int] | None = None
    """First and last stored value that mean "no pixel here"; None when the file names none."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Container type in native byte order."""
        return np.dtype(f"{'i' if self.signed else 'u'}{self.bits_allocated // 8}")

    @property
    def limits(self) -> tuple[int, int]:
        """Lowest and highest value that BitsStored can hold."""
        if self.signed:
            return -(1 << (self.bits_stored - 1)), (1 << (self.bits_stored - 1)) - 1
        return 0, (1 << self.bits_stored) - 1


def coding_of(dataset: Dataset, frame: int = 0) -> PixelCoding:
    """Return the coding of one frame.

    Rescale comes from the frame's Pixel Value Transformation Sequence, else from the instance; without one it is 1, 0.
    Philips' private scale slopes are not used: they would change the unit from that of every viewer.

    Parameters
    ----------
    dataset
        Header of a monochrome image.
    frame
        0-based.

    Raises
    ------
    InconsistentSeries
        Bits that contradict each other, or a rescale slope that is zero or not finite.
    """
    header = FrameHeader(dataset, frame)
    allocated = header.integer("BitsAllocated") or 0
    stored = header.integer("BitsStored") or allocated
    high = header.integer("HighBit")
    high = stored - 1 if high is None else high
    if allocated not in (8, 16, 32) or not 1 <= stored <= allocated or not stored - 1 <= high < allocated:
        raise InconsistentSeries(
            f"BitsAllocated {allocated}, BitsStored {stored}, HighBit {high} contradict each other or are not supported "
            "(8, 16 or 32 bits): send the series again from the scanner"
        )
    slope, intercept = header.number("RescaleSlope"), header.number("RescaleIntercept")
    slope = 1.0 if slope is None else slope
    intercept = 0.0 if intercept is None else intercept
    if not np.isfinite([slope, intercept]).all() or slope == 0:
        raise InconsistentSeries(f"RescaleSlope {slope} and RescaleIntercept {intercept} cannot be inverted: send the series again from the scanner")
    plain = PixelCoding(bits_allocated=allocated, bits_stored=stored, high_bit=high, signed=header.integer("PixelRepresentation") == 1)
    return PixelCoding(
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=high,
        signed=plain.signed,
        slope=slope,
        intercept=intercept,
        padding=_padding(header, plain),
    )


def extract(words: StoredPixels, coding: PixelCoding) -> StoredPixels:
    """Return the stored values held in container words: bits above HighBit dropped, the sign extended (PS3.5 8.1.1)."""
    if coding.bits_stored == coding.bits_allocated:
        return words
    up = coding.bits_allocated - 1 - coding.high_bit
    return cast(StoredPixels, np.right_shift(np.left_shift(words, up), coding.bits_allocated - coding.bits_stored))


def embed(stored: StoredPixels, words: StoredPixels, coding: PixelCoding) -> StoredPixels:
    """Put stored values back into container words; the inverse of `extract`.

    Parameters
    ----------
    stored
        New stored values within `coding.limits`.
    words
        The original words of the same shape. Their unused bits (old overlays live there) are kept, unless they were
        nothing but the extended sign, which then follows the new value.
    """
    if coding.bits_stored == coding.bits_allocated:
        return stored
    shift = coding.high_bit + 1 - coding.bits_stored
    if shift == 0 and np.array_equal(words, extract(words, coding)):
        return stored.astype(words.dtype)
    unsigned = np.dtype(f"u{coding.bits_allocated // 8}")
    mask = unsigned.type(((1 << coding.bits_stored) - 1) << shift)
    moved = np.left_shift(stored.astype(words.dtype).view(unsigned), shift) & mask
    return cast(StoredPixels, ((words.view(unsigned) & ~mask) | moved).view(words.dtype))


def to_images(stored: StoredPixels, coding: PixelCoding) -> FloatImages:
    """Rescale stored values to float32.

    Parameters
    ----------
    stored
        One frame (row, column), or any shape that shares one coding.
    coding
        Its coding. Padding pixels become the lowest rescaled value among the others (0 when there are no others).

    Raises
    ------
    DecodeError
        Values beyond float32.
    """
    values = stored.astype(np.float64) * coding.slope + coding.intercept
    padded = _is_padding(stored, coding)
    if padded is not None:
        values[padded] = values[~padded].min() if not padded.all() else 0.0
    if values.size and max(abs(values.min()), abs(values.max())) > _MAX_FLOAT32:
        raise DecodeError(
            f"RescaleSlope {coding.slope} and RescaleIntercept {coding.intercept} give values beyond 32-bit floats: "
            "check the rescale attributes of the source"
        )
    return values.astype(np.float32)


def to_stored(images: FloatImages, original: StoredPixels, coding: PixelCoding) -> StoredPixels:
    """Turn images back into stored integers, the inverse of `to_images`.

    A pixel whose float is still the original's keeps the original integer, even where float32 cannot tell neighbours
    apart; padding pixels always keep theirs. Others are rounded and clipped to what BitsStored holds, and step aside
    of the padding values.

    Parameters
    ----------
    images
        Same shape as `original`, in the unit of `to_images`.
    original
        Stored values that `to_images` was given.

    Raises
    ------
    OutOfDomain
        NaN or infinite pixels, or a shape that differs from the original's.
    """
    if images.shape != original.shape:
        raise OutOfDomain(f"images of shape {images.shape} cannot replace pixels of shape {original.shape}")
    if not np.isfinite(images).all():
        raise OutOfDomain("images hold NaN or infinite pixels, which DICOM integers cannot express: nothing was written")
    low, high = coding.limits
    with np.errstate(over="ignore"):
        exact = (images.astype(np.float64) - coding.intercept) / coding.slope
    rounded = np.clip(np.rint(exact), low, high).astype(np.int64)
    rounded = _step_aside(rounded, exact, coding)
    keep = images == to_images(original, coding)
    padded = _is_padding(original, coding)
    if padded is not None:
        keep |= padded
    return np.where(keep, original, rounded.astype(original.dtype))


def _padding(header: FrameHeader, coding: PixelCoding) -> tuple[int, int] | None:
    first = header.integer("PixelPaddingValue")
    if first is None:
        return None
    last = header.integer("PixelPaddingRangeLimit")
    # The VR (US or SS) of these elements is often the wrong one: take the bits and read them as pixels are read.
    bits = np.array([first, first if last is None else last], dtype=np.int64) & ((1 << coding.bits_stored) - 1)
    sign = 1 << (coding.bits_stored - 1)
    values = np.where(coding.signed & (bits >= sign), bits - (1 << coding.bits_stored), bits)
    return int(values.min()), int(values.max())


def _is_padding(stored: StoredPixels, coding: PixelCoding) -> NDArray[np.bool_] | None:
    if coding.padding is None:
        return None
    first, last = coding.padding
    return (stored >= first) & (stored <= last)


def _step_aside(rounded: NDArray[np.int64], exact: NDArray[np.float64], coding: PixelCoding) -> NDArray[np.int64]:
    """Move values that fell on a padding value by rounding to the nearest one that means a pixel."""
    if coding.padding is None:
        return rounded
    first, last = coding.padding
    low, high = coding.limits
    if first <= low and last >= high:
        return rounded  # every value is padding: there is no better one
    below = exact < (first + last) / 2
    if first <= low:
        below = np.zeros_like(below)
    elif last >= high:
        below = np.ones_like(below)
    return np.where((rounded >= first) & (rounded <= last), np.where(below, first - 1, last + 1), rounded)
