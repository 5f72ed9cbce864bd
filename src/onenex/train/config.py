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
    size_exponent: float = 0.5
    """A file is picked in proportion to this power of its number of slices: 0 = every file alike, 1 = every slice alike."""
    learning_rate: float = 8e-4
    final_learning_rate: float = 1e-5
    warmup_steps: int = 500
    gradient_clip: float = 1.0
    ema_decay: float = 0.999
    margin: int = 16
    """Extra border on which a scan is simulated and which is then cut off."""
    ranges: ScanRanges = field(default_factory=ScanRanges)
    text_dropout: float = 0.15
    """Probability that a phrase of the prompt becomes "unknown", and that all do."""
    second_scan: bool = False
    """Whether simulated patches are scanned a second time, with new noise."""
    lesions: float = 0.0
    """Probability that a simulated patch gets small faint spots (`physics.lesions`)."""
    artefacts: float = 0.0
    """Probability that a simulated patch has ghosts or zippers, which belong to what is to be restored (`physics.artefacts`)."""
    bias_weight: float = 0.0
    """Of the squared mean error over scans of the same patch, beside its squared error; needs `second_scan` (`losses.restoration_loss`)."""
    sub_batches: int = 1
    """Batches behind one step, their gradients averaged. The processes of a run share them; what it learns doesn't depend on how many do."""
    together: int = 1
    """Sub-batches of a process that go through the networks in one pass, where memory allows; the rest follow in further passes."""
    bf16: bool = False
    """Whether the networks, not the losses around them, compute in bfloat16 while they are trained."""
    workers: int = 0
    """Processes that draw batches, at most one a core; 0 = a thread, which is enough for a CPU."""
    validate_every: int = 1_000
    checkpoint_every: int = 500


@dataclass(frozen=True, kw_only=True)
class UnifiedConfig:
    """The second half of a run: the cascade, then the prior."""

    cascade: PhaseConfig
    """Restoration, degradation and text branch together."""
    prior: PhaseConfig
    """The diffusion prior, after the cascade."""
    settling: PhaseConfig | None = None
    """The degradation alone, between the two: on patches of 192, the noise map's windows, or it learns to allow for a noise map that
    sees less than it will in use. None = none."""
    fidelity: PhaseConfig | None = None
    """The restoration once more, after the cascade: with lesions, artefacts and a price on bias (`train.fidelity`). None = none."""
    fidelity_share: float = 0.5
    """Of the weights that this phase ends at, in the mean with those that it began at."""
    prior_share: float = 1.0
    """The same of a prior that was there before."""
    degradation_widths: tuple[int, ...] = (32, 64, 96)
    degradation_depth: int = 1
    lora_rank: int = 8


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What every run has."""

    name: str
    seed: int = 0
    sigma_jitter: float = 0.12
    """Standard deviation of the logarithm of a factor on every true σ map that a network is told: the noise map errs as well."""
    holdout_every: int = 8
    """Every n-th slice of every training file is kept for validation."""
    most_in_memory: float = 4e9
    """Bytes of packed images in single precision that a process may hold; of more than that each slice is read when it is drawn."""
    tune: bool = False
    """Begin at given weights, train what they hold, and keep of each network what does better on the held-out slices."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig(RunConfig):
    """One run: noise map and restoration, each trained by itself, the restoration adapted to the noise map, then the unified model."""

    noise: PhaseConfig
    restoration: PhaseConfig
    adaptation: PhaseConfig
    """The restoration once more, now told σ by the trained noise map instead of by the truth."""
    unified: UnifiedConfig | None = None
    """What follows the adaptation: text, degradation and prior; None = only what mode `fast` without text needs."""
    widths: tuple[int, ...] = (48, 96, 128)
    """Channels per level of the restoration network and of the prior."""
    depth: int = 2
    """Residual blocks per level and side."""


@dataclass(frozen=True, kw_only=True)
class RivalsConfig(RunConfig):
    """A run that trains the learnt rivals (`onenex.rivals`), in this order; they have nothing of OneNEX but its blocks and its data."""

    unet: PhaseConfig
    ddpm: PhaseConfig
    """The conditional diffusion model; of real patches it diffuses what the U-Net makes of them, for they have no noise-free reference."""
    prior: PhaseConfig
    """The unconditional one of DPS and RED-diff."""
    gan: PhaseConfig
    """From the U-Net's weights on."""
    widths: tuple[int, ...] = (32, 64, 96)
    """Channels per level of every network."""
    depth: int = 1
    adversarial_weight: float = 0.2
    """Of the critic's opinion in the loss of the GAN."""
