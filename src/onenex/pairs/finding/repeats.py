"""The same stack acquired again and again, inside a series or by several series; and what only looks like it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from onenex.pairs.finding.agree import compare, near, same_direction, weighting
from onenex.pairs.finding.faster import faster
from onenex.pairs.finding.places import same_grid, tilt_deg
from onenex.pairs.finding.rules import Rules
from onenex.pairs.records import Rejected
from onenex.volume import Volume

_SAME = 0.01
"""Relative difference of a parameter that was set to the same value."""
_INSTANT_S = 0.5
_SAME_PLANE_DEG = 1.0
_BY_CHANCE = ("repeat", "time", "acquisition")
"""Words of a stack's label that number it and say nothing of what it shows."""
_MEANING = {
    "echo": "echo", "b": "b-value", "direction": "diffusion direction", "TI": "inversion time", "flip": "flip angle", "MT": "magnetisation transfer",
    "phase": "cardiac phase", "coil": "coil", "stack": "stack", "type": "image type",
}  # fmt: skip
_COUNT = re.compile(r"(?:[\s_\-.#]*(?:\(?\d+\)?|rep(?:eat)?|rpt|again|wdh|wiederholung|copy|run))*\s*$", re.IGNORECASE)
"""What the end of a series' name may count."""

_TIME_SERIES = "a time series of {} volumes (the limit is {}): they are made to show change"
_DYNAMIC = "volumes acquired one after the other while contrast agent or labelled blood passes: they are made to show change"
_CINE = "cardiac phases: the heart moves between them"
_NO_PLACE = "position, orientation or pixel spacing is missing"
_NO_DIRECTION = "their diffusion directions are not stated, so that they may all be different"
_GAPS = "its slices are not those of the other repeats"


@dataclass(frozen=True, kw_only=True)
class Sorted:
    """Volumes of one patient, looked at for repeats."""

    groups: tuple[tuple[Volume, ...], ...]
    """Repeats of each other, two or more."""
    rejected: tuple[Rejected, ...]
    """Part of nothing: time series, cine, repeats with holes."""
    usable: tuple[Volume, ...]
    """What may be part of a pair, repeats included."""
    notes: dict[int, str]
    """`id` of a volume → why it repeats no other stack of its series."""


def sort_out(volumes: Sequence[Volume], rules: Rules) -> Sorted:
    """Find repeats among volumes of one patient.

    Parameters
    ----------
    volumes
        None refused, no copies, in a fixed order.
    """
    groups: list[list[Volume]] = []
    rejected: list[Rejected] = []
    notes: dict[int, str] = {}
    for series in _by_series(volumes):
        parts = list(_parts(series, rules))
        for part in parts:
            reason = _no_repeats(part, rules)
            if reason:
                rejected.append(Rejected(volumes=tuple(part), reason=reason))
                continue
            whole = _fullest(part)
            kept = [one for one in part if _on_grid(one, whole)]
            rejected += [Rejected(volumes=(one,), reason=_GAPS) for one in part if not _on_grid(one, whole)]
            groups.append(kept)
            if len(kept) == 1 and len(series) > 1:
                notes[id(kept[0])] = f"the stacks of its series differ in {_differences(series)}: that is no noise"
    merged = _merge(groups, rules)
    for group in [group for group in merged if len(group) > rules.max_repeats]:
        rejected.append(Rejected(volumes=tuple(group), reason=_TIME_SERIES.format(len(group), rules.max_repeats)))
        merged.remove(group)
    return Sorted(
        groups=tuple(tuple(group) for group in merged if len(group) > 1),
        rejected=tuple(rejected),
        usable=tuple(one for group in merged for one in group),
        notes=notes,
    )


def without_copies(volumes: Sequence[Volume], rules: Rules) -> tuple[list[Volume], list[Rejected]]:
    """Set aside what is another series again: sent twice under new UIDs, or registered under another study.

    Parameters
    ----------
    volumes
        Of one patient, in a fixed order: the first of several copies stays.
    """
    kept: list[Volume] = []
    rejected = []
    for volume in volumes:
        twin = next((one for one in kept if _is_copy(one, volume, rules)), None)
        if twin is None:
            kept.append(volume)
        else:
            rejected.append(Rejected(volumes=(twin, volume), reason="one is a copy of the other: same place, time and parameters"))
    return kept, rejected


def _is_copy(a: Volume, b: Volume, rules: Rules) -> bool:
    if (a.series_uid, a.study_uid) == (b.series_uid, b.study_uid) or (a.stack.label, a.n_stacks) != (b.stack.label, b.n_stacks):
        return False
    if a.started_s is None or b.started_s is None:
        same_moment = a.started_s is b.started_s and a.description == b.description
    else:
        same_moment = abs(a.started_s - b.started_s) < _INSTANT_S
    return same_moment and _same_settings(a, b, rules) and _on_grid(a, b)


def _by_series(volumes: Iterable[Volume]) -> list[list[Volume]]:
    found: dict[tuple[str, str], list[Volume]] = {}
    for volume in volumes:
        found.setdefault((volume.study_uid, volume.series_uid), []).append(volume)
    return list(found.values())


