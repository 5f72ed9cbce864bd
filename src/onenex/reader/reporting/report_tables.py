"""The report's tables: what is said in each cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from onenex.evaluate.statistics import Estimate, Interval
from onenex.evaluate.statistics.patients import p_text
from onenex.reader.agreement import FORMS, Kappa
from onenex.reader.analysis import Analysis, words
from onenex.reader.records import Item
from onenex.reader.statistics.diagnosis import Area
from onenex.reader.statistics.proportions import Proportion
from onenex.reader.statistics.reliability import Concordance

NONE = "–"
EVERYBODY = "all readers"


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table with a head; the first `n_names` columns name a line."""

    title: str
    head: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    n_names: int = 1
    note: str = ""
    folded: bool = False
    """Whether it's closed until it's asked for."""


def fixed(value: float | None, digits: int = 2) -> str:
    """Return a number for people."""
    if value is None:
        return NONE
    return f"{value + 0.0 if abs(value) >= 0.5 * 10**-digits else 0.0:.{digits}f}".replace("-", "−")


def spanned(value: float | None, interval: Interval | None, digits: int = 2) -> str:
    """Return a number and its interval: "0.71 (0.34 to 0.95)"."""
    if value is None or interval is None:
        return fixed(value, digits)
    return f"{fixed(value, digits)} ({fixed(interval.low, digits)} to {fixed(interval.high, digits)})"


def estimated(one: Estimate | None, digits: int = 2) -> str:
    """Return a mean and its interval."""
    return NONE if one is None else spanned(one.value, one.interval, digits)


def share(one: Proportion) -> str:
    """Return a share in percent, its interval, and how many of how many."""
    if one.value is None or one.interval is None:
        return NONE
    return f"{100 * one.value:.0f} % ({100 * one.interval.low:.0f} to {100 * one.interval.high:.0f}), {one.n_hits}/{one.n}"


def named(item: str, where: str) -> str:
    """Return an item's name for people, and its place."""
    return f"{words(item)}, {where}" if where else words(item)


def who(reader: str) -> str:
    """Return a reader's name, or that it's all of them."""
    return reader or EVERYBODY


def counts(analysis: Analysis) -> Table:
    """Return who read how much."""
    lines = tuple(
        (
            one.reading,
            one.reader,
            NONE if one.n_planned is None else str(one.n_planned),
            str(one.n_read),
            NONE if one.n_planned is None else str(one.n_planned - one.n_read),
            *(str(number) for number in (one.n_repeats, one.n_cases, one.n_patients, one.n_answers, one.n_gaps)),
        )
        for one in analysis.counts
    )
    head = ("reading", "reader", "planned", "read", "not read", "of them repeats", "cases", "patients", "answers", "answers missing")
    note = "Presentations, with hidden repeats, without training. Nothing missing is filled in: each comparison uses what was read in both arms."
    return Table(title="Who read what", head=head, lines=lines, n_names=2, note=note)


def ratings(analysis: Analysis, *, places: bool) -> Table:
    """Return grades by arm: all places together, or each."""
    lines = tuple(
        (
            f"{one.reading}: {named(one.item, one.where)}",
            one.arm,
            who(one.reader),
            estimated(one.mean),
            f"{one.median:g}",
            _distribution(one.counts, analysis.plan.items[one.item]),
            str(one.n),
        )
        for one in analysis.ratings
        if bool(one.where) == places
    )
    head = ("item", "arm", "reader", "mean (95 % CI)", "median", "distribution", "answers")
    note = (
        "Mean: readers averaged within case, patients weighing the same; interval by bootstrap of patients. "
        "It speaks of these readers, not of all there are."
    )
    return Table(title=_titled("Grades by arm", places), head=head, lines=lines, n_names=3, note=note, folded=True)


def _distribution(found: Mapping[int, int], item: Item) -> str:
    return ", ".join(f"{label}: {found.get(grade, 0)}" for grade, label in zip(item.values, item.labels, strict=True))


