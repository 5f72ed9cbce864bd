"""What the acceptance test hands on: stacks before and after, the judged measurements, the whole result."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from onenex.evaluate.acceptance.layouts import Scan
from onenex.series import FloatImages


@dataclass(frozen=True, kw_only=True)
class Stack:
    """The scans of one kind of slice at one σ, and what a mode made of them."""

    kind: str
    sigma: float
    scans: tuple[Scan, ...]
    after: FloatImages
    """(slice, row, column)."""

    @property
    def before(self) -> FloatImages:
        """(slice, row, column) as scanned."""
        return np.stack([scan.image for scan in self.scans])

    @property
    def clean(self) -> FloatImages:
        """(row, column) without noise; the same for all scans but low-contrast ones and artefacts."""
        return self.scans[0].clean


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One measured value against its limit."""

    label: str
    """What was measured where: "σ 0.03"."""
    value: float
    spread: float
    """Standard error of `value` over the noise draws, its unit; NaN where a single draw tells nothing of it."""
    margin: float
    """How far the value is inside the limit, its unit; negative outside, NaN where it couldn't be measured."""
    text: str
    """The value for people, with unit and spread."""

    @property
    def passed(self) -> bool:
        """Whether the value is within the limit."""
        return self.margin >= 0


@dataclass(frozen=True, kw_only=True)
class Check:
    """One test of one mode."""

    name: str
    asks: str
    """What the test asks, in a sentence."""
    limit: str
    source: str
    """What the test follows."""
    measured: tuple[Measured, ...]

    @property
    def passed(self) -> bool:
        """Whether every measured value is within the limit."""
        return all(one.passed for one in self.measured)

    @property
    def worst(self) -> Measured:
        """The value that is least within the limit, or furthest outside."""
        return min(self.measured, key=lambda one: one.margin if math.isfinite(one.margin) else -math.inf)


@dataclass(frozen=True, kw_only=True)
class ModeResult:
    """What was found of one mode."""

    mode: str
    checks: tuple[Check, ...]
    seconds: float
    """For denoising."""

    @property
    def passed(self) -> bool:
        """Whether every test passed."""
        return all(check.passed for check in self.checks)


@dataclass(frozen=True, kw_only=True)
class Acceptance:
    """The result of `onenex acceptance`."""

    weights_hash: str
    device: str
    strength: float
    """0…1 of the whole restoration."""
    seed: int
    n_scans: int
    modes: tuple[ModeResult, ...]

    @property
    def passed(self) -> bool:
        """Whether every mode passed."""
        return all(mode.passed for mode in self.modes)

    @property
    def exit_code(self) -> int:
        """0 when everything passed, 1 otherwise."""
        return 0 if self.passed else 1

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain values; numbers that JSON doesn't know are None."""
        found = asdict(self)
        for mode, written in zip(self.modes, found["modes"], strict=True):
            written["passed"] = mode.passed
            for check, row in zip(mode.checks, written["checks"], strict=True):
                row["passed"] = check.passed
                for one, values in zip(check.measured, row["measured"], strict=True):
                    values.update({name: values[name] if math.isfinite(values[name]) else None for name in ("value", "spread", "margin")})
                    values["passed"] = one.passed
        return {"passed": self.passed, **found}
