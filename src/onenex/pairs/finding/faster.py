"""Which of two scans is the fast one: by averages and acceleration, else by scan time, else by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from fnmatch import fnmatchcase

from onenex.pairs.finding.rules import Rules
from onenex.volume import Volume


class Trust(IntEnum):
    """What decided, the most trusted first."""

    NEX = 0
    ACCELERATION = 1
    DURATION = 2
    NAME = 3


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The fast scan and its reference."""

    fast: Volume
    reference: Volume
    why: str
    trust: Trust
    acceleration: float | None
    """Scan time of the reference over that of the fast scan; None when only the names tell."""


def faster(a: Volume, b: Volume, rules: Rules) -> Verdict | str:
    """Decide, or say in a sentence why nothing can be decided.

    NEX over acceleration factor is what the noise follows: it decides where it's known and different. An acceleration that one
    of two scans of the same scanner states counts as 1 in the other. Scan times decide next, in all and for a slice (more slices
    take longer and are no cleaner), and must not contradict it. Names come last, where nothing says that both scans took equally
    long or are the same one. The ratio of scan times, where it decides or agrees, is the acceleration; else that of NEX over
    acceleration factor.
    """
    effort, time = _effort_ratio(a, b), _time_ratio(a, b)
    by_effort = _decided(effort, rules.effort_ratio)
    by_time = _decided_by_time(a, b, time, rules)
    if by_effort * by_time < 0:
        return "averages and acceleration call one of them the fast scan, scan times the other"
    if by_effort:
        trust = Trust.NEX if _differs(a.acquisition.nex, b.acquisition.nex) else Trust.ACCELERATION
        fast, reference = (a, b) if by_effort > 0 else (b, a)
        return _verdict(fast, reference, _effort_in_words(fast, reference), trust, time if by_time else effort)
    if by_time:
        fast, reference = (a, b) if by_time > 0 else (b, a)
        words = f"scan time {fast.duration_s:.0f} s against {reference.duration_s:.0f} s"
        return _verdict(fast, reference, words, Trust.DURATION, time)
    return _by_name(a, b, rules, effort, time)


def _by_name(a: Volume, b: Volume, rules: Rules, effort: float | None, time: float | None) -> Verdict | str:
    signs = [named(one, rules.fast_names) - named(one, rules.reference_names) for one in (a, b)]
    if signs[0] == signs[1]:
        known = [name for name, ratio in (("NEX", _ratio(a.acquisition.nex, b.acquisition.nex)), ("scan time", time)) if ratio is not None]
        same = f"{' and '.join(known)} are alike" if len(known) > 1 else f"{known[0]} is alike" if known else "NEX and scan time are not stated"
        return f"nothing tells which of them is the fast scan: {same}, and so is what the names say"
    if time is not None and max(time, 1 / time) < 1.05:
        return "one is named as the fast scan, but both took equally long"
    if a.started_s is not None and b.started_s is not None and abs(a.started_s - b.started_s) < 0.5:
        return "one is named as the fast scan, but both began at the same instant: one acquisition, reconstructed twice"
    fast, reference = (a, b) if signs[0] > signs[1] else (b, a)
    rule = _pattern(fast, rules.fast_names) or _pattern(reference, rules.reference_names)
    return _verdict(fast, reference, f'name rule "{rule}"', Trust.NAME, time or (effort if effort and effort != 1 else None))


def named(volume: Volume, patterns: Sequence[str]) -> bool:
    """Whether a description matches one of the patterns, in any case of letters."""
    return bool(_pattern(volume, patterns))


def _pattern(volume: Volume, patterns: Sequence[str]) -> str:
    return next((pattern for pattern in patterns if fnmatchcase(volume.description.lower(), pattern.lower())), "")


def _verdict(fast: Volume, reference: Volume, why: str, trust: Trust, ratio: float | None) -> Verdict:
    acceleration = None if ratio is None else round(max(ratio, 1 / ratio), 3)
    return Verdict(fast=fast, reference=reference, why=why, trust=trust, acceleration=acceleration)


def _effort_ratio(a: Volume, b: Volume) -> float | None:
    """NEX over acceleration of `b` over that of `a`; None when neither is known of both."""
    nex = _ratio(a.acquisition.nex, b.acquisition.nex)
    stated = [one.acquisition.acceleration for one in (a, b)]
    if any(stated):
        stated = [one or 1.0 for one in stated]
    factor = _ratio(stated[1], stated[0])
    return None if nex is None and factor is None else (nex or 1.0) * (factor or 1.0)


def _time_ratio(a: Volume, b: Volume) -> float | None:
    """Scan time of `b` over that of `a`; the time of a series is not that of one of its repeats."""
    return _ratio(a.duration_s, b.duration_s) if a.n_stacks == b.n_stacks else None


def _ratio(a: float | None, b: float | None) -> float | None:
    return b / a if a and b else None


def _differs(a: float | None, b: float | None) -> bool:
    return a is not None and b is not None and a != b


def _decided(ratio: float | None, least: float) -> int:
    """1 when the first scan is the fast one, -1 when the second is, 0 when the ratio doesn't tell."""
    if ratio is None:
        return 0
    return 1 if ratio >= least - 1e-9 and ratio > 1 else -1 if 1 / ratio >= least - 1e-9 and ratio < 1 else 0


def _decided_by_time(a: Volume, b: Volume, time: float | None, rules: Rules) -> int:
    """As `_decided`, where all of the scan and a slice of it say the same."""
    a_slice = None if time is None else time * len(a.stack.frames) / len(b.stack.frames)
    signs = {_decided(ratio, rules.duration_ratio) for ratio in (time, a_slice)}
    return signs.pop() if len(signs) == 1 else 0


def _effort_in_words(fast: Volume, reference: Volume) -> str:
    quick, slow = fast.acquisition, reference.acquisition
    words = []
    if _differs(quick.nex, slow.nex):
        words.append(f"NEX {quick.nex:g} against {slow.nex:g} ({quick.evidence.get('nex', 'as told')})")
    if quick.acceleration != slow.acceleration:
        stated = (f"{one.acceleration:g}" if one.acceleration is not None else "none stated" for one in (quick, slow))
        source = quick.evidence.get("acceleration") or slow.evidence.get("acceleration", "as told")
        words.append("acceleration {} against {} ({})".format(*stated, source))
    return ", ".join(words)