def contrasts(analysis: Analysis, *, places: bool) -> Table:
    """Return comparisons of arms: all places together, or each."""
    lines = tuple(
        (
            f"{one.reading}: {named(one.item, one.where)}",
            f"{one.arm} − {one.baseline}",
            estimated(one.difference),
            one.favours or NONE,
            one.test.text,
            fixed(one.test.rank_biserial),
            str(one.difference.n_patients),
        )
        for one in analysis.contrasts
        if bool(one.where) == places
    )
    head = ("item", "arms", "mean difference (95 % CI)", "favours", "Wilcoxon", "rank-biserial", "patients")
    family = "single places are not corrected" if places else "p corrected after Holm over all items and pairs of arms of a reading"
    note = f"On the same cases by the same readers; one difference a patient is tested, {family}. The primary endpoint has its own test."
    return Table(title=_titled("Comparisons of arms", places), head=head, lines=lines, n_names=2, note=note, folded=places)


def preferences(analysis: Analysis) -> Table:
    """Return which arm was preferred."""
    lines = tuple(
        (
            f"{one.reading}: {words(one.item)}",
            f"{one.arm} or {one.baseline}",
            who(one.reader),
            share(one.preferred),
            share(one.neither),
            share(one.against),
            f"{one.n_for} : {one.n_against}",
            one.text,
        )
        for one in analysis.preferences
    )
    head = ("reading", "arms", "reader", "first preferred", "no difference", "second preferred", "patients", "sign test")
    note = "Shares of comparisons with 95 % intervals that know of patients; the sign test is of patients: for the first arm to for the second."
    return Table(title="Side by side", head=head, lines=lines, n_names=3, note=note)


def concordances(analysis: Analysis, kind: str, *, places: bool) -> Table:
    """Return kappas within (`intra`) or between (`inter`) readers."""
    lines = tuple(
        (
            f"{one.reading}: {named(one.item, one.where)}",
            one.arm or "all arms",
            " and ".join(one.readers),
            _kappa(one.quadratic),
            _kappa(one.linear),
            one.quadratic.wording or NONE,
            f"{100 * one.quadratic.same:.0f} %",
            f"{one.quadratic.n_pairs} / {one.quadratic.n_patients}",
        )
        for one in analysis.concordances
        if one.kind == kind and _is_detail(one) == places
    )
    head = ("item", "arm", "readers", "quadratic kappa (95 % CI)", "linear kappa (95 % CI)", "in words", "same grade", "pairs / patients")
    note = "Words after Landis and Koch for both ends of the quadratic kappa's interval."
    if kind == "intra":
        note += " Hidden repeats. Over all arms together kappa is larger than in each, since arms differ."
    title = "Readers with themselves" if kind == "intra" else "Readers with each other"
    title += ", arm by arm and place by place" if places and kind == "intra" else ", place by place" if places else ""
    return Table(title=title, head=head, lines=lines, n_names=3, note=note, folded=places)


def _is_detail(one: Concordance) -> bool:
    """Whether it's of one place, or of the few repeats of one arm."""
    return bool(one.where) or (one.kind == "intra" and bool(one.arm))


def _kappa(one: Kappa) -> str:
    return spanned(one.value, one.interval) if one.value is not None else f"{NONE} ({one.undefined})"


def correlations(analysis: Analysis, *, places: bool) -> Table:
    """Return intraclass correlations of all readers."""
    lines = tuple(
        (
            f"{one.reading}: {named(one.item, one.where)}",
            one.arm,
            *(spanned(form.value, form.reported) for form in one.iccs),
            one.iccs[0].wording or one.iccs[0].undefined or NONE,
            f"{one.iccs[0].n_subjects} ({one.iccs[0].n_left_out})",
        )
        for one in analysis.correlations
        if bool(one.where) == places
    )
    head = ("item", "arm", *FORMS, "in words", "subjects (left out)")
    note = (
        "2: absolute agreement, readers a sample of many; 3: consistency of these readers; 1: one reader; k: the mean of all. "
        "Words after Koo and Li, of ICC(2,1). 95 % intervals: F-based where a patient has one subject, otherwise bootstrap of patients. "
        "Left out: not graded by every reader."
    )
    return Table(title=_titled("Intraclass correlation", places), head=head, lines=lines, n_names=2, note=note, folded=places)


