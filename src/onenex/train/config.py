"""What a training run is: frozen records, made by a recipe."""

from __future__ import annotations

from dataclasses import dataclass, field

from onenex.physics.degrade import ScanRanges


@dataclass(frozen=True, kw_only=True)
class PhaseConfig:
    """Settings of the training of one network. Lengths in pixels, noise in units of the series scale."""

    steps: int
    patch: int
    """Side of a training patch; a multiple of 16."""
    simulated_per_batch: int
    real_per_batch: int
    learning_rate: float = 8e-4
    final_learning_rate: float = 1e-5
    warmup_steps: int = 500
    gradient_clip: float = 1.0
    ema_decay: float = 0.999
    margin: int = 16
    """Extra border on which a scan is simulated and which is then cut off."""
    ranges: ScanRanges = field(default_factory=ScanRanges)
    validate_every: int = 1_000
    checkpoint_every: int = 500


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One run: the noise map and the restoration, each trained by itself, so either may be trained again alone."""

    name: str
    noise: PhaseConfig
    restoration: PhaseConfig
    seed: int = 0
    widths: tuple[int, ...] = (48, 96, 128)
    """Channels per level of the restoration network."""
    depth: int = 2
    """Residual blocks per level and side."""
    sigma_jitter: float = 0.12
    """Standard deviation of the logarithm of a factor on every σ map the restoration is given: the noise map errs as well."""
    holdout_every: int = 8
    """Every n-th slice of every training file is kept for validation."""
