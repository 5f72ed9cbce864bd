"""Which segmentations an image gets, and how those of a restored image agree with the reference's."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from onenex.errors import DataError
from onenex.evaluate.cohort.samples import Sample, Unit
from onenex.evaluate.measures.record import Image
from onenex.evaluate.segmentation import Labels, Spacing, Task, dice, volumes_ml
from onenex.evaluate.segmentation.brain import brain_task
from onenex.evaluate.segmentation.cord import cord_task
from onenex.evaluate.segmentation.external import ExternalTool, tool_task
from onenex.scans import ScanInfo, load_array

logger = logging.getLogger(__name__)
DRAWN = "{id}_graymatter.npz"
"""Beside a scan: labels (slice, row, column) that somebody drew in the cord's grey matter, array `labels`."""


@dataclass(frozen=True, kw_only=True)
class Tissues:
    """The reference of one image, segmented in every way that suits it."""

    tasks: tuple[Task, ...]
    spacing_mm: Spacing | None
    thick: bool
    """Whether the manifest states the slice thickness: without it there are no volumes."""

    def compare(self, image: Image) -> dict[str, Any]:
        """Return {"tissues": rows of segmenter, tissue, Dice, volume, the reference's volume} of an image (row, column)."""
        return {"tissues": [row for task in self.tasks for row in self._rows(task, image[None])]}

    def _rows(self, task: Task, images: Any) -> Iterator[dict[str, Any]]:
        try:
            labels = task.segmenter(images, self.spacing_mm, task.mask)
        except DataError as error:
            logger.warning("event=segmentation_failed segmenter='%s' reason='%s'", task.note, error)
            return
        names = task.segmenter.names or None
        known = self.spacing_mm if self.thick else None
        found, reference = ({} if known is None else volumes_ml(one, known, names) for one in (labels, task.reference))
        for tissue, value in dice(labels, task.reference, names).items():
            volumes = {"volume_ml": found.get(tissue), "reference_ml": reference.get(tissue)}
            yield {"segmenter": task.note, "tissue": tissue, "dice": value, **volumes}


def tissues_of(unit: Unit, sample: Sample, command: str | None) -> Tissues | None:
    """Return the segmentations of an image's reference; None where there is nothing to segment.

    Brain tissue on axial heads and grey matter where it was drawn, both against references without noise of the input's size: clean files and
    pairs, not repeats. An external tool gets whatever there is.

    Parameters
    ----------
    command
        Template of an external tool, see `segmentation.external`; None = none.

    Raises
    ------
    DataError
        The external tool doesn't work.
    """
    info, reference = unit.info, sample.reference[None]
    spacing = _spacing(info)
    tasks: list[Task] = []
    if info.kind != "repeats":
        tasks += _suiting(lambda: brain_task(reference, info.acquisition, spacing), info)
        drawn = _drawn(info.path.with_name(DRAWN.format(id=info.id)))
        if drawn is not None and drawn[sample.slice].any():
            tasks += _suiting(lambda: cord_task(reference, drawn[sample.slice][None]), info)
    if command:
        tasks.append(tool_task(ExternalTool(command=command, plane=info.plane), reference, spacing))
    if not tasks:
        return None
    return Tissues(tasks=tuple(tasks), spacing_mm=spacing, thick=info.slice_thickness_mm is not None)


def _suiting(task: Callable[[], Task], info: ScanInfo) -> list[Task]:
    """Return a task, or nothing where it doesn't suit the scan."""
    try:
        return [task()]
    except DataError as error:
        logger.debug("event=not_segmented id=%s reason='%s'", info.id, error)
        return []


def _spacing(info: ScanInfo) -> Spacing | None:
    if info.pixel_spacing_mm is None:
        return None
    return (info.slice_thickness_mm or info.pixel_spacing_mm, info.pixel_spacing_mm, info.pixel_spacing_mm)


@lru_cache(maxsize=1)
def _drawn(path: Path) -> Labels | None:
    return np.asarray(load_array(path, "labels"), np.int32) if path.is_file() else None
