"""BM3D by the package `bm3d` of its authors, where the user has installed it: its licence allows non-commercial use only."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

import numpy as np

from onenex.errors import DataError
from onenex.evaluate.peers.whiten import floored
from onenex.series import FloatImages

NAME = "BM3D"
PACKAGE = "bm3d"


@dataclass(frozen=True, kw_only=True)
class Bm3d:
    """`bm3d.bm3d` with its own settings, slice by slice; it takes the noise for Gaussian.

    It knows one σ an image, so slices are divided by the σ map's shape first and multiplied afterwards. Its matching of blocks expects
    images between 0 and 1, so the level stays. It's no dependency of ours, no part of the search for parameters, and runs only when named.

    Source
    ------
    Mäkinen et al., IEEE Trans. Image Process. 29:8339 (2020); Dabov et al., IEEE Trans. Image Process. 16:2080 (2007).
    """

    name: str = NAME
    package: str = PACKAGE

    def __call__(self, images: FloatImages, sigma: FloatImages) -> FloatImages:
        """Denoise as `Peer` says.

        Raises
        ------
        DataError
            The package isn't installed.
        """
        denoise = _package().bm3d
        restored = images.copy()
        for index, (image, level) in enumerate(zip(images, sigma, strict=True)):
            safe = floored(level)
            if safe is None or image.min() == image.max():
                continue
            typical = float(np.median(safe))
            shape = safe / np.float32(typical)
            found = np.reshape(denoise((image / shape).astype(np.float64), typical), image.shape)
            restored[index] = found * shape
        return restored


def asked_for() -> Bm3d:
    """Return BM3D for a user who named it.

    Raises
    ------
    DataError
        The package isn't installed.
    """
    _package()
    return Bm3d()


def _package() -> ModuleType:
    if find_spec(PACKAGE) is None:
        raise DataError(
            "BM3D needs the package bm3d, not brought along because its licence allows non-commercial use only: if yours is, pip install bm3d"
        )
    return import_module(PACKAGE)