def accuracies(analysis: Analysis, *, places: bool) -> Table:
    """Return sensitivity, specificity and area by arm."""
    lines = tuple(
        (named(one.item, one.where), one.arm, who(one.reader), share(one.sensitivity), share(one.specificity), _area(one.area), f"≥ {one.cut}")
        for one in analysis.accuracies
        if bool(one.where) == places
    )
    head = ("finding", "arm", "reader", "sensitivity (95 % CI)", "specificity (95 % CI)", "area under ROC (95 % CI)", "present from")
    note = "Intervals know that a patient may have several findings (Rao and Scott's design effect in Wilson's interval; Obuchowski's variance)."
    return Table(title=_titled("Findings against the truth", places), head=head, lines=lines, n_names=3, note=note, folded=places)


def gains(analysis: Analysis, *, places: bool) -> Table:
    """Return differences of accuracy between arms."""
    lines = tuple(
        (
            named(one.item, one.where),
            f"{one.arm} − {one.baseline}",
            who(one.reader),
            estimated(one.sensitivity),
            estimated(one.specificity),
            _area(one.area),
            NONE if one.area.p is None else p_text(one.area.p),
        )
        for one in analysis.gains
        if bool(one.where) == places
    )
    head = ("finding", "arms", "reader", "sensitivity (95 % CI)", "specificity (95 % CI)", "area (95 % CI)", "area, p")
    note = "Differences, on findings read in both arms by the same reader. p is not corrected for the number of findings. Readers are fixed."
    return Table(title=_titled("Gain in accuracy", places), head=head, lines=lines, n_names=3, note=note, folded=places)


def _area(one: Area) -> str:
    return spanned(one.value, one.interval) if one.value is not None else NONE


def graded(analysis: Analysis, *, places: bool) -> Table:
    """Return grades against true grades."""
    lines = tuple(
        (named(one.item, one.where), one.arm, one.reader, share(one.exact), _kappa(one.quadratic), one.quadratic.wording or NONE)
        for one in analysis.graded
        if bool(one.where) == places
    )
    head = ("item", "arm", "reader", "right grade (95 % CI)", "quadratic kappa with the truth (95 % CI)", "in words")
    return Table(title=_titled("Grades against the truth", places), head=head, lines=lines, n_names=3, folded=places)


def times(analysis: Analysis) -> tuple[Table, Table]:
    """Return reading times, and their ratios between arms."""
    shown = tuple(
        (
            one.reading,
            one.arm,
            who(one.reader),
            fixed(one.median_s, 1),
            f"{fixed(one.quartiles_s[0], 1)} to {fixed(one.quartiles_s[1], 1)}",
            str(one.n),
        )
        for one in analysis.durations
    )
    ratios = tuple(
        (one.reading, f"{one.arm} / {one.baseline}", spanned(one.ratio, one.interval), one.test.text, str(one.test.n_patients))
        for one in analysis.paces
    )
    head = ("reading", "arm", "reader", "median, s", "quartiles, s", "presentations")
    note = "Ratio of geometric means, by patient; Wilcoxon's test, not corrected."
    return (
        Table(title="Reading time", head=head, lines=shown, n_names=3),
        Table(
            title="Reading time, compared", head=("reading", "arms", "ratio (95 % CI)", "Wilcoxon", "patients"), lines=ratios, n_names=2, note=note
        ),
    )


def drifts(analysis: Analysis) -> Table:
    """Return whether grades moved with session or order."""
    said = {"session": "last session − first", "order": "second half of a session − first half"}
    lines = tuple(
        (f"{one.reading}: {words(one.item)}", said[one.effect], estimated(one.difference), "look at it" if one.suspicious else NONE)
        for one in analysis.drifts
    )
    note = "Grades less the mean of their reader, arm and place. Order is balanced between arms, so a drift costs precision rather than fairness."
    return Table(title="Session and order", head=("item", "effect", "mean (95 % CI)", ""), lines=lines, n_names=2, note=note)


def _titled(title: str, places: bool) -> str:
    return f"{title}, place by place" if places else title
