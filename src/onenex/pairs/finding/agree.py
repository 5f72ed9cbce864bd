"""Whether two scans show the same thing in the same way: check after check, from the coarse to the fine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from onenex.pairs.finding.places import covered, tilt_deg
from onenex.pairs.finding.rules import Rules
from onenex.series import UNKNOWN
from onenex.volume import Volume

_CORRECTIONS = {"ND", "DIS2D", "DIS3D", "NORM", "PFCS"}
"""Words of ImageType for what moves pixels or evens out brightness."""
NO_KIN = "no other series of its examination shows the same organ with the same sequence, technique and orientation"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How far two scans agree."""

    n_passed: int
    """Checks passed before the first that failed."""
    reason: str
    """What they differ in, a sentence; empty when they agree."""

    @property
    def is_kin(self) -> bool:
        """Whether they are alike enough to be worth a word on what sets them apart."""
        return self.n_passed >= _N_COARSE


def same_examination(a: Volume, b: Volume) -> bool:
    """Whether the patient is named and the same, and so is the study or the frame of reference."""
    together = a.study_uid == b.study_uid or (a.frame_of_reference_uid != "" and a.frame_of_reference_uid == b.frame_of_reference_uid)
    return bool(a.patient) and a.patient == b.patient and together


def compare(a: Volume, b: Volume, rules: Rules) -> Comparison:
    """Compare two scans of one examination; the order of the two doesn't matter."""
    for number, check in enumerate((*_COARSE, *_FINE)):
        reason = check(a, b, rules)
        if reason:
            return Comparison(n_passed=number, reason=reason)
    return Comparison(n_passed=len(_COARSE) + len(_FINE), reason="")


def weighting(volume: Volume, rules: Rules) -> float:
    """Return the b-value that counts, s/mm²: 0 up to `rules.low_b`."""
    return 0.0 if volume.b_value is None or volume.b_value <= rules.low_b else volume.b_value


def near(a: float | None, b: float | None, share: float, least: float = 0.0) -> bool:
    """Whether two values agree to `share` of the larger or to `least`; None agrees with None alone."""
    if a is None or b is None:
        return a is b
    return abs(a - b) <= max(least, share * max(abs(a), abs(b))) + 1e-9


def _organ(a: Volume, b: Volume, rules: Rules) -> str:
    """Unknown agrees with anything where positions are comparable: the overlap then says that the place is the same."""
    first, second = a.acquisition.organ, b.acquisition.organ
    if first == second or (UNKNOWN in (first, second) and a.frame_of_reference_uid and a.frame_of_reference_uid == b.frame_of_reference_uid):
        return ""
    return _differ("organ", first, second)


def _side(a: Volume, b: Volume, rules: Rules) -> str:
    return "one is of the left side, the other of the right" if {a.laterality, b.laterality} == {"L", "R"} else ""


def _sequence(a: Volume, b: Volume, rules: Rules) -> str:
    return _differ("sequence", a.acquisition.sequence, b.acquisition.sequence)


def _technique(a: Volume, b: Volume, rules: Rules) -> str:
    return _differ("technique", " ".join(a.technique), " ".join(b.technique))


def _scanner(a: Volume, b: Volume, rules: Rules) -> str:
    first, second = ((v.acquisition.vendor, v.model, v.acquisition.field_strength_T) for v in (a, b))
    return "they come from different scanners" if first != second else ""


def _orientation(a: Volume, b: Volume, rules: Rules) -> str:
    if a.geometry is None or b.geometry is None:
        return "position, orientation or pixel spacing is missing in one of them"
    tilt = tilt_deg(a.geometry, b.geometry)
    return f"their slices are tilted by {tilt:.1f}° to each other, the limit is {rules.orientation_deg:g}°" if tilt > rules.orientation_deg else ""


def _overlap(a: Volume, b: Volume, rules: Rules) -> str:
    if a.geometry is None or b.geometry is None:
        return "position, orientation or pixel spacing is missing in one of them"
    return "they have no slices in common" if max(covered(a.geometry, b.geometry), covered(b.geometry, a.geometry)) == 0 else ""


