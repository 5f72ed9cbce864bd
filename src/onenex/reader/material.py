"""From series to what the viewer shows: headerless 16-bit files that differ between arms in their pixels alone.

All arms of a case share one linear map of intensities, one first window, one shape and one spacing. Files are written in random order
under random names, with one date; nothing is shared by two presentations.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onenex.errors import OneNexError, StudyError
from onenex.inputs import read_series
from onenex.reader.keeping.placement import Placement, placement_of
from onenex.reader.keeping.views import Image, Stack
from onenex.reader.records import Case, Presentation
from onenex.series import FloatImages, Series, SliceStack

TOP = 65_535
FILE_DATE = 946_684_800
"""Of every image file, seconds since 1970: the first day of 2000."""
BRIGHTNESS_TOLERANCE = 1.25
"""Arms of a case whose bright tissue differs by more than this factor may be told by that; `create` says so."""
_HEADROOM = 4.0
_WINDOW_PERCENT = (1.0, 99.5)
_MOST_SAMPLES = 400_000

Tell = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class OpenArm:
    """One series of a case, found and measured; its pixels are still on the disk."""

    series: Series
    stack: SliceStack
    placement: Placement

    def images(self) -> FloatImages:
        """Read the pixels, as they are shown.

        Raises
        ------
        OneNexError
            They cannot be decoded.
        """
        return self.placement.turned(self.series.source.images(self.stack))


@dataclass(frozen=True, kw_only=True)
class OpenCase:
    """A case whose series were found to fit each other."""

    case: Case
    arms: Mapping[str, OpenArm]

    @property
    def n_bytes(self) -> int:
        """Size of each of its image files."""
        return 2 * int(np.prod(next(iter(self.arms.values())).placement.shape))


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What was written."""

    images: Mapping[str, tuple[Image, ...]]
    """Key of a presentation → its images, from left to right."""
    notes: tuple[str, ...]
    """What may tell arms all the same, a sentence each, for the one who makes the study."""


def open_case(case: Case) -> OpenCase:
    """Find the series of every arm of a case and compare their geometry; no pixels are read.

    A path may end in `#` and the label of a stack (`#echo 2`); without, a series' first stack is taken.

    Raises
    ------
    StudyError
        A series is missing or not the only one, or lies elsewhere than that of another arm; the message names case and arm.
    """
    arms: dict[str, OpenArm] = {}
    for arm, path in case.series.items():
        try:
            arms[arm] = _open_arm(path)
        except (OneNexError, OSError) as error:
            raise StudyError(f"case '{case.name}', arm '{arm}': {error}") from error
        first, found = next(iter(arms.items()))
        difference = arms[arm].placement.differs_from(found.placement)
        if difference:
            raise StudyError(
                f"case '{case.name}', arm '{arm}' does not lie like arm '{first}' ({difference}): readers could tell them apart; "
                "take series of one prescription, or resample one to the other first"
            )
    return OpenCase(case=case, arms=arms)


def expected_bytes(cases: Sequence[OpenCase], presentations: Sequence[Presentation]) -> int:
    """Return how much room the images of all presentations take."""
    sizes = {one.case.name: one.n_bytes for one in cases}
    return sum(sizes[one.case] * len(one.arms) for one in presentations)


def prepare(cases: Sequence[OpenCase], presentations: Sequence[Presentation], folder: Path, *, tell: Tell | None = None) -> Prepared:
    """Write `images/<token>.bin` of every presentation and side. Memory holds one case.

    Parameters
    ----------
    cases
        All that the presentations speak of.
    folder
        The study's folder, in the making.
    tell
        Called with a word, the number of cases done, and that of all.

    Raises
    ------
    StudyError
        Pixels cannot be read; the message names case and arm.
    """
    (folder / "images").mkdir(mode=0o700)
    written: dict[str, dict[int, Image]] = {one.key: {} for one in presentations}
    notes: list[str] = []
    shuffled = [*cases]
    lots = secrets.SystemRandom()
    lots.shuffle(shuffled)
    for done, case in enumerate(shuffled):
        if tell is not None:
            tell("writing images", done, len(shuffled))
        wanted = [(one, side) for one in presentations if one.case == case.case.name for side in range(len(one.arms))]
        lots.shuffle(wanted)
        stored, stack, note = _case_images(case, {one.arms[side] for one, side in wanted})
        notes += [note] if note else []
        for one, side in wanted:
            written[one.key][side] = Image(token=secrets.token_hex(16), stack=stack)
            _write(folder / "images" / f"{written[one.key][side].token}.bin", stored[one.arms[side]])
    return Prepared(images={key: tuple(sides[side] for side in sorted(sides)) for key, sides in written.items()}, notes=tuple(sorted(notes)))