def _parts(series: Sequence[Volume], rules: Rules) -> list[list[Volume]]:
    """Divide a series by all that its labels name, except what merely counts and diffusion weighting too low to matter."""
    found: list[tuple[object, list[Volume]]] = []
    for volume in series:
        key = (_meaningful(volume, rules), weighting(volume, rules))
        home = next((part for own, part in found if own == key and _same_plane(part[0], volume)), None)
        if home is None:
            found.append((key, [volume]))
        else:
            home.append(volume)
    return [part for _, part in found]


def _meaningful(volume: Volume, rules: Rules) -> tuple[str, ...]:
    """The parts of a stack's label that say what it shows."""
    words = [part for part in volume.stack.label.split(", ") if part.split(" ")[0] not in _BY_CHANCE]
    if volume.b_value is not None and weighting(volume, rules) == 0:
        words = [part for part in words if part.split(" ")[0] not in ("b", "direction")]
    return ("phase",) if _is_cine(volume) else tuple(words)


def _is_cine(volume: Volume) -> bool:
    return any(part.split(" ")[0] == "phase" for part in volume.stack.label.split(", "))


def _same_plane(a: Volume, b: Volume) -> bool:
    """Whether two stacks of a series have one matrix and orientation; cine phases and stacks without geometry go together."""
    if a.geometry is None or b.geometry is None or _is_cine(a):
        return a.geometry is b.geometry or _is_cine(a)
    sizes = [(one.rows, one.columns) for one in (a.geometry, b.geometry)]
    return sizes[0] == sizes[1] and tilt_deg(a.geometry, b.geometry) < _SAME_PLANE_DEG


def _no_repeats(part: Sequence[Volume], rules: Rules) -> str:
    """Say why volumes that seem to repeat each other don't; empty when they do, or when there is but one."""
    if any(_is_cine(one) for one in part):
        return _CINE
    if len(part) == 1:
        return ""
    if len(part) > rules.max_repeats:
        return _TIME_SERIES.format(len(part), rules.max_repeats)
    if any(one.contrast_agent or one.perfusion for one in part):
        return _DYNAMIC
    if any(one.geometry is None for one in part):
        return _NO_PLACE
    if weighting(part[0], rules) > 0 and not all(same_direction(part[0].direction, one.direction, rules) for one in part):
        return _NO_DIRECTION
    return ""


def _fullest(part: Sequence[Volume]) -> Volume:
    """The volume whose grid most others share; of equals the one with more slices, then the first."""
    return max(part, key=lambda one: (sum(_on_grid(one, other) for other in part), len(one.stack.frames), -part.index(one)))


def _on_grid(a: Volume, b: Volume) -> bool:
    if a is b:
        return True
    return a.geometry is not None and b.geometry is not None and same_grid(a.geometry, b.geometry)


def _merge(groups: Sequence[list[Volume]], rules: Rules) -> list[list[Volume]]:
    """Join groups of different series that are the same scan again; all members in the order of their acquisition."""
    merged: list[list[Volume]] = []
    for group in groups:
        home = next((one for one in merged if all(_same_scan(one[0], other, rules) for other in group)), None)
        if home is None:
            merged.append(list(group))
        else:
            home += group
    for one in merged:
        one.sort(key=lambda volume: -1.0 if volume.started_s is None else volume.started_s)  # stable: the scanner's order inside a series
    return merged


def _same_scan(a: Volume, b: Volume, rules: Rules) -> bool:
    """Whether two series are one protocol run twice, at the same place and at different times."""
    if a.series_uid == b.series_uid or a.study_uid != b.study_uid or not a.patient or a.patient != b.patient:
        return False
    if a.started_s is None or b.started_s is None or abs(a.started_s - b.started_s) < _INSTANT_S:
        return False  # nothing proves two acquisitions
    if a.contrast_agent or b.contrast_agent or a.perfusion or b.perfusion or a.acquisition.fat_suppressed != b.acquisition.fat_suppressed:
        return False
    if _name(a) != _name(b) or not _on_grid(a, b) or not _same_settings(a, b, rules) or compare(a, b, rules).reason:
        return False
    return isinstance(faster(a, b, rules), str)


def _same_settings(a: Volume, b: Volume, rules: Rules) -> bool:
    numbers = (
        (a.echo_time_ms, b.echo_time_ms), (a.repetition_time_ms, b.repetition_time_ms), (a.inversion_time_ms, b.inversion_time_ms),
        (a.flip_angle_deg, b.flip_angle_deg), (a.acquisition.nex, b.acquisition.nex), (a.acquisition.acceleration, b.acquisition.acceleration),
        (a.duration_s, b.duration_s), (weighting(a, rules), weighting(b, rules)),
    )  # fmt: skip
    words = [
        (v.technique, v.image_type, v.coil, v.phase_encoding, v.laterality, v.model, v.acquisition.vendor, v.acquisition.sequence) for v in (a, b)
    ]
    directed = weighting(a, rules) == 0 or same_direction(a.direction, b.direction, rules) or a.direction is b.direction
    return words[0] == words[1] and directed and all(near(one, other, _SAME) for one, other in numbers)


def _name(volume: Volume) -> str:
    """A series' name without what counts at its end."""
    return _COUNT.sub("", volume.description).strip().lower()


def _differences(series: Sequence[Volume]) -> str:
    """Name what the labels of a series' stacks tell apart."""
    first = {part.split(" ")[0] for one in series for part in one.stack.label.split(", ")}
    named = [meaning for word, meaning in _MEANING.items() if word in first]
    return " and ".join(named) or "position or size"