def _agent(a: Volume, b: Volume, rules: Rules) -> str:
    return "contrast agent was given for one of them only" if a.contrast_agent != b.contrast_agent else ""


def _fat(a: Volume, b: Volume, rules: Rules) -> str:
    return "fat is suppressed in one of them only" if bool(a.acquisition.fat_suppressed) != bool(b.acquisition.fat_suppressed) else ""


def _times(a: Volume, b: Volume, rules: Rules) -> str:
    limits = (
        ("echo time", "ms", a.echo_time_ms, b.echo_time_ms, rules.echo_time, rules.echo_time_ms),
        ("repetition time", "ms", a.repetition_time_ms, b.repetition_time_ms, rules.repetition_time, 0.0),
        ("inversion time", "ms", a.inversion_time_ms, b.inversion_time_ms, rules.inversion_time, 0.0),
        ("flip angle", "°", a.flip_angle_deg, b.flip_angle_deg, rules.flip_angle, 0.0),
    )
    for name, unit, first, second, share, least in limits:
        if not near(first, second, share, least):
            return _differ(name, *(UNKNOWN if value is None else f"{value:g} {unit}" for value in (first, second)))
    return ""


def _diffusion(a: Volume, b: Volume, rules: Rules) -> str:
    first, second = weighting(a, rules), weighting(b, rules)
    if a.acquisition.sequence == "DWI" and None in (a.b_value, b.b_value):
        return "the b-value of a diffusion-weighted scan is not stated"
    if not near(first, second, rules.b_value):
        return _differ("b-value", f"{first:g}", f"{second:g}")
    return "" if first == 0 or same_direction(a.direction, b.direction, rules) else "their diffusion directions differ or are not stated"


def same_direction(a: tuple[float, ...] | None, b: tuple[float, ...] | None, rules: Rules) -> bool:
    """Whether two diffusion gradients point the same way or opposite ways; () agrees with (), None with nothing."""
    if a is None or b is None or len(a) != len(b):
        return False
    if not a:
        return True
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
    return lengths > 0 and bool(np.degrees(np.arccos(min(1.0, abs(float(np.dot(a, b))) / lengths))) <= rules.direction_deg)


def _corrections(a: Volume, b: Volume, rules: Rules) -> str:
    different = (set(a.image_type) ^ set(b.image_type)) & _CORRECTIONS
    return f"the scanner corrected them differently ({', '.join(sorted(different))} in one of them)" if different else ""


def _sizes(a: Volume, b: Volume, rules: Rules) -> str:
    if a.geometry is None or b.geometry is None:
        return "position, orientation or pixel spacing is missing in one of them"
    pixels = [float(np.sqrt(np.prod(geometry.spacing_mm))) for geometry in (a.geometry, b.geometry)]
    if max(pixels) > rules.pixel_ratio * min(pixels) + 1e-9:
        return _differ("pixel size", *(f"{mm:.2f} mm" for mm in pixels))
    thick = [geometry.slice_thickness_mm for geometry in (a.geometry, b.geometry)]
    known = [mm for mm in thick if mm is not None]
    if len(known) == 2 and max(known) > rules.thickness_ratio * min(known) + 1e-9:
        return _differ("slice thickness", *(f"{mm:g} mm" for mm in known))
    return ""


def _differ(what: str, first: str, second: str) -> str:
    """Both values in rising order of their text, so that the sentence doesn't depend on which scan comes first."""
    return "" if first == second else "they differ in {}: {} and {}".format(what, *(one or UNKNOWN for one in sorted((first, second))))


_Check = Callable[[Volume, Volume, Rules], str]
_COARSE: tuple[_Check, ...] = (_organ, _side, _sequence, _technique, _orientation)
_FINE: tuple[_Check, ...] = (_scanner, _overlap, _agent, _fat, _diffusion, _times, _corrections, _sizes)
_N_COARSE = len(_COARSE)
