"""Volumes made from nothing, for tests of what is decided by headers."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from onenex.pairs.records import Candidate, Rejected
from onenex.series import Acquisition, FrameRef, SliceStack
from onenex.volume import Geometry, Volume

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def geometry(n_slices: int = 10, *, first_mm: float = 0.0, step_mm: float = 4.0, **changes: Any) -> Geometry:
    """An axial stack of 64 × 64 pixels of 2 mm around the origin."""
    positions = tuple((-63.0, -63.0, first_mm + step_mm * index) for index in range(n_slices))
    plain = Geometry(rows=64, columns=64, spacing_mm=(2.0, 2.0), orientation=AXIAL, positions_mm=positions, slice_thickness_mm=3.5)
    return replace(plain, **changes)


def volume(series: str, *, label: str = "", place: Geometry | None = None, acquisition: dict[str, Any] | None = None, **changes: Any) -> Volume:
    """A T2w head scan of 60 s, NEX 1; `series` names the series, and its number tells when it was acquired."""
    where = place or geometry()
    number = sum(map(ord, series))
    frames = tuple(FrameRef(path=Path("/archive") / series / f"{label}{index}.dcm") for index in range(len(where.positions_mm)))
    known: dict[str, Any] = {
        "vendor": "GE", "organ": "head", "sequence": "T2w", "plane": "axial", "field_strength_T": 1.5, "nex": 1.0,
        "evidence": {"nex": "NumberOfAverages (0018,0083)"},
    }  # fmt: skip
    plain: dict[str, Any] = {
        "patient": "P1", "study_uid": "1.1", "series_uid": f"1.1.{number}", "frame_of_reference_uid": "1.9", "series_number": number,
        "description": "AX T2", "model": "Signa", "echo_time_ms": 95.0, "repetition_time_ms": 4000.0, "flip_angle_deg": 90.0,
        "started_s": 1.6e9 + 200.0 * number, "duration_s": None, "technique": ("2D", "SE"), "image_type": ("OTHER",), "direction": (),
        "phase_encoding": "ROW", "coil": "HEAD",
    }  # fmt: skip
    return Volume(
        **(plain | changes),
        acquisition=Acquisition(**(known | (acquisition or {}))),
        stack=SliceStack(label=label, frames=frames, rows=where.rows, columns=where.columns, spacing_mm=(4.0, *where.spacing_mm)),
        geometry=where,
    )


def many(n: int, label: str = "repeat {}", **changes: Any) -> list[Volume]:
    """The stacks of one series, labelled by their number."""
    return [volume("a", label=label.format(index + 1), n_stacks=n, **changes) for index in range(n)]


def only(found: tuple[list[Candidate], list[Rejected]]) -> Candidate:
    (candidate,) = found[0]
    return candidate


def reason(found: tuple[list[Candidate], list[Rejected]]) -> str:
    """The one reason for which nothing was found."""
    assert found[0] == []
    (told,) = {one.reason for one in found[1]}
    return told
