"""Wavelet shrinkage by scikit-image: BayesShrink with cycle spinning."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onenex.evaluate.peers.whiten import unit_noise
from onenex.series import FloatImages


@dataclass(frozen=True, kw_only=True)
class Wavelet:
    """`denoise_wavelet(method="BayesShrink")` averaged over shifts of the image, slice by slice.

    It knows one σ an image, so slices are divided by the σ map first and multiplied afterwards.

    Source
    ------
    Chang et al., IEEE Trans. Image Process. 9:1532 (2000); Coifman & Donoho, Wavelets and Statistics, p. 125 (1995).
    """

    name: str = "wavelet"
    package: str = "skimage"
    wavelet: str = "sym4"
    """The best of db1, db2, db3, sym4 and sym8 on the training files (by 0.1 dB)."""
    max_shift: int = 3
    """Pixels along each axis."""
    sigma_factor: float = 0.8
    """The σ that it's told, in units of the estimated one: its strength."""

    def __call__(self, images: FloatImages, sigma: FloatImages) -> FloatImages:
        """Denoise as `Peer` says."""
        return unit_noise(images, sigma, self._denoise)

    def _denoise(self, image: FloatImages) -> FloatImages:
        from skimage.restoration import cycle_spin, denoise_wavelet

        options = {"sigma": self.sigma_factor, "wavelet": self.wavelet, "method": "BayesShrink", "mode": "soft", "rescale_sigma": False}
        denoised = cycle_spin(image, func=denoise_wavelet, max_shifts=self.max_shift, func_kw=options, workers=1)
        return np.asarray(denoised, dtype=np.float32)
