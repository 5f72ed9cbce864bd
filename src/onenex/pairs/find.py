"""From an archive's volumes to candidates: fast scans with their references, and repeats; whatever is neither, with the reason."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from itertools import combinations

from onenex.errors import DataError
from onenex.pairs.finding.agree import NO_KIN, Comparison, compare, same_examination
from onenex.pairs.finding.faster import Verdict, faster
from onenex.pairs.finding.places import covered
from onenex.pairs.finding.repeats import Sorted, sort_out, without_copies
from onenex.pairs.finding.rules import Rules
from onenex.pairs.records import Candidate, Kind, Rejected
from onenex.volume import Volume

__all__ = ["Rules", "find", "settings_of"]

logger = logging.getLogger(__name__)

_DIGITS = re.compile(r"(\d+)")


def find(volumes: Iterable[Volume], rules: Rules | None = None) -> tuple[list[Candidate], list[Rejected]]:
    """Find pairs and repeats.

    A pair is two series of one patient, of one study or one frame of reference, that agree in what they show and how (see `Rules`)
    and of which one is faster (see `faster.faster`). A fast scan gets one reference, the best by: what decides (NEX, acceleration,
    scan time, name), the same study, the same frame of reference, the larger ratio of scan times, slices covered (to a tenth), the
    nearest in time, the scanner's order. A reference may serve several fast scans. A copy of a series is neither.

    Repeats are stacks of one series that differ in nothing but their number, or series of one study run again at the same place
    with nothing changed. Diffusion weighting up to `Rules.low_b` counts as none. All members have the same slices.

    Parameters
    ----------
    volumes
        As `archive.volumes` yields them, in any order: the result doesn't depend on it.
    rules
        None = the defaults.

    Returns
    -------
    list of Candidate
        By patient and study; pairs before repeats.
    list of Rejected
        Every volume that is in no candidate is here; so is each series that lost to a better reference.
    """
    limits = rules or Rules()
    candidates: list[Candidate] = []
    rejected: list[Rejected] = []
    by_patient: dict[tuple[str, str], list[Volume]] = {}
    for volume in sorted(volumes, key=_order):
        if volume.refused:
            rejected.append(Rejected(volumes=(volume,), reason=volume.refused))
        else:  # who isn't named is a patient of their own in each study
            by_patient.setdefault((volume.patient, "" if volume.patient else volume.study_uid), []).append(volume)
    for group in by_patient.values():
        own, others = _of_patient(group, limits)
        candidates += own
        rejected += others
    logger.info("candidates found n_pairs=%d n_repeats=%d n_rejected=%d", *_counts(candidates), len(rejected))
    return candidates, rejected


def settings_of(n_repeats: int, accelerations: Sequence[float] = (3, 2, 1.5)) -> list[tuple[float, int]]:
    """Return (acceleration, how many repeats are averaged into its fast scan) for those accelerations that n repeats can make.

    The mean of k of n repeats took k/n of the time of all: it is the n/k-fold accelerated scan, for whole k. At least one
    repeat is left for a reference that shares no noise with it.

    Raises
    ------
    DataError
        An acceleration that is not above 0, or fewer than 1 repeats.
    """
    if n_repeats < 1 or any(not one > 0 for one in accelerations):
        raise DataError(f"{n_repeats} repeats, accelerations {list(accelerations)}: give 1 repeat or more and accelerations above 0")
    averaged = [(one, round(n_repeats / one)) for one in accelerations]
    return [(one, k) for one, k in averaged if abs(k * one - n_repeats) < 1e-6 * n_repeats and 1 <= k < n_repeats]


def _order(volume: Volume) -> tuple[object, ...]:
    """The scanner's order: a total one, so that nothing depends on how volumes arrive."""
    number = (volume.series_number is None, volume.series_number or 0)
    label = tuple((int(part), "") if part.isdigit() else (-1, part) for part in _DIGITS.split(volume.stack.label))
    return volume.patient, volume.study_uid, number, volume.series_uid, label, tuple(str(ref.path) for ref in volume.stack.frames[:1]), volume.refused


def _counts(candidates: Sequence[Candidate]) -> tuple[int, int]:
    n_pairs = sum(one.kind is Kind.PAIR for one in candidates)
    return n_pairs, len(candidates) - n_pairs


def _of_patient(volumes: Sequence[Volume], rules: Rules) -> tuple[list[Candidate], list[Rejected]]:
    unique, rejected = without_copies(volumes, rules)
    sorted_out = sort_out(unique, rules)
    rejected += sorted_out.rejected
    compared, verdicts = _compare_all(sorted_out.usable, rules)
    candidates, losers = _best(verdicts)
    candidates += [Candidate(kind=Kind.REPEATS, volumes=group, why=_why(group)) for group in sorted_out.groups]
    rejected += losers
    settled = {id(one) for group in [c.volumes for c in candidates] + [r.volumes for r in sorted_out.rejected] for one in group}
    return candidates, rejected + _left_over(sorted_out, compared, settled)


