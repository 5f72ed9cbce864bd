"""Maps beside the denoised images: uncertainty and suspicion as secondary series, 16 bits with a rescale of their own."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.tag import Tag
from pydicom.uid import UID

from onenex.dicom.derive import derive, drop_pulse_sequence
from onenex.dicom.files import quiet
from onenex.dicom.folder import SeriesFolder
from onenex.dicom.frames import FrameHeader
from onenex.dicom.identity import values_of
from onenex.dicom.write import PixelSource
from onenex.errors import OutOfDomain
from onenex.series import FloatImages, FrameRef, MapKind, Provenance, Series, SliceStack

logger = logging.getLogger(__name__)

MAX_STORED = 2**16 - 1
PIXEL_CONTRAST = {MapKind.UNCERTAINTY: "STD_DEVIATION", MapKind.GUARD: "Z_SCORE"}
"""ImageType value 4 (PS3.3 C.8.16.1.4, which classic images borrow)."""
GUARD_WINDOW = (0.0, 200.0)
"""Percent: mid grey is the limit, in every slice of every series."""
_WINDOW_PERCENTILE = 99.5

_OF_OTHER_PIXELS = (
    "PixelPaddingValue", "PixelPaddingRangeLimit", "SmallestImagePixelValue", "LargestImagePixelValue", "SmallestPixelValueInSeries",
    "LargestPixelValueInSeries", "WindowCenter", "WindowWidth", "WindowCenterWidthExplanation", "VOILUTFunction", "VOILUTSequence",
    "RescaleSlope", "RescaleIntercept", "RescaleType", "RealWorldValueMappingSequence", "RedPaletteColorLookupTableDescriptor",
)  # fmt: skip
"""They describe the source's numbers."""
_OF_OTHER_FRAMES = ("PixelValueTransformationSequence", "FrameVOILUTSequence", "RealWorldValueMappingSequence")
_OVERLAYS = range(0x6000, 0x6020, 2)
"""Groups of overlays (PS3.3 C.9.2): some lie in the unused bits of the source's pixels, all were drawn on them."""


@dataclass(frozen=True, kw_only=True)
class MapLook:
    """How the stored integers of a map are to be read and shown."""

    slope: float
    """Value of one step."""
    windows: Mapping[int, tuple[float, float]]
    """0-based frame (0 for a classic image) → (lowest, highest) value shown."""
    rescale_type: str = "US"
    """Unit of the value; US is unspecified (PS3.3 C.11.1.1.2)."""


@dataclass(kw_only=True)
class _Instance:
    """One file in the making."""

    header: Dataset
    n_frames: int
    frames: dict[int, NDArray[np.uint16]] = field(default_factory=dict)
    windows: dict[int, tuple[float, float]] = field(default_factory=dict)


class MapSeriesWriter:
    """Takes the maps of one series and writes one file for every source file (implements `SeriesWriter`).

    One slope serves the whole series, so that stored integers compare across slices; a window serves a stack. Frames of a
    multi-frame source that get no map are left out.

    Parameters
    ----------
    series, source, folder, when
        As in `DerivedSeriesWriter`.
    provenance
        What the headers say; `shows` says which map.
    top
        Largest value that must fit, > 0; larger ones are clipped.
    """

    def __init__(
        self, *, series: Series, source: PixelSource, folder: Path, provenance: Provenance, top: float, when: datetime | None = None
    ) -> None:
        self._source, self._provenance = source, provenance
        self._when = when or datetime.now(UTC).astimezone()
        self._folder = SeriesFolder(folder, series, provenance)
        self._slope = float(f"{top / MAX_STORED:.6g}")
        self._open: dict[Path, _Instance] = {}

    def write(self, stack: SliceStack, images: FloatImages, notes: Sequence[str] = ()) -> None:
        """Write one stack of maps (slice, row, column), ≥ 0; arguments as in `SeriesWriter.write`, `notes` go unused.

        Raises
        ------
        OutOfDomain
            NaN, infinite or negative values, or another shape than the stack's.
        """
        del notes
        if images.shape != (len(stack.frames), stack.rows, stack.columns):
            raise OutOfDomain(f"maps of shape {images.shape} don't fit a stack of {len(stack.frames)} × {stack.rows} × {stack.columns}")
        if not np.isfinite(images).all() or images.min() < 0:
            raise OutOfDomain(f"the {self._provenance.shows} map holds NaN, infinite or negative values: please report this")
        window = self._window(images)
        for ref, image in zip(stack.frames, images, strict=True):
            instance = self._instance(ref)
            instance.frames[ref.frame] = np.clip(np.rint(image / self._slope), 0, MAX_STORED).astype(np.uint16)
            instance.windows[ref.frame] = window
            if len(instance.frames) == instance.n_frames:
                self._finish(ref.path)

    def close(self) -> list[Path]:
        """Write what is still incomplete and return all files, in the order in which they were written."""
        for path in list(self._open):
            self._finish(path)
        logger.info("map series written kind=%s files=%d", self._provenance.shows, len(self._folder.files))
        return list(self._folder.files)

    def _instance(self, ref: FrameRef) -> _Instance:
        if ref.path not in self._open:
            header = self._source.dataset(ref.path)
            self._open[ref.path] = _Instance(header=header, n_frames=int(header.get("NumberOfFrames") or 1))
        return self._open[ref.path]

    def _window(self, images: FloatImages) -> tuple[float, float]:
        """Return the (lowest, highest) value to show; 0 is always black."""
        if self._provenance.shows is MapKind.GUARD:
            return GUARD_WINDOW
        positive = images[images > 0]
        top = float(np.percentile(positive, _WINDOW_PERCENTILE)) if positive.size else 0.0
        return 0.0, float(f"{max(top, 2 * self._slope):.3g}")

    def _finish(self, path: Path) -> None:
        """Write one file and forget its pixels."""
        instance = self._open.pop(path)
        chosen = sorted(instance.frames)
        unit = FrameHeader(instance.header).text("RescaleType") if self._provenance.shows is MapKind.UNCERTAINTY else ""
        look = MapLook(slope=self._slope, windows=instance.windows, rescale_type=unit or "US")
        with quiet():
            derived = derive_map(instance.header, self._provenance, look, when=self._when, frames=chosen)
            frames = np.stack([instance.frames[frame] for frame in chosen])
            self._folder.save(derived, frames, path, UID(instance.header.file_meta.TransferSyntaxUID))


