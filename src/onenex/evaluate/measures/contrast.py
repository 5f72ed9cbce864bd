"""Contrast-to-noise ratio between the tissues of the reference that are hardest to tell apart."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_multiotsu

from onenex.evaluate.metrics import Mask

Image = NDArray[np.float32] | NDArray[np.float64]
"""(row, column)."""

CLASSES, BINS = 3, 128
"""Classes of brightness inside the foreground, and bins of the histogram that parts them."""
SMOOTHING = 1.0
"""Gaussian before the reference is parted, pixels."""
TOP_PERCENTILE = 99.5
"""Of the foreground: brighter pixels (vessels) count as this bright when thresholds are sought."""
LEAST_PIXELS, LEAST_SHARE = 64, 0.05
"""Classes of fewer pixels, or of less of the foreground, are no tissue but the border between two."""


@dataclass(frozen=True, kw_only=True)
class Tissues:
    """Two classes of a reference slice."""

    darker: Mask
    brighter: Mask
    contrast: float
    """Difference of their means in the reference, > 0."""


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """What is left of the contrast, and how it compares with the noise."""

    cnr: float
    """Contrast over the standard deviation of the noise; infinite without noise."""
    ratio: float
    """Contrast in the image / contrast in the reference: 1 kept, less is lost."""


def tissues(reference: Image, mask: Mask) -> Tissues | None:
    """Part the foreground into classes of brightness, and return the two neighbouring ones with the least contrast.

    The choice depends on the reference alone, so every method is asked for the same contrast.

    Parameters
    ----------
    reference, mask
        (row, column).

    Returns
    -------
    Tissues | None
        None where the foreground doesn't show two classes large enough.

    Source
    ------
    Otsu, IEEE Trans. Syst. Man Cybern. 9:62 (1979), for several thresholds, by scikit-image.
    """
    if int(mask.sum()) < 2 * LEAST_PIXELS:
        return None
    smooth = ndimage.gaussian_filter(np.asarray(reference, dtype=np.float64), SMOOTHING)
    values = np.minimum(smooth[mask], np.percentile(smooth[mask], TOP_PERCENTILE))
    counts, _ = np.histogram(values, BINS)
    if np.count_nonzero(counts) < CLASSES:
        return None
    level = np.digitize(smooth, threshold_multiotsu(values, CLASSES, nbins=BINS))
    least = max(LEAST_PIXELS, LEAST_SHARE * int(mask.sum()))
    classes = [tissue for one in range(CLASSES) if int((tissue := mask & (level == one)).sum()) >= least]
    if len(classes) < 2:
        return None
    darker, brighter = min(pairwise(classes), key=lambda pair: float(reference[pair[1]].mean() - reference[pair[0]].mean()))
    contrast = float(reference[brighter].mean(dtype=np.float64) - reference[darker].mean(dtype=np.float64))
    return Tissues(darker=darker, brighter=brighter, contrast=contrast) if contrast > 0 else None


def contrast(
    image: Image, reference: Image, found: Tissues, *, noise_sigma: Image | None = None, reference_variance: Image | None = None
) -> Contrast:
    """Return contrast and CNR of an image.

    CNR = |m₂ − m₁| / √((v₁ + v₂) / 2), m the means of the classes. v is the noise: the variance of image − reference within each
    class. What anatomy varies in a class cancels; what a denoiser has smeared counts as noise. A map of the image's own noise, where there is
    one (of a measured image there is, of a restored one there isn't), can take its place.

    Parameters
    ----------
    image, reference
        (row, column), one unit.
    found
        Of `tissues`.
    noise_sigma
        (row, column), standard deviation of the noise of `image`, to be used in place of what differs from the reference.
    reference_variance
        (row, column), variance of the reference's own noise, subtracted from that of the difference.

    Source
    ------
    Welvaert & Rosseel, PLoS ONE 8:e77089 (2013), on the definitions in use; ours differs in that the noise is told from the reference.
    """
    variances = []
    for tissue in (found.darker, found.brighter):
        if noise_sigma is not None:
            variances.append(float(np.mean(np.square(noise_sigma[tissue], dtype=np.float64))))
            continue
        own = 0.0 if reference_variance is None else float(reference_variance[tissue].mean(dtype=np.float64))
        variances.append(float(np.var(image[tissue].astype(np.float64) - reference[tissue])) - own)
    kept = float(image[found.brighter].mean(dtype=np.float64) - image[found.darker].mean(dtype=np.float64))
    noise = math.sqrt(max(0.0, sum(variances) / 2))
    return Contrast(cnr=abs(kept) / noise if noise > 0 else math.inf, ratio=kept / found.contrast)
