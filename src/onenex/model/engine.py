"""The public model: images in, denoised images and their noise map out."""

# shapes: B batch, H row, W column

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from onenex.errors import OutOfDomain
from onenex.model.noise_level import NoiseMap
from onenex.model.tiling import apply_tiled, blanked, pad_to_multiple
from onenex.model.weights import Weights, load_weights
from onenex.physics.scale import series_scale
from onenex.series import Acquisition, Denoised, FloatImages

MODES = ("fast",)
TILE_CORE = 768
"""Largest side, in pixels, that is processed in one piece (plus halo)."""
TILE_HALO = 128
"""Reach of the restoration network, rounded up."""
MAX_PIXELS = 2**27
"""Largest slice, pixels; beyond it the maps alone would need gigabytes."""

Progress = Callable[[int, int], None]


class Model:
    """Noise map and restoration with their weights, on one device. Make it with `load`."""

    def __init__(self, weights: Weights, device: torch.device) -> None:
        self.device = device
        self.card = weights.card
        self.weights_hash = weights.hash
        self._noise_level = weights.noise_level.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._restoration = weights.restoration.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def denoise(
        self,
        images: FloatImages,
        acquisition: Acquisition | None = None,
        *,
        mode: str = "fast",
        strength: float = 1.0,
        seed: int = 0,
        scale: float | None = None,
        progress: Progress | None = None,
    ) -> Denoised:
        """Denoise a stack of magnitude slices.

        Parameters
        ----------
        images
            (slice, row, column), finite, any unit and size.
        acquisition
            What is known of the scan. Mode `fast` restores from the image and its noise alone; the text condition is
            part of mode `full`.
        mode
            One of `MODES`.
        strength
            0 returns the input, 1 the full restoration, between them a blend.
        seed
            For modes that draw; `fast` draws nothing.
        scale
            Series scale in the unit of `images` when the stack is part of a larger series; measured when None.
        progress
            Called with (slices done, slices in all).

        Returns
        -------
        Denoised
            float32 images in the unit of the input, and the estimated σ of the input's noise.

        Raises
        ------
        OutOfDomain
            Wrong shape, NaN or infinite pixels, a slice over `MAX_PIXELS`, an unknown mode, a strength outside 0…1.
        """
        _check(images, mode, strength, scale)
        images = np.asarray(images, dtype=np.float32)
        factor = series_scale([images]) if scale is None else scale
        restored, sigma = np.empty_like(images), np.empty_like(images)
        for index, image in enumerate(images):
            restored[index], sigma[index] = self._slice(image, factor, strength)
            if progress is not None:
                progress(index + 1, len(images))
        return Denoised(images=restored, noise_sigma=sigma, mode=mode, strength=strength, seed=seed, weights_hash=self.weights_hash)

    def estimate_sigma(self, images: FloatImages, scale: float | None = None) -> FloatImages:
        """Return the noise map (slice, row, column) of magnitude slices, in their unit. Arguments as in `denoise`."""
        _check(images, "fast", 1.0, scale)
        factor = series_scale([images]) if scale is None else scale
        sigma = np.empty(images.shape, dtype=np.float32)
        for index, image in enumerate(images):
            sigma[index] = self._slice(np.asarray(image, dtype=np.float32), factor, strength=0.0)[1]
        return sigma

    @torch.inference_mode()
    def _slice(self, image: FloatImages, scale: float, strength: float) -> tuple[FloatImages, FloatImages]:
        """Restore one slice (row, column); returns it and its noise map, both in the unit of the input."""
        if image.min() == image.max():
            return image, np.zeros_like(image)
        n_rows, n_columns = image.shape
        scaled = torch.from_numpy(image / np.float32(scale)).to(self.device)[None, None]
        positive = scaled.clamp_min(0)
        noise: NoiseMap = self._noise_level(positive)
        measured_sigma = (noise.sigma[0, 0] * scale).cpu().numpy()
        if strength == 0:
            return image, measured_sigma
        padded = pad_to_multiple(torch.cat([positive, noise.cautious], dim=1), self._restoration.multiple)
        restored = apply_tiled(self._restore, padded, core=TILE_CORE, halo=TILE_HALO)[..., :n_rows, :n_columns]
        change = (restored - positive).masked_fill(blanked(positive), 0)[0, 0]
        moved = image + np.float32(strength * scale) * change.cpu().numpy()
        return np.maximum(moved, np.minimum(image, 0)), measured_sigma

    def _restore(self, image_and_sigma_B2HW: Tensor) -> Tensor:
        """Restore one tile (B, 1, H, W)."""
        stacked = image_and_sigma_B2HW.contiguous(memory_format=torch.channels_last)
        restored: Tensor = self._restoration(stacked[:, :1], stacked[:, 1:])
        return restored


def load(device: str = "auto", weights: Path | None = None) -> Model:
    """Load the model, by default with the bundled weights.

    Parameters
    ----------
    device
        "auto" (CUDA when there is one, else CPU), "cpu", "cuda" or "cuda:N".
    weights
        A weights file written by `onenex train`.

    Raises
    ------
    WeightsMismatch
        The weights file cannot be used.
    OutOfDomain
        No such device.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
        torch.zeros(1, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise OutOfDomain(f"device '{device}' cannot be used ({str(error).splitlines()[0]}): try --device cpu") from error
    return Model(load_weights(weights), chosen)


def _check(images: FloatImages, mode: str, strength: float, scale: float | None) -> None:
    """Refuse what the model cannot work on."""
    if mode not in MODES:
        raise OutOfDomain(f"mode '{mode}' does not exist: use one of {', '.join(MODES)}")
    if not 0 <= strength <= 1:
        raise OutOfDomain(f"strength is {strength}: give a number from 0 (input) to 1 (full)")
    if scale is not None and not (np.isfinite(scale) and scale > 0):
        raise OutOfDomain(f"scale is {scale}: give a positive number in the unit of the images")
    if images.ndim != 3 or 0 in images.shape:
        raise OutOfDomain(f"images have shape {images.shape}: give a stack (slice, row, column) with at least one pixel")
    n_pixels = images.shape[1] * images.shape[2]
    if n_pixels > MAX_PIXELS:
        raise OutOfDomain(f"a slice of {images.shape[1]} × {images.shape[2]} pixels is larger than {MAX_PIXELS}: crop or downsample it first")
    if np.iscomplexobj(images):
        raise OutOfDomain("images are complex: give magnitudes")
    for index, image in enumerate(images):
        if not np.isfinite(image).all():
            n_bad = int(np.size(image) - np.isfinite(image).sum())
            raise OutOfDomain(f"slice {index} holds {n_bad} NaN or infinite pixels: replace them by 0 or by measured values first")
