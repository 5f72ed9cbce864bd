"""What became of a run and of each of its series: the typed answer of `onenex.denoise_path`, and the JSON of the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from onenex.series import GuardNote


@dataclass(frozen=True, kw_only=True)
class TouchedSlice:
    """A slice whose result the guard did not believe."""

    label: str
    """Which one, e.g. "slice 7 of 20, echo 2"."""
    share_given_up: float
    """Share 0…1 of the judged area that shows measured pixels again, wholly or in part."""
    kept: float
    """Share 0…1 of the change that is left: 0 is the measured slice."""
    reasons: tuple[str, ...]

    def text(self) -> str:
        """Return what happened, for people."""
        return f"{self.label}: {given_up(self.share_given_up, self.kept)}"


@dataclass(frozen=True, kw_only=True)
class GuardSummary:
    """What the guard found in one series."""

    n_slices: int
    """Slices judged."""
    touched: tuple[TouchedSlice, ...]
    """The worst first."""

    def text(self) -> str:
        """Return it in a line."""
        if not self.touched:
            return f"all {self.n_slices} slices passed" if self.n_slices != 1 else "the slice passed"
        worst = self.touched[0]
        why = f" ({worst.reasons[0]})" if worst.reasons else ""
        return f"{len(self.touched)} of {self.n_slices} slices did not pass and show measured pixels again; worst is {worst.text()}{why}"


@dataclass(frozen=True, kw_only=True)
class SeriesResult:
    """What became of one series."""

    path: Path
    series_uid: str
    description: str
    status: str
    """`denoised`, `skipped` (by rule) or `failed` (by accident)."""
    reason: str | None
    n_images: int
    outputs: tuple[Path, ...]
    """Files of the denoised images."""
    seconds: float
    maps: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    """Name of a map ("uncertainty", "guard") → its files."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """How it was denoised, by name; empty unless it was."""
    notes: tuple[str, ...] = ()
    """What the user should know, a sentence each."""
    guard: GuardSummary | None = None
    """None when the guard was off or had nothing to judge."""
    transient: bool = False
    """Whether a failure may not happen again, in a new process or on a larger machine: too little memory, or a fault of ours."""


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """What became of one run."""

    series: tuple[SeriesResult, ...]
    output: Path
    page: Path
    """The QA page, inside `output`."""
    seconds: float
    version: str
    weights_hash: str | None
    """None when no series called for the model."""
    mode: str
    strength: float
    seed: int

    def count(self, status: str) -> int:
        """Return how many series ended as `status`."""
        return sum(result.status == status for result in self.series)

    def as_json(self) -> dict[str, Any]:
        """Return plain values that `json.dumps` takes; paths as text."""
        return {name: _plain(value) for name, value in asdict(self).items()}


def given_up(share: float, kept: float) -> str:
    """Say what the guard did to a slice.

    Parameters
    ----------
    share
        Of the judged area, that shows measured pixels again, 0…1.
    kept
        Of the change, that is left, 0…1.
    """
    if kept == 0:
        return "given up, it shows the measured pixels"
    percent = f"{100 * share:.0f} %" if share >= 0.01 else "less than 1 %"
    return f"{percent} of its tissue shows measured pixels again"


def guard_sentence(note: GuardNote) -> str:
    """Return what a derived image says of the guard; "" when it found nothing."""
    return "" if note.passed else f"Guard: {given_up(note.share_given_up, note.kept)}."


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, (list, tuple)) else value