Compared = dict[int, tuple[Comparison, Volume]]
"""`id` of a volume → how far it agrees with the scan that it agrees best with, and which that is."""


def _compare_all(volumes: Sequence[Volume], rules: Rules) -> tuple[Compared, list[tuple[Verdict, float]]]:
    """Compare all series of each examination; return the nearest of each volume, and the pairs with the slices covered."""
    compared: Compared = {}
    verdicts: list[tuple[Verdict, float]] = []
    for a, b in combinations(volumes, 2):
        if (a.study_uid, a.series_uid) == (b.study_uid, b.series_uid) or not same_examination(a, b):
            continue
        found = compare(a, b, rules)
        if not found.reason:
            verdict, share = _judge(a, b, rules)
            if isinstance(verdict, Verdict):
                verdicts.append((verdict, share))
            found = Comparison(n_passed=found.n_passed + 1, reason="" if isinstance(verdict, Verdict) else verdict)
        for one, other in ((a, b), (b, a)):
            if id(one) not in compared or found.n_passed > compared[id(one)][0].n_passed:
                compared[id(one)] = (found, other)
    return compared, verdicts


def _judge(a: Volume, b: Volume, rules: Rules) -> tuple[Verdict | str, float]:
    """Which is the fast one, and what share of its slices the reference covers."""
    verdict = faster(a, b, rules)
    if isinstance(verdict, str) or verdict.fast.geometry is None or verdict.reference.geometry is None:
        return verdict, 0.0
    share = covered(verdict.fast.geometry, verdict.reference.geometry)
    if share < rules.covered:
        return f"the reference covers {share:.0%} of the fast scan's slices, fewer than {rules.covered:.0%}", share
    return verdict, share


def _best(verdicts: Sequence[tuple[Verdict, float]]) -> tuple[list[Candidate], list[Rejected]]:
    """Give each fast scan its best reference."""
    of_fast: dict[int, list[tuple[Verdict, float]]] = {}
    for verdict, share in verdicts:
        of_fast.setdefault(id(verdict.fast), []).append((verdict, share))
    candidates, rejected = [], []
    for choice in of_fast.values():
        (best, _), *others = sorted(choice, key=lambda one: _rank(*one))
        pair = (best.fast, best.reference)
        candidates.append(Candidate(kind=Kind.PAIR, volumes=pair, why=best.why, acceleration=best.acceleration))
        reason = f"the fast scan has a better reference: {best.why}"
        rejected += [Rejected(volumes=(one.fast, one.reference), reason=reason) for one, _ in others]
    candidates.sort(key=lambda one: tuple(_order(volume) for volume in one.volumes))
    return candidates, rejected


def _rank(verdict: Verdict, share: float) -> tuple[object, ...]:
    """Sort key of a fast scan's references, the best first; the order is that of `find`'s docstring."""
    fast, reference = verdict.fast, verdict.reference
    known = fast.started_s is not None and reference.started_s is not None
    apart = abs((fast.started_s or 0.0) - (reference.started_s or 0.0)) if known else float("inf")
    frames = fast.frame_of_reference_uid == reference.frame_of_reference_uid
    return (
        verdict.trust, fast.study_uid != reference.study_uid, not frames, -(verdict.acceleration or 0.0), -round(share, 1), apart, _order(reference),
    )  # fmt: skip


def _why(group: Sequence[Volume]) -> str:
    n_series = len({one.series_uid for one in group})
    low = any(one.b_value for one in group) and len({one.b_value for one in group}) > 1
    weak = f"; diffusion weighting of at most {max(one.b_value or 0 for one in group):g} s/mm² counts as none" if low else ""
    if n_series == 1:
        return f"{len(group)} stacks of one series at the same positions that differ in their number alone{weak}"
    return f"{len(group)} volumes of {n_series} series with the same parameters at the same positions, acquired at different times{weak}"


def _left_over(found: Sorted, compared: Compared, settled: set[int]) -> list[Rejected]:
    """Say of every volume without a candidate what its nearest kin has against it; stacks of one series with one reason together."""
    alone: dict[tuple[str, str, str], list[Volume]] = {}
    couples: dict[frozenset[int], Rejected] = {}
    for volume in found.usable:
        if id(volume) in settled:
            continue
        nearest = compared.get(id(volume))
        if nearest is not None and nearest[0].is_kin and nearest[0].reason:
            couples.setdefault(frozenset((id(volume), id(nearest[1]))), Rejected(volumes=(volume, nearest[1]), reason=nearest[0].reason))
            continue
        reason = found.notes.get(id(volume)) or _by_itself(volume)
        alone.setdefault((volume.study_uid, volume.series_uid, reason), []).append(volume)
    return [Rejected(volumes=tuple(group), reason=reason) for (*_, reason), group in alone.items()] + list(couples.values())


def _by_itself(volume: Volume) -> str:
    if volume.geometry is None:
        return "its positions, orientation or pixel spacing are missing"
    return NO_KIN if volume.patient else "its header names no patient, so that no other series is known to be theirs"
