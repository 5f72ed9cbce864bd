"""Adaptive non-local means by ANTs (`DenoiseImage`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onenex.series import FloatImages


@dataclass(frozen=True, kw_only=True)
class AntsDenoise:
    """`ants.denoise_image` with the Rician model, slice by slice.

    It estimates its noise locally by itself and takes no σ from outside. Patch radius 2 and search radius 3 scored as
    the defaults (1 and 2) in PSNR on the training files and better in SSIM.

    Source
    ------
    Manjón et al., J. Magn. Reson. Imaging 31:192 (2010).
    """

    name: str = "ANTs"
    package: str = "ants"
    patch_radius: int = 2
    search_radius: int = 3

    def __call__(self, images: FloatImages, sigma: FloatImages) -> FloatImages:
        """Denoise as `Peer` says; `sigma` is not used."""
        import ants

        restored = images.copy()
        for index, image in enumerate(images):
            if image.min() < image.max():
                wrapped = ants.from_numpy(np.ascontiguousarray(image, dtype=np.float32))
                denoised = ants.denoise_image(wrapped, p=self.patch_radius, r=self.search_radius, noise_model="Rician")
                restored[index] = denoised.numpy()
        return restored
