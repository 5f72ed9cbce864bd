"""Total-variation denoising by scikit-image (Chambolle's projection)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onenex.evaluate.peers.whiten import unit_noise
from onenex.series import FloatImages


@dataclass(frozen=True, kw_only=True)
class TotalVariation:
    """`denoise_tv_chambolle` with a weight proportional to σ, slice by slice.

    It knows one weight an image, so slices are divided by the σ map first and multiplied afterwards.

    Source
    ------
    Chambolle, J. Math. Imaging Vis. 20:89 (2004).
    """

    name: str = "TV"
    package: str = "skimage"
    weight: float = 0.6
    """In units of σ."""

    def __call__(self, images: FloatImages, sigma: FloatImages) -> FloatImages:
        """Denoise as `Peer` says."""
        return unit_noise(images, sigma, self._denoise)

    def _denoise(self, image: FloatImages) -> FloatImages:
        from skimage.restoration import denoise_tv_chambolle

        return np.asarray(denoise_tv_chambolle(image, weight=self.weight, eps=2e-4, max_num_iter=200), dtype=np.float32)
