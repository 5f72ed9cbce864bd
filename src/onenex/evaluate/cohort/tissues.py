"""Which segmentation an image gets, and how the same one of a restored image agrees with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from onenex.evaluate.cohort.samples import Sample, Unit
from onenex.evaluate.measures.record import Image
from onenex.evaluate.segmentation import Labels, Segmenter, Spacing


@dataclass(frozen=True, kw_only=True)
class Tissues:
    """The reference of one image, segmented."""

    segmenter: Segmenter
    spacing_mm: Spacing | None
    mask: Any
    labels: Labels

    def compare(self, image: Image) -> dict[str, Any]:
        """Return Dice and volumes of an image's tissues, by name."""
        raise NotImplementedError


def tissues_of(unit: Unit, sample: Sample, command: str | None) -> Tissues | None:
    """Return the segmentation of an image's reference; None where nothing is to be segmented."""
    raise NotImplementedError
