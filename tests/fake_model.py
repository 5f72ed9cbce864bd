"""A stand-in for the trained model: quick, and wrong, slow or suspicious on demand."""

import time
from collections.abc import Callable, Mapping

import numpy as np
from scipy import ndimage

from onenex.errors import OutOfDomain
from onenex.model.modes import Settings
from onenex.series import ORGANS, Acquisition, Denoised, FloatImages, GuardNote


class FakeModel:
    """Smooths lightly; remembers what it was asked.

    `touched` maps slices to the share 0…1 of the slice in which the guard finds something; there the measured pixels come back.
    """

    weights_hash = "0123456789ab"
    engine = "torch"

    def __init__(
        self,
        *,
        sigma: float = 20.0,
        delay: float = 0.0,
        refuse: str | None = None,
        burst: type[Exception] | None = None,
        touched: Mapping[int, float] | None = None,
        knows_full: bool = True,
    ) -> None:
        self.sigma, self.delay, self.refuse, self.burst, self.touched, self.knows_full = sigma, delay, refuse, burst, touched or {}, knows_full
        self.scales: list[float | None] = []
        self.acquisitions: list[Acquisition] = []
        self.settings: list[Settings] = []

    def denoise(
        self,
        images: FloatImages,
        acquisition: Acquisition,
        *,
        mode: Settings | str = "fast",
        strength: float = 1.0,
        seed: int = 0,
        scale: float | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Denoised:
        settings = Settings(mode=mode) if isinstance(mode, str) else mode
        self.scales.append(scale)
        self.acquisitions.append(acquisition)
        self.settings.append(settings)
        if settings.mode == "full" and not self.knows_full:
            raise OutOfDomain("these weights know mode 'fast' only: use --mode fast, or other weights")
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
        judged = settings.guard and strength > 0
        return Denoised(
            images=smooth,
            noise_sigma=np.full_like(images, self.sigma),
            mode=settings.mode,
            strength=strength,
            seed=seed,
            weights_hash=self.weights_hash,
            uncertainty=spread(images, self.sigma) if settings.n_samples > 1 else None,
            notes=() if acquisition.organ in ORGANS else (f"'Organ: {acquisition.organ}' is not known, so 'Organ: unknown' was used instead",),
            guard=tuple(self._judge(old, new, index) for index, (old, new) in enumerate(zip(images, smooth, strict=True))) if judged else None,
        )

    def _judge(self, old: FloatImages, new: FloatImages, index: int) -> GuardNote:
        share = self.touched.get(index, 0.0)
        suspicion = np.full(old.shape, 0.25, np.float32)
        rows = round(share * len(old))
        suspicion[:rows] = 1.5
        new[:rows] = old[:rows]
        reasons = ("spot of radius 3.2 pixels at row 0, column 5: 9.3 σ, limit 6.2 σ",) if share else ()
        return GuardNote(passed=not share, reasons=reasons, kept=1 - share, share_given_up=share, suspicion=suspicion)


def spread(images: FloatImages, sigma: float) -> FloatImages:
    """The fake's uncertainty: a smooth pattern of a tenth to three tenths of σ, the same for the same place."""
    rows, columns = np.ogrid[: images.shape[1], : images.shape[2]]
    pattern = 0.1 + 0.1 * (1 + np.sin(rows / 5.0) * np.cos(columns / 7.0))
    return np.asarray(np.broadcast_to(sigma * pattern, images.shape), np.float32).copy()
