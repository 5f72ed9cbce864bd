"""What became of a run and of each of its series: the typed answer of `onenex.denoise_path`, and the JSON of the command line."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


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
    seconds: float


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


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, (list, tuple)) else value
