"""What a denoised image is worth downstream: the same segmentation of every image, compared with that of the reference.

Whatever segments, it must treat the noisy image, each restored one and the reference alike: one mask, one setting, no knowledge
of the others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from onenex.errors import DataError
from onenex.evaluate.metrics import Mask
from onenex.series import FloatImages

Labels = NDArray[np.int32]
"""(slice, row, column): what each pixel belongs to; 0 is nothing."""
Spacing = tuple[float, float, float]
"""(between slices, between rows, between columns), mm."""


class Segmenter(Protocol):
    """Parts a stack into tissues; a function of its arguments alone, the same at every call."""

    @property
    def name(self) -> str:
        """What the report says was used."""

    @property
    def names(self) -> Mapping[str, int]:
        """Name → value of each label; empty when nobody knows before the first result."""

    def __call__(self, images: FloatImages, spacing_mm: Spacing | None, mask: Mask) -> Labels:
        """Segment one stack.

        Parameters
        ----------
        images
            (slice, row, column), units of the series scale.
        spacing_mm
            None where the source doesn't say.
        mask
            Same shape: where labels are wanted. An external tool sees the whole image and knows no mask.

        Raises
        ------
        DataError
            It cannot be done, and why.
        """


@dataclass(frozen=True, kw_only=True)
class Task:
    """How one stack is segmented: the same way for every image of it."""

    segmenter: Segmenter
    mask: Mask
    """(slice, row, column), the same for all images."""
    reference: Labels
    """What the segmentations are compared with: the reference image's own, or labels drawn by people."""
    note: str
    """What was used, and why where it's the second choice."""

    def score(self, images: FloatImages, spacing_mm: Spacing | None = None) -> dict[str, float]:
        """Segment images of the stack (slice, row, column) and return their Dice by label."""
        return dice(self.segmenter(images, spacing_mm, self.mask), self.reference, self.segmenter.names)


def dice(labels: Labels, reference: Labels, names: Mapping[str, int] | None = None) -> dict[str, float]:
    """Return 2·|A ∩ B| / (|A| + |B|) of each label; one that neither segmentation has is left out.

    Parameters
    ----------
    labels, reference
        Of one shape.
    names
        Name → value. Without it every value above 0 that either has counts, as "label 7".

    Raises
    ------
    DataError
        Different shapes.

    Source
    ------
    Dice, Ecology 26:297 (1945).
    """
    if labels.shape != reference.shape:
        raise DataError(f"segmentations of shapes {labels.shape} and {reference.shape} cannot be compared: segment images of one size")
    ours, theirs = sizes(labels, names), sizes(reference, names)
    values = names or _values(labels, reference)
    agreeing = sizes(np.where(labels == reference, labels, 0), values)
    total = {name: ours.get(name, 0) + theirs.get(name, 0) for name in values}
    return {name: 2 * agreeing[name] / total[name] for name in values if total[name]}


def sizes(labels: Labels, names: Mapping[str, int] | None = None) -> dict[str, int]:
    """Return the pixels of each label; `names` as in `dice`."""
    present, counts = np.unique(labels, return_counts=True)
    found = dict(zip(present.tolist(), counts.tolist(), strict=True))
    return {name: found.get(value, 0) for name, value in (names or _values(labels)).items()}


def volumes_ml(labels: Labels, spacing_mm: Spacing, names: Mapping[str, int] | None = None) -> dict[str, float]:
    """Return the volume of each label in millilitres; gaps between slices count as far as `spacing_mm` holds them."""
    return {name: n * math.prod(spacing_mm) / 1000 for name, n in sizes(labels, names).items()}


def _values(*segmentations: Labels) -> dict[str, int]:
    found = sorted({int(value) for labels in segmentations for value in np.unique(labels) if value})
    return {f"label {value}": value for value in found}
