"""What a training run is: one frozen record, made by a recipe."""

from __future__ import annotations

from dataclasses import dataclass, field

from onenex.physics.degrade import ScanRanges


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Settings of one run. Lengths in pixels, noise in units of the series scale, times in seconds."""

    name: str
    seed: int = 0
    steps: int = 30_000
    widths: tuple[int, ...] = (48, 96, 128)
    """Channels per level of the restoration network."""
    depth: int = 2
    """Residual blocks per level and side."""
    patch: int = 96
    """Side of a training patch; a multiple of 16."""
    margin: int = 16
    """Extra border on which a scan is simulated and which is then cut off."""
    simulated_per_batch: int = 5
    real_per_batch: int = 3
    ranges: ScanRanges = field(default_factory=ScanRanges)
    learning_rate: float = 8e-4
    final_learning_rate: float = 1e-5
    warmup_steps: int = 500
    weight_decay: float = 0.0
    gradient_clip: float = 1.0
    ema_decay: float = 0.999
    own_sigma_after: int = 1_000
    """From this step on half of the simulated and all real patches are restored with the estimated σ map."""
    sigma_jitter: float = 0.08
    """Standard deviation of the logarithm of a factor on every σ map the restoration is given."""
    validate_every: int = 1_000
    checkpoint_every: int = 500
    holdout_every: int = 8
    """Every n-th slice of every training file is kept for validation."""