def _open_arm(path: str) -> OpenArm:
    place, _, label = path.partition("#") if "#" in path and not Path(path).exists() else (path, "", "")
    found = [one for one in read_series(place) if one.stacks and not one.damaged]
    wanted = [one for one in found if one.skip_reason is None] or found
    if not wanted:
        raise StudyError(f"{place} holds no image series that can be shown")
    if len(wanted) > 1:
        names = ", ".join(sorted(f"'{one.description}'" for one in wanted))
        raise StudyError(f"{place} holds {len(wanted)} series ({names}): name the folder or file of one")
    series = wanted[0]
    stacks = {stack.label: stack for stack in series.stacks}
    if label and label not in stacks:
        raise StudyError(f"{place} has no stack '{label}'; it has {', '.join(repr(one) for one in stacks)}")
    stack = stacks[label] if label else series.stacks[0]
    return OpenArm(series=series, stack=stack, placement=placement_of(series, stack))


def _case_images(case: OpenCase, names: set[str]) -> tuple[dict[str, NDArray[np.uint16]], Stack, str]:
    """Read the arms that are shown; return them on one 16-bit scale, what the viewer must know, and a note on brightness."""
    images: dict[str, FloatImages] = {}
    for arm in sorted(names):
        try:
            images[arm] = case.arms[arm].images()
        except (OneNexError, OSError) as error:
            raise StudyError(f"case '{case.case.name}', arm '{arm}': {error}") from error
    bottom, top = _range([*images.values()])
    pooled = np.concatenate([_sample(one) for one in images.values()])
    shown = _scaled(np.percentile(pooled, _WINDOW_PERCENT).astype(np.float32), bottom, top)
    low, high = (int(shown[0]), int(shown[1])) if shown[1] > shown[0] else (0, TOP)
    first = next(iter(case.arms.values())).placement
    stack = Stack(
        n_slices=first.shape[0],
        rows=first.shape[1],
        columns=first.shape[2],
        spacing_mm=first.spacing_mm,
        window=((low + high) // 2, high - low),
    )
    note = _brightness(case.case.name, images)
    return {arm: _scaled(images.pop(arm), bottom, top) for arm in sorted(names)}, stack, note


def _range(images: Sequence[FloatImages]) -> tuple[float, float]:
    """Return what becomes 0 and `TOP`, over all arms: all there is, but no lone spark far above everything."""
    bottom = min(float(one.min()) for one in images)
    bright = max(float(np.percentile(_sample(one), 99.9)) for one in images)
    top = min(max(float(one.max()) for one in images), bottom + _HEADROOM * (bright - bottom) if bright > bottom else np.inf)
    return bottom, top if top > bottom else bottom + 1.0


def _sample(images: FloatImages) -> FloatImages:
    """Return evenly spread pixels, the same number of every arm."""
    return images.reshape(-1)[:: max(1, images.size // _MOST_SAMPLES)]


def _scaled(images: FloatImages, bottom: float, top: float) -> NDArray[np.uint16]:
    scaled = (images.astype(np.float32, copy=False) - np.float32(bottom)) * np.float32(TOP / (top - bottom))
    return np.asarray(np.clip(np.rint(scaled), 0, TOP), dtype=np.uint16)


def _brightness(name: str, images: Mapping[str, FloatImages]) -> str:
    """Say if one arm is so much brighter than another that readers may know it by that."""
    levels = {arm: float(np.percentile(_sample(one), 95)) for arm, one in images.items()}
    dim, bright = min(levels, key=lambda arm: levels[arm]), max(levels, key=lambda arm: levels[arm])
    if levels[bright] <= BRIGHTNESS_TOLERANCE * levels[dim]:
        return ""
    return (
        f"case '{name}': '{bright}' is brighter than '{dim}' (95th percentile {levels[bright]:.4g} to {levels[dim]:.4g}); readers may know it by that"
    )


def _write(path: Path, stored: NDArray[np.uint16]) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(np.ascontiguousarray(stored, dtype="<u2").data)
    os.utime(path, (FILE_DATE, FILE_DATE))
