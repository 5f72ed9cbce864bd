"""Adaptive non-local means by ANTs (`DenoiseImage`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from onenex.series import FloatImages


@dataclass(frozen=True, kw_only=True)
class AntsDenoise:
    """`ants.denoise_image`, slice by slice.

    It estimates its noise locally by itself and takes no σ from outside.

    Source
    ------
    Manjón et al., J. Magn. Reson. Imaging 31:192 (2010).
    """

    name: str = "ANTs"
    package: str = "ants"
    patch_radius: int = 3
    search_radius: int = 1
    noise_model: Literal["Rician", "Gaussian"] = "Gaussian"
    """Told that the noise is Rician, it scored less at every setting, on simulated Rician noise too."""

    def __call__(self, images: FloatImages, sigma: FloatImages) -> FloatImages:
        """Denoise as `Peer` says; `sigma` is not used."""
        import ants

        restored = images.copy()
        for index, image in enumerate(images):
            if image.min() < image.max():
                wrapped = ants.from_numpy(np.ascontiguousarray(image, dtype=np.float32))
                denoised = ants.denoise_image(wrapped, p=self.patch_radius, r=self.search_radius, noise_model=self.noise_model)
                restored[index] = denoised.numpy()
        return restored
