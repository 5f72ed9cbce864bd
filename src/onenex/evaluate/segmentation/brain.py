"""Brain tissue on axial head slices: three classes inside a brain mask, by Atropos or by a Gaussian mixture."""

from __future__ import annotations

import logging
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_multiotsu

from onenex.errors import DataError
from onenex.evaluate.metrics import Mask
from onenex.evaluate.segmentation import Labels, Spacing, Task, sizes
from onenex.evaluate.segmentation.extraction import brain_mask, core
from onenex.evaluate.segmentation.mixture import classes
from onenex.series import Acquisition, FloatImages

_LOG = logging.getLogger(__name__)
_ELSEWHERE = threading.Lock()

CSF, GREY, WHITE = "CSF", "grey matter", "white matter"
DARK_TO_BRIGHT: Mapping[str, tuple[str, str, str]] = {
    "T1w": (CSF, GREY, WHITE),
    "T1-FLAIR": (CSF, GREY, WHITE),
    "T2-FLAIR": (CSF, WHITE, GREY),
    "T2w": (WHITE, GREY, CSF),
    "STIR": (WHITE, GREY, CSF),
}
"""Sequence → tissues by rising signal in adults. Nothing checks that the classes are these tissues: lesions and vessels fall to the
class that they look like, and where ventricles or lesions fill much of a slice, grey and white matter may end in one class."""
UNNAMED = ("dark class", "middle class", "bright class")
"""Of all other sequences, on which the order of tissues depends on the timing."""
BRIGHT_FAT = ("T1w", "T1-FLAIR", "T2-FLAIR")
"""Sequences on which fat, and lesions at the rim, may outshine the brain: they are cut off. On T2w the fluid is as bright."""
LEAST_PIXELS = 1000
"""A brain mask below this is none."""
LEAST_SHARE = 0.005
"""Of the mask: where Atropos gives a class of the reference less than this, the mixture takes over."""

Means = tuple[float, float, float]
"""Signal of the three classes, rising, units of the series scale."""


def class_names(sequence: str) -> dict[str, int]:
    """Return name → label (1 is the darkest) of the three classes on a sequence of `series.SEQUENCES`."""
    return {name: label for label, name in enumerate(DARK_TO_BRIGHT.get(sequence, UNNAMED), start=1)}


def class_means(reference: FloatImages, mask: Mask) -> Means:
    """Return where the classes of a stack start: means between the two thresholds of Otsu's method.

    Of the slightly blurred image without the mask's rim, where brain and bone share pixels, and without the outermost percent on
    either side.

    Raises
    ------
    DataError
        The brain is too small or has one value throughout.

    Source
    ------
    Liao et al., J. Inf. Sci. Eng. 17:713 (2001), by scikit-image.
    """
    values = ndimage.gaussian_filter(reference, (0, 1, 1))[core(mask)]
    if values.size >= LEAST_PIXELS:
        low, high = np.percentile(values, (1, 99))
        values = values[(values > low) & (values < high)]
    if values.size < LEAST_PIXELS / 2 or values.min() == values.max():
        raise DataError(f"a brain of {int(mask.sum())} pixels is too small or too flat to part it into three tissues")
    first, second = threshold_multiotsu(values, 3)
    dark, bright = values[values <= first], values[values > second]
    middle = values[(values > first) & (values <= second)]
    return float(dark.mean()), float(middle.mean()), float(bright.mean())


def clipped(values: FloatImages, means: Means) -> FloatImages:
    """Return values clipped as far beyond the outer class means as the middle one lies within: no vessel or lesion draws a class to itself."""
    dark, middle, bright = means
    return np.clip(values, 2 * dark - middle, 2 * bright - middle)


