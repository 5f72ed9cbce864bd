"""What is refused before the model sees it: sizes no scanner makes, numbers that are none, series without contrast."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from onenex.errors import DecodeError, OutOfDomain, UnsupportedSeries
from onenex.physics.scale import series_scale
from onenex.series import FloatImages, Series, SliceStack

MAX_PIXELS = 4096 * 4096
"""Largest slice taken; MR scanners stay below 2048 × 2048."""
MIN_SIDE = 16
"""Below this many rows or columns, noise can't be told from anatomy."""


def check_size(stack: SliceStack) -> None:
    """Refuse, before reading, slices that no scanner makes or that are too thin to judge."""
    size = f"{stack.rows} × {stack.columns} pixels a slice"
    if stack.rows * stack.columns > MAX_PIXELS:
        raise OutOfDomain(f"{size} is more than the limit of {MAX_PIXELS // 1_000_000} million pixels: cut the images into smaller ones")
    if min(stack.rows, stack.columns) < MIN_SIDE:
        raise UnsupportedSeries(f"{size}: below {MIN_SIDE} rows or columns noise cannot be told from anatomy")


def read_stack(series: Series, stack: SliceStack) -> FloatImages:
    """Read one stack and refuse what is no number."""
    try:
        images = series.source.images(stack)
    except OSError as error:
        raise DecodeError(f"cannot read {error.filename or series.path} ({error.strerror}): check the file and its permissions") from error
    broken = images.size - int(np.isfinite(images).sum())
    if broken:
        where = f" of stack '{stack.label}'" if stack.label else ""
        raise OutOfDomain(f"{broken} of {images.size} pixels{where} are NaN or infinite: replace them, e.g. by 0, before denoising")
    return images


def scale_of(series: Series, kept: FloatImages | None) -> float:
    """Return the scale of the series; a series without any contrast is not for denoising."""
    lowest, highest = np.inf, -np.inf

    def stacks() -> Iterator[FloatImages]:
        nonlocal lowest, highest
        for stack in series.stacks:
            images = read_stack(series, stack) if kept is None else kept
            lowest, highest = min(lowest, float(images.min())), max(highest, float(images.max()))
            yield images

    scale = series_scale(stacks())
    if not highest > lowest:
        raise UnsupportedSeries(f"every pixel is {lowest:g}: there is nothing to denoise")
    return scale


def refusal(series: Series) -> str | None:
    """Return why `denoise` would not touch a series, as far as its headers tell; None when it would."""
    if series.skip_reason is not None:
        return series.skip_reason
    try:
        for stack in series.stacks:
            check_size(stack)
    except (OutOfDomain, UnsupportedSeries) as error:
        return str(error)
    return None
