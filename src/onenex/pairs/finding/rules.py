"""What two scans must have in common to be a pair, and what tells the fast one: every limit in one place."""

from __future__ import annotations

from dataclasses import dataclass

from onenex.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Limits of `find`. Relative ones are shares of the larger value; a value that only one scan states never agrees.

    Raises
    ------
    DataError
        A limit that is no number or below 0, a share above 1, or a ratio below 1.
    """

    fast_names: tuple[str, ...] = ("*FAST*",)
    """Patterns (`fnmatch`, any case) of a fast scan's description. They decide where the header's numbers don't."""
    reference_names: tuple[str, ...] = ()
    """The same of a reference's description."""
    echo_time: float = 0.2
    echo_time_ms: float = 2.0
    """Or this much: short echo times are rounded."""
    repetition_time: float = 0.35
    """Protocols that save time shorten it, and spin echoes forgive that."""
    inversion_time: float = 0.1
    flip_angle: float = 0.25
    b_value: float = 0.03
    low_b: float = 5.0
    """s/mm²; up to here diffusion weighting counts as none: free water (3·10⁻³ mm²/s) loses 1.5 % at most, tissue half a percent."""
    direction_deg: float = 5.0
    """Between diffusion gradients."""
    orientation_deg: float = 5.0
    """Between slice normals, and between rows."""
    covered: float = 0.5
    """Least share of the fast scan's slices that lie in the reference."""
    pixel_ratio: float = 2.0
    """Larger over smaller pixel."""
    thickness_ratio: float = 1.3
    """Larger over smaller slice thickness: partial volume is no noise."""
    effort_ratio: float = 1.2
    """Least ratio of NEX over acceleration factor."""
    duration_ratio: float = 1.2
    """Least ratio of scan times."""
    max_repeats: int = 16
    """More volumes than this are a time series, made to show change."""

    def __post_init__(self) -> None:
        shares = (self.echo_time, self.repetition_time, self.inversion_time, self.flip_angle, self.b_value, self.covered)
        ratios = (self.pixel_ratio, self.thickness_ratio, self.effort_ratio, self.duration_ratio)
        sizes = (self.echo_time_ms, self.low_b, self.direction_deg, self.orientation_deg)
        if not (
            all(0 <= one <= 1 for one in shares) and all(one >= 1 for one in ratios) and all(one >= 0 for one in sizes) and self.max_repeats >= 2
        ):
            raise DataError(f"{self}: shares lie between 0 and 1, ratios are 1 or more, other limits 0 or more, max_repeats 2 or more")
