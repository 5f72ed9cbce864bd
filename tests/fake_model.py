"""A stand-in for the trained model: quick, and wrong or slow on demand."""

import time
from collections.abc import Callable

import numpy as np
from scipy import ndimage

from onenex.errors import OutOfDomain
from onenex.series import Acquisition, Denoised, FloatImages


class FakeModel:
    """Smooths lightly; remembers what it was asked."""

    weights_hash = "0123456789ab"

    def __init__(self, *, sigma: float = 20.0, delay: float = 0.0, refuse: str | None = None, burst: type[Exception] | None = None) -> None:
        self.sigma, self.delay, self.refuse, self.burst = sigma, delay, refuse, burst
        self.scales: list[float | None] = []
        self.acquisitions: list[Acquisition] = []

    def denoise(
        self,
        images: FloatImages,
        acquisition: Acquisition,
        *,
        mode: str = "fast",
        strength: float = 1.0,
        seed: int = 0,
        scale: float | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Denoised:
        self.scales.append(scale)
        self.acquisitions.append(acquisition)
        if self.refuse is not None and self.refuse == acquisition.organ:
            raise OutOfDomain("the fake refuses this organ")
        if self.burst is not None:
            raise self.burst("burst with Doe^Jane inside")
        smooth = images if strength == 0 else np.empty_like(images)
        for index, image in enumerate(images):
            if strength > 0:
                smooth[index] = (1 - strength) * image + strength * ndimage.gaussian_filter(image, 0.7)
            time.sleep(self.delay)
            if progress is not None:
                progress(index + 1, len(images))
        sigma = np.full_like(images, self.sigma)
        return Denoised(images=smooth, noise_sigma=sigma, mode=mode, strength=strength, seed=seed, weights_hash=self.weights_hash)
