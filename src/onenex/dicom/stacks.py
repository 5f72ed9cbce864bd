"""From headers to stacks: frames of one geometry, ordered along the slice normal, repeats and echoes kept apart.

Positions and orientations: PS3.3 C.7.6.2.1.1.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray

from onenex.dicom.frames import FrameHeader
from onenex.dicom.traits import Trait, traits_of
from onenex.series import FrameRef, SliceStack

ORIENTATION_TOLERANCE = 0.01
"""Largest difference of a direction cosine inside one geometry: prospective motion correction tilts volumes a little."""
SPACING_TOLERANCE = 0.01
"""Largest relative difference of the pixel spacing inside one geometry."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """What sorting needs to know of one frame."""

    ref: FrameRef
    rows: int
    columns: int
    spacing_mm: tuple[float, float] | None
    """(between rows, between columns)."""
    orientation: tuple[float, ...] | None
    """Six direction cosines: along a row, along a column."""
    position: tuple[float, ...] | None
    """ImagePositionPatient, mm; None unless the orientation is known too."""
    slice_location: float | None
    slice_step_mm: float | None
    """SpacingBetweenSlices, else SliceThickness."""
    order: tuple[int, int]
    """(InstanceNumber, frame): the order in which the scanner numbered them."""
    traits: tuple[Trait, ...]

    @property
    def normal(self) -> NDArray[np.float64]:
        """Unit vector from slice to slice."""
        cosines = self.orientation or (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
        return np.cross(np.asarray(cosines[:3], np.float64), np.asarray(cosines[3:], np.float64))


def frame_of(header: FrameHeader, ref: FrameRef) -> Frame:
    """Read the sorting facts of one frame from its header."""
    spacing = header.numbers("PixelSpacing")
    orientation = header.numbers("ImageOrientationPatient")
    position = header.numbers("ImagePositionPatient")
    known = len(orientation) == 6 and len(position) == 3 and bool(np.isfinite(orientation + position).all()) and _is_frame(orientation)
    step = header.number("SpacingBetweenSlices") or header.number("SliceThickness")
    return Frame(
        ref=ref,
        rows=header.integer("Rows") or 0,
        columns=header.integer("Columns") or 0,
        spacing_mm=(spacing[0], spacing[1]) if len(spacing) == 2 and min(spacing) > 0 else None,
        orientation=orientation if known else None,
        position=position if known else None,
        slice_location=header.number("SliceLocation"),
        slice_step_mm=abs(step) if step else None,
        order=(header.integer("InstanceNumber") or 0, ref.frame),
        traits=traits_of(header),
    )


def by_geometry(frames: Iterable[Frame]) -> list[list[Frame]]:
    """Split frames into groups of one matrix size, spacing and orientation, in the scanner's order."""
    groups: list[list[Frame]] = []
    for frame in sorted(frames, key=lambda frame: frame.order):
        for group in groups:
            if _same_geometry(group[0], frame):
                group.append(frame)
                break
        else:
            groups.append([frame])
    return groups


def stacks_of(frames: Sequence[Frame]) -> tuple[SliceStack, ...]:
    """Sort frames of one geometry into stacks.

    Slices are ordered by the projection of ImagePositionPatient on the slice normal, else by SliceLocation, else by
    InstanceNumber. Where several frames share a position, the attributes that tell them apart make the stacks (echo,
    b-value, temporal position …), and what is left is told apart by the scanner's order as repeats. A stack need not
    have every slice.

    Parameters
    ----------
    frames
        At least one frame, all of one geometry.
    """
    slots = _slots(frames)
    found: list[tuple[tuple[str, ...], list[tuple[int, Frame]]]] = []
    _split(sorted(slots, key=lambda pair: pair[1].order), 0, (), found)
    return tuple(_stack(", ".join(label), members) for label, members in found)


def _same_geometry(a: Frame, b: Frame) -> bool:
    if (a.rows, a.columns, a.orientation is None, a.spacing_mm is None) != (b.rows, b.columns, b.orientation is None, b.spacing_mm is None):
        return False
    if a.spacing_mm and b.spacing_mm and not np.allclose(a.spacing_mm, b.spacing_mm, rtol=SPACING_TOLERANCE, atol=0):
        return False
    return a.orientation is None or b.orientation is None or bool(np.allclose(a.orientation, b.orientation, rtol=0, atol=ORIENTATION_TOLERANCE))


