"""The public model: images in, denoised images, their noise map and their uncertainty out."""

# shapes: B batch, H row, W column

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onenex.errors import OutOfDomain
from onenex.model.condition import tell
from onenex.model.details import with_details
from onenex.model.edges import sharpened
from onenex.model.engines import Engine, Torch, engine_of
from onenex.model.guard import Degrade, guard, rician_model
from onenex.model.modes import Mode, Settings, Shot, build
from onenex.model.noise_level import NoiseMap
from onenex.model.parallel import in_order, slices_at_once
from onenex.model.scanner import learnt_scanner
from onenex.model.tiling import blanked
from onenex.model.weights import Weights, load_weights
from onenex.nets.attention import Condition
from onenex.physics.scale import series_scale
from onenex.series import Acquisition, Denoised, FloatImages, GuardNote
from onenex.text.prompt import phrases_of

MAX_PIXELS = 2**27
"""Largest slice, pixels; beyond it the maps alone would need gigabytes."""

Progress = Callable[[int, int], None]


class Model:
    """All networks with their weights, on one device. Make it with `load`."""

    def __init__(self, weights: Weights, device: torch.device, engine: Engine | None = None) -> None:
        engine = engine or Torch()
        self.device = device
        self.engine = engine.name
        self.card = weights.card
        self.weights_hash = weights.hash
        self.path = weights.path
        self._networks = engine.prepared(weights, device)

    @property
    def modes(self) -> tuple[str, ...]:
        """Modes that the weights know."""
        whole = self._networks.prior is not None and self._networks.degradation is not None
        return ("fast", "full") if whole else ("fast",)

    def denoise(
        self,
        images: FloatImages,
        acquisition: Acquisition | None = None,
        *,
        mode: Settings | str = "fast",
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
            What is known of the scan: the networks are told it as text.
        mode
            "fast" (one pass), "full" (prior guided by the degradation model), or `Settings` that say more.
        strength
            0 returns the input, 1 the full restoration, between them a blend.
        seed
            Of the draws of mode `full`; the same seed gives the same images, however many slices are denoised together.
        scale
            Series scale in the unit of `images` when the stack is part of a larger series; measured when None.
        progress
            Called with (slices done, slices in all).

        Returns
        -------
        Denoised
            float32 images in the unit of the input, and the estimated σ of the input's noise; the uncertainty where several samples
            were asked for.

        Raises
        ------
        OutOfDomain
            Wrong shape, NaN or infinite pixels, a slice over `MAX_PIXELS`, settings that make no sense, a strength outside 0…1,
            or weights that don't know the mode.
        """
        settings = Settings(mode=mode) if isinstance(mode, str) else mode
        chosen = build(self._networks, settings)
        _check(images, strength, scale)
        images = np.asarray(images, dtype=np.float32)
        condition, notes = self._tell(acquisition or Acquisition())
        factor = series_scale([images]) if scale is None else scale
        task = _Task(scale=factor, strength=strength, condition=condition, seed=seed, give_back=settings.give_back, guard=settings.guard)
        restored, sigma = np.empty_like(images), np.empty_like(images)
        uncertainty = np.zeros_like(images) if settings.n_samples > 1 else None
        notes_of_guard: list[GuardNote] = []
        n_at_once = slices_at_once(len(images), images[0].size, torch.get_num_threads())
        every = in_order(lambda numbered: self._slice(numbered[1], numbered[0], chosen, task), enumerate(images), n_at_once)
        for place, found in enumerate(every):
            restored[place], sigma[place] = found.image, found.sigma
            if uncertainty is not None and found.uncertainty is not None:
                uncertainty[place] = found.uncertainty
            if found.guard is not None:
                notes_of_guard.append(found.guard)
            if progress is not None:
                progress(place + 1, len(images))
        return Denoised(
            images=restored, noise_sigma=sigma, mode=settings.mode, strength=strength, seed=seed, weights_hash=self.weights_hash,
            uncertainty=uncertainty, notes=notes, guard=tuple(notes_of_guard) if settings.guard and strength > 0 else None,
        )  # fmt: skip

    def estimate_sigma(self, images: FloatImages, scale: float | None = None) -> FloatImages:
        """Return the noise map (slice, row, column) of magnitude slices, in their unit. Arguments as in `denoise`."""
        _check(images, 1.0, scale)
        factor = series_scale([images]) if scale is None else scale
        task = _Task(scale=factor, strength=0.0, condition=None, seed=0, give_back=False, guard=False)
        fast = build(self._networks, Settings())
        return np.stack([self._slice(np.asarray(image, dtype=np.float32), 0, fast, task).sigma for image in images])

    def scanner(self, noise_sigma: FloatImages, acquisition: Acquisition | None = None) -> Degrade:
        """Return the learnt scanner, f_φ: a clean image (row, column) → mean and standard deviation of a fast scan of it.

        Parameters
        ----------
        noise_sigma
            (row, column), channel σ; units of the series scale, as are the images that it is then asked about.
        acquisition
            As in `denoise`.

        Raises
        ------
        OutOfDomain
            The weights know mode `fast` only.
        """
        condition, degradation = self._tell(acquisition or Acquisition())[0], self._networks.degradation
        if condition is None or degradation is None:
            raise OutOfDomain("these weights hold no degradation model (they know mode 'fast' only): give others, such as the bundled ones")
        return learnt_scanner(degradation, noise_sigma, condition)

    def _tell(self, acquisition: Acquisition) -> tuple[Condition | None, tuple[str, ...]]:
        """Return the tokens of a scan's prompt and what had to be said otherwise; None for weights without text."""
        if self._networks.phrases is None:
            return None, ()
        condition, notes = tell(self._networks.phrases, [phrases_of(acquisition)])
        return Condition(*(part.to(self.device) for part in condition)), notes

    @torch.no_grad()  # not inference mode: the guided inference takes gradients inside
    def _slice(self, image: FloatImages, place: int, mode: Mode, task: _Task) -> _Slice:
        """Restore one slice (row, column); all that comes back is in the unit of the input."""
        if image.min() == image.max():
            return _Slice(image, np.zeros_like(image), None, _untouched(image) if task.guard else None)
        positive = torch.from_numpy(image / np.float32(task.scale)).to(self.device)[None, None].clamp_min(0)
        noise: NoiseMap = self._networks.noise_level(positive)
        sigma = _array(noise.sigma * task.scale)
        if task.strength == 0:
            return _Slice(image, sigma, None, None)
        shot = Shot(positive, noise, task.condition, task.seed, place)
        found = mode(shot)
        measured, spread = _array(positive), None if found.uncertainty is None else _array(found.uncertainty)
        image_11HW = _given_back(shot, found.image) if task.give_back else found.image
        restored = np.where(_array(blanked(positive)), measured, _array(image_11HW))
        note = None
        if task.guard:
            restored, spread, note = _guarded(shot, restored, spread)
        share = np.float32(task.strength * task.scale)
        moved = np.maximum(image + share * (restored - measured), np.minimum(image, 0))
        return _Slice(moved, sigma, None if spread is None else share * spread, note)


class _Task(NamedTuple):
    """What the slices of a stack have in common."""

    scale: float
    strength: float
    condition: Condition | None
    seed: int
    give_back: bool
    guard: bool


class _Slice(NamedTuple):
    """One slice's results (row, column), the unit of the input."""

    image: FloatImages
    sigma: FloatImages
    uncertainty: FloatImages | None
    guard: GuardNote | None


def _given_back(shot: Shot, image_11HW: Tensor) -> Tensor:
    """Return a mode's image with what its residual holds of edges and of small structures."""
    sigma, bound = shot.noise.sigma, shot.noise.cautious
    return with_details(shot.measured, sharpened(shot.measured, image_11HW, sigma, bound), sigma, bound)


def _guarded(shot: Shot, restored: FloatImages, spread: FloatImages | None) -> tuple[FloatImages, FloatImages | None, GuardNote]:
    """Examine a restored slice (row, column), units of the series scale; return one that passes, its uncertainty, and what was found.

    Where measured pixels came back, their uncertainty is that of the measurement, σ.
    """
    sigma = _array(shot.noise.sigma)
    found = guard(_array(shot.measured), restored, rician_model(sigma), uncertainty=spread)
    verdict = found.verdict
    if spread is not None:
        spread = verdict.kept_map * spread + (1 - verdict.kept_map) * sigma
    note = GuardNote(
        passed=verdict.passed, reasons=verdict.reasons, kept=verdict.kept, share_given_up=verdict.share_given_up, suspicion=verdict.suspicion
    )
    return found.image, spread, note


def _untouched(image: FloatImages) -> GuardNote:
    """Return the note of a slice that came back as it was."""
    return GuardNote(passed=True, reasons=(), kept=1.0, share_given_up=0.0, suspicion=np.zeros_like(image))


def _array(image_11HW: Tensor) -> NDArray[Any]:
    """Return an image of one slice as (row, column) on the CPU."""
    found: NDArray[Any] = image_11HW[0, 0].cpu().numpy()
    return found


def load(device: str = "auto", weights: Path | None = None, *, engine: str = "torch") -> Model:
    """Load the model, by default with the bundled weights.

    Parameters
    ----------
    device
        "auto" (CUDA when there is one, else CPU), "cpu", "cuda" or "cuda:N".
    weights
        A weights file written by `onenex train`.
    engine
        "torch"; "onnx" (ONNX Runtime on the CPU, the same images to 1e-4 of the scale, extra `[onnx]`); "compiled" (CUDA only, bfloat16).

    Raises
    ------
    WeightsMismatch
        The weights file cannot be used.
    OutOfDomain
        No such device or engine, or one that doesn't go with the other or isn't installed.
    """
    runs = engine_of(engine)
    if device == "auto" and engine == "onnx":
        device = "cpu"
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
        torch.zeros(1, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise OutOfDomain(f"device '{device}' cannot be used ({str(error).splitlines()[0]}): try --device cpu") from error
    return Model(load_weights(weights), chosen, runs)


def _check(images: FloatImages, strength: float, scale: float | None) -> None:
    """Refuse what the model cannot work on."""
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