def derive_map(source: Dataset, provenance: Provenance, look: MapLook, *, when: datetime, frames: Collection[int] | None = None) -> Dataset:
    """Return the header of the map made from `source`: `derive`'s, with everything that spoke of the source's numbers replaced.

    Private elements go: vendors keep scale factors there (Philips (2005,100E)) that converters apply to whatever they find.

    Parameters
    ----------
    source, provenance, when
        As in `derive`.
    look
        How to read and show the pixels.
    frames
        0-based frames that have a map, the only ones the header keeps; None means all.

    Raises
    ------
    MissingTag
        As `derive`.
    """
    derived = derive(source, provenance, when=when, frames=frames)
    _forget(derived)
    for keyword, value in (("BitsAllocated", 16), ("BitsStored", 16), ("HighBit", 15), ("PixelRepresentation", 0)):
        setattr(derived, keyword, value)
    contrast = PIXEL_CONTRAST[provenance.shows or MapKind.UNCERTAINTY]
    if "PerFrameFunctionalGroupsSequence" in derived:
        _put_frames(derived, look, contrast, frames)
        if values_of(source.get("ImageType"))[:1] != ["DERIVED"]:
            drop_pulse_sequence(derived)
        return derived
    derived.ImageType = ["DERIVED", "SECONDARY", "OTHER", contrast]
    derived.update(_item({**_rescale(look), **_window(look.windows[0])}))
    return derived


def _forget(derived: Dataset) -> None:
    """Remove what describes the source's numbers, at the top level and in the functional groups, and private elements there.

    Elements are looked at by tag alone: a damaged value must not stop the work.
    """
    groups = [*(derived.get("SharedFunctionalGroupsSequence") or []), *(derived.get("PerFrameFunctionalGroupsSequence") or [])]
    for holder, keywords in [(derived, _OF_OTHER_PIXELS), *((group, _OF_OTHER_FRAMES) for group in groups)]:
        for keyword in keywords:
            holder.pop(Tag(keyword), None)
        for tag in [tag for tag in holder.keys() if tag.is_private or tag.group in _OVERLAYS]:  # noqa: SIM118 - plain tags, unparsed
            del holder[tag]


def _put_frames(derived: Dataset, look: MapLook, contrast: str, frames: Collection[int] | None) -> None:
    """Keep the groups of the chosen frames, and say in each how to read and show it.

    An enhanced image is PRIMARY even when it is a map: value 2 knows no other word (PS3.3 C.8.16.1.2).
    """
    groups = derived.PerFrameFunctionalGroupsSequence
    chosen = list(range(len(groups))) if frames is None else sorted(frames)
    kept = [groups[index] for index in chosen]
    for index, group in zip(chosen, kept, strict=True):
        group.PixelValueTransformationSequence = Items([_item(_rescale(look))])
        group.FrameVOILUTSequence = Items([_item(_window(look.windows[index]))])
    for group in [*(derived.get("SharedFunctionalGroupsSequence") or []), *kept]:
        for frame_type in group.get("MRImageFrameTypeSequence") or []:
            frame_type.FrameType = _map_type(frame_type.get("FrameType"), contrast)
    derived.PerFrameFunctionalGroupsSequence = Items(kept)
    derived.NumberOfFrames = len(kept)
    derived.ImageType = _map_type(derived.get("ImageType"), contrast)


def _map_type(image_type: object, contrast: str) -> list[str]:
    """Return ImageType or FrameType of an enhanced map; the flavour, value 3, stays."""
    flavour = values_of(image_type)[2:3] or ["VOLUME"]
    return ["DERIVED", "PRIMARY", *flavour, contrast]


def _rescale(look: MapLook) -> dict[str, float | str]:
    return {"RescaleIntercept": 0.0, "RescaleSlope": look.slope, "RescaleType": look.rescale_type}


def _window(window: tuple[float, float]) -> dict[str, float | str]:
    """Return the window from the lowest to the highest value; LINEAR would shift it by half a unit (PS3.3 C.11.2.1.2, C.11.2.1.3.2)."""
    low, high = window
    return {"WindowCenter": float(f"{(low + high) / 2:.6g}"), "WindowWidth": float(f"{high - low:.6g}"), "VOILUTFunction": "LINEAR_EXACT"}


def _item(values: Mapping[str, object]) -> Dataset:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item
