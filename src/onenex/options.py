"""What a run is asked for: mode, guard, maps, and what the user knows better than the headers."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from onenex.errors import DataError
from onenex.series import Acquisition, MapKind

DEFAULT_SAMPLES = 8
"""Samples of an uncertainty map when nobody says how many."""
COMMAND_LINE = "command line"
"""Evidence of what the user said."""
MAX_SUFFIX = 48
"""Characters of `Options.suffix`: with "OneNEX" before it, some of the source's description is still left (an LO holds 64)."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a run is asked for; the same for all its series.

    Raises
    ------
    DataError
        A number is out of range, or settings contradict each other. What only the weights can know (modes, presets and how
        many steps they take) is left to the model.
    """

    mode: str = "fast"
    """`fast` (one pass) or `full` (prior guided by the degradation model)."""
    preset: str | None = None
    """Of mode `full`: `default` or `paper`."""
    n_steps: int | None = None
    """Of mode `full`, instead of the preset's."""
    n_samples: int | None = None
    """Of mode `full`: runs whose mean is the result; 1 by default, 8 with `uncertainty`."""
    guard: bool = True
    """Whether results are examined and, where they aren't faithful, blended back towards what was measured."""
    strength: float = 1.0
    """0 (the stored pixels, bit for bit) … 1."""
    seed: int = 0
    """Same seed, same images."""
    uncertainty: bool = False
    """Also write the standard deviation of the samples, as a series of its own."""
    guard_maps: bool = False
    """Also write the guard's suspicion, as a series of its own."""
    vendor: str | None = None
    """Instead of what the headers say; any text. So are the next ones."""
    organ: str | None = None
    sequence: str | None = None
    acceleration: float | None = None
    """Total in-plane acceleration, ≥ 1."""
    engine: str = "torch"
    """What runs the networks, where no loaded model is given: `torch`, `onnx` or `compiled`. Results differ by rounding."""
    suffix: str = ""
    """Ends the description of the derived series, after "OneNEX". Runs that differ in it have different UIDs."""

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        if not 0.0 <= self.strength <= 1.0:
            raise DataError(f"strength {self.strength} is outside 0 … 1")
        given = [name for name, value in (("preset", self.preset), ("steps", self.n_steps), ("samples", self.n_samples)) if value is not None]
        if self.mode == "fast" and given:
            raise DataError(f"{', '.join(given)}: mode fast is one pass and takes none; use mode full")
        if self.uncertainty and self.mode == "fast":
            raise DataError("uncertainty: mode fast has none, since it draws nothing; use mode full with 2 samples or more")
        if self.uncertainty and self.samples < 2:
            raise DataError(f"uncertainty is the spread of several samples, and there would be {self.samples}: use 2 or more")
        if self.guard_maps and not self.guard:
            raise DataError("guard maps show what the guard finds: switch the guard on, or do without its maps")
        for name in ("vendor", "organ", "sequence"):
            if getattr(self, name) is not None and not getattr(self, name).strip():
                raise DataError(f"{name} is empty: give a word, or 'unknown' to withhold what the headers say")
        if self.acceleration is not None and not (math.isfinite(self.acceleration) and self.acceleration >= 1):
            raise DataError(f"acceleration {self.acceleration}: give a number from 1 (none) on")
        if len(self.suffix) > MAX_SUFFIX or not self.suffix.isprintable():
            raise DataError(f"suffix: give up to {MAX_SUFFIX} printable characters, since it ends the description of a series")

    @property
    def samples(self) -> int:
        """Samples to draw."""
        return self.n_samples if self.n_samples is not None else DEFAULT_SAMPLES if self.uncertainty else 1

    @property
    def maps(self) -> tuple[MapKind, ...]:
        """Maps to write."""
        return tuple(kind for kind, wanted in ((MapKind.UNCERTAINTY, self.uncertainty), (MapKind.GUARD, self.guard_maps)) if wanted)

    @property
    def told(self) -> dict[str, str]:
        """Field of the acquisition → what the user said instead of the headers."""
        words = {name: getattr(self, name) for name in ("vendor", "organ", "sequence")}
        told = {name: " ".join(word.split()) for name, word in words.items() if word is not None}
        return told | ({} if self.acceleration is None else {"acceleration": f"{self.acceleration:g}"})

    def corrected(self, acquisition: Acquisition) -> Acquisition:
        """Return what the headers say with what the user said instead, and that as evidence."""
        told = self.told
        return replace(
            acquisition,
            vendor=told.get("vendor", acquisition.vendor),
            organ=told.get("organ", acquisition.organ),
            sequence=told.get("sequence", acquisition.sequence),
            acceleration=acquisition.acceleration if self.acceleration is None else float(self.acceleration),
            evidence={**acquisition.evidence, **dict.fromkeys(told, COMMAND_LINE)},
        )