@dataclass(frozen=True, kw_only=True)
class Atropos:
    """Atropos of ANTs as antspyx wraps it, with its defaults: k-means, then five rounds with a Markov random field.

    The field joins pixels of one slice only, for most stacks here are thick 2-D slices; the classes are those of the stack.

    Source
    ------
    Avants et al., Neuroinformatics 9:381 (2011).
    """

    means: Means
    """Where k-means starts."""
    names: Mapping[str, int] = field(default_factory=lambda: class_names(""))
    name: str = "Atropos"

    def __call__(self, images: FloatImages, spacing_mm: Spacing | None, mask: Mask) -> Labels:
        """Segment as `Segmenter` says; `spacing_mm` is not used, for the field counts in pixels.

        Raises
        ------
        DataError
            antspyx isn't installed, the mask is too small, or Atropos gives up.
        """
        if find_spec("ants") is None:
            raise DataError("Atropos needs antspyx: pip install 'onenex[evaluate]'")
        import ants

        box = _box(images, mask)
        both = (clipped(images, self.means), mask)
        image, inside = (ants.from_numpy(np.ascontiguousarray(one[box].transpose(2, 1, 0), dtype=np.float32)) for one in both)
        start = f"kmeans[3,{'x'.join(f'{mean:.6f}' for mean in self.means)}]"
        # it leaves its probability maps behind as files: these go to a folder that is thrown away
        with _ELSEWHERE, tempfile.TemporaryDirectory(prefix="onenex-atropos-") as folder:
            before, tempfile.tempdir = tempfile.tempdir, folder
            try:
                found: Mapping[str, Any] = ants.atropos(image, inside, i=start, m="[0.2,1x1x0]", c="[5,0]", r=0)
            except Exception as error:  # antspyx raises no other class
                raise DataError(f"Atropos could not segment {int(mask.sum())} pixels of a stack of shape {images.shape}: {error}") from error
            finally:
                tempfile.tempdir = before
        labels = np.zeros(images.shape, dtype=np.int32)
        labels[box] = np.rint(found["segmentation"].numpy().transpose(2, 1, 0)).astype(np.int32)
        return labels


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """A mixture of three Gaussians of one width, by scikit-learn; no pixel knows of its neighbours, nothing is drawn at random."""

    means: Means
    """Where it starts."""
    names: Mapping[str, int] = field(default_factory=lambda: class_names(""))
    name: str = "Gaussian mixture"

    def __call__(self, images: FloatImages, spacing_mm: Spacing | None, mask: Mask) -> Labels:
        """Segment as `Segmenter` says; `spacing_mm` is not used.

        Raises
        ------
        DataError
            scikit-learn isn't installed, or the mask is too small.
        """
        _box(images, mask)
        labels = np.zeros(images.shape, dtype=np.int32)
        labels[mask] = 1 + classes(clipped(images[mask], self.means), self.means)
        return labels


def _box(images: FloatImages, mask: Mask) -> tuple[slice, slice, slice]:
    """Return the least box around the mask, in rows and columns only."""
    if mask.shape != images.shape or mask.sum() < LEAST_PIXELS:
        raise DataError(
            f"a brain mask of {int(mask.sum())} pixels, shape {mask.shape}, over images {images.shape}: at least {LEAST_PIXELS} are needed"
        )
    rows, columns = (np.flatnonzero(mask.any(axis=axes)) for axes in ((0, 2), (0, 1)))
    return np.s_[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def brain_task(reference: FloatImages, acquisition: Acquisition, spacing_mm: Spacing | None = None) -> Task:
    """Choose how the brain of a stack is segmented, by looking at the reference alone.

    Atropos, unless antspyx isn't installed, it gives up, or one of its classes is nearly empty: then the Gaussian mixture. All
    images of the stack share the mask and the starting means; without that, k-means on a noisy image often settles on other
    classes altogether, and a gain would say more about k-means than about the noise.

    Parameters
    ----------
    reference
        (slice, row, column), units of the series scale.
    acquisition
        Of the stack.
    spacing_mm
        Handed to the segmenter.

    Raises
    ------
    DataError
        The slices aren't axial ones of a head, no brain is found, or neither package is installed.
    """
    if acquisition.organ != "head" or acquisition.plane != "axial":
        raise DataError(f"brain tissue is segmented on axial head slices only, not on {acquisition.plane} {acquisition.organ}")
    mask, names = brain_mask(reference, bright_fat=acquisition.sequence in BRIGHT_FAT), class_names(acquisition.sequence)
    means, mixture_because = class_means(reference, mask), "antspyx isn't installed"
    if find_spec("ants") is not None:
        atropos = Atropos(means=means, names=names)
        try:
            labels = atropos(reference, spacing_mm, mask)
        except DataError as error:
            mixture_because = str(error)
        else:
            least = min(sizes(labels, names).values()) / mask.sum()
            if least >= LEAST_SHARE:
                return Task(segmenter=atropos, mask=mask, reference=labels, note=atropos.name)
            mixture_because = f"Atropos left a class with {least:.1%} of the brain"
    mixture = Mixture(means=means, names=names)
    _LOG.info("event=second_choice segmenter=mixture why=%r", mixture_because)
    return Task(segmenter=mixture, mask=mask, reference=mixture(reference, spacing_mm, mask), note=f"{mixture.name} ({mixture_because})")