def _slots(frames: Sequence[Frame]) -> list[tuple[int, Frame]]:
    """Give every frame the number of its slice position, counted along the normal."""
    coordinates = _coordinates(frames)
    steps = [frame.slice_step_mm for frame in frames if frame.slice_step_mm]
    tolerance = min(0.5, max(0.01, 0.1 * median(steps))) if steps else 0.01
    numbered: list[tuple[int, Frame]] = []
    slot, start = -1, -np.inf
    for coordinate, _, frame in sorted(zip(coordinates, range(len(frames)), frames, strict=True), key=lambda item: item[:2]):
        if coordinate - start > tolerance:
            slot, start = slot + 1, coordinate
        numbered.append((slot, frame))
    return numbered


def _coordinates(frames: Sequence[Frame]) -> list[float]:
    if all(frame.position is not None for frame in frames):
        normal = frames[0].normal
        return [float(np.dot(normal, frame.position or ())) for frame in frames]
    if all(frame.slice_location is not None for frame in frames) and len({frame.ref.path for frame in frames}) == len(frames):
        return [float(frame.slice_location or 0.0) for frame in frames]
    ranks = {order: float(rank) for rank, order in enumerate(sorted({frame.order for frame in frames}))}
    return [ranks[frame.order] for frame in frames]


Slots = list[tuple[int, Frame]]


def _split(slots: Slots, depth: int, label: tuple[str, ...], found: list[tuple[tuple[str, ...], Slots]]) -> None:
    """Divide `slots` by trait after trait until no position is taken twice; append (label, members) to `found`."""
    at_slot: dict[int, list[Frame]] = defaultdict(list)
    for slot, frame in slots:
        at_slot[slot].append(frame)
    multiplicity = max(len(members) for members in at_slot.values())
    if multiplicity == 1:
        found.append((label, slots))
        return
    if depth == len(slots[0][1].traits):
        for repeat in range(multiplicity):
            members = [(slot, at_slot[slot][repeat]) for slot in sorted(at_slot) if repeat < len(at_slot[slot])]
            found.append(((*label, f"repeat {repeat + 1}"), members))
        return
    if not _tells_apart(at_slot.values(), depth, multiplicity):
        _split(slots, depth + 1, label, found)
        return
    values = sorted({frame.traits[depth].value for _, frame in slots})
    name = slots[0][1].traits[depth].label
    for rank, value in enumerate(values, start=1):
        members = [(slot, frame) for slot, frame in slots if frame.traits[depth].value == value]
        _split(members, depth + 1, (*label, name(value, rank, values)), found)


def _tells_apart(positions: Collection[Sequence[Frame]], depth: int, multiplicity: int) -> bool:
    """Whether trait `depth` separates frames of one position, and not merely slice from slice."""
    shared = [[frame.traits[depth].value for frame in members] for members in positions if len(members) > 1]
    everywhere = {value for members in positions for value in (frame.traits[depth].value for frame in members)}
    separated = sum(len(set(values)) > 1 for values in shared)
    return 2 <= len(everywhere) <= multiplicity and 2 * separated >= len(shared)


def _stack(label: str, members: Slots) -> SliceStack:
    frames = [frame for _, frame in sorted(members, key=lambda pair: pair[0])]
    first = frames[0]
    between = _slice_step(frames)
    spacing = (between, *first.spacing_mm) if first.spacing_mm is not None and between is not None else None
    return SliceStack(label=label, frames=tuple(frame.ref for frame in frames), rows=first.rows, columns=first.columns, spacing_mm=spacing)


def _slice_step(frames: Sequence[Frame]) -> float | None:
    if len(frames) > 1 and frames[0].position is not None:
        steps = np.diff(_coordinates(frames))
        return round(float(np.median(steps)), 6)
    return frames[0].slice_step_mm


def _is_frame(orientation: Sequence[float]) -> bool:
    """Whether six cosines are two unit vectors at a right angle, to 1 %."""
    row, column = np.asarray(orientation[:3]), np.asarray(orientation[3:])
    return bool(abs(np.linalg.norm(row) - 1) < 0.01 and abs(np.linalg.norm(column) - 1) < 0.01 and abs(np.dot(row, column)) < 0.01)
