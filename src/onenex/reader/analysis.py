"""The analysis of a study after unblinding: from answers to everything that its report says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onenex.errors import StudyError
from onenex.evaluate.statistics.patients import LEAST_PATIENTS
from onenex.reader.records import Item, Kind, Presentation, Response, Scale
from onenex.reader.statistics.diagnosis import Accuracy, Gain, Graded, accuracies, gains, graded
from onenex.reader.statistics.frames import UNIT, first_time, frame, paired_units
from onenex.reader.statistics.non_inferiority import NonInferiority, non_inferiority
from onenex.reader.statistics.preference import Preference, preferences
from onenex.reader.statistics.ratings import Contrast, Rating, contrasts, pairs_of, ratings
from onenex.reader.statistics.reliability import Concordance, Correlation, concordances, correlations
from onenex.reader.statistics.timing import Drift, Duration, Pace, drifts, durations, paces

if TYPE_CHECKING:
    import pandas as pd

    from onenex.reader.protocol import Protocol


@dataclass(frozen=True, kw_only=True)
class AnalysisPlan:
    """What the protocol fixed before anybody read, as far as the analysis needs it."""

    title: str = ""
    readers: tuple[str, ...]
    arms: tuple[str, ...]
    items: Mapping[str, Item]
    test: str
    control: str
    comparator: str | None = None
    primary: str | None = None
    """`reading.item`; None where nothing is tested for non-inferiority."""
    margin: float | None = None
    """Grades."""
    alpha: float = 0.025
    """One-sided."""
    equivalence_margin: float | None = None
    bootstrap: int = 4000

    @property
    def primary_item(self) -> Item | None:
        """The item of the primary endpoint."""
        return None if self.primary is None else self.items[self.primary.partition(".")[2]]

    @classmethod
    def of(cls, protocol: Protocol) -> AnalysisPlan:
        """Return what a protocol says of it."""
        table = protocol.analysis
        names = dict.fromkeys(name for reading in protocol.readings for name in reading.items)
        return cls(
            title=protocol.title,
            readers=tuple(protocol.readers),
            arms=tuple(protocol.arms),
            items={name: protocol.item(name) for name in names},
            test=table.test,
            control=table.control,
            comparator=table.comparator,
            primary=table.primary,
            margin=table.margin,
            alpha=table.alpha,
            equivalence_margin=table.equivalence_margin,
            bootstrap=table.bootstrap,
        )


@dataclass(frozen=True, kw_only=True)
class Count:
    """How much of a reading a reader did."""

    reading: str
    reader: str
    n_planned: int | None
    """Presentations of the plan without training, with hidden repeats; None where the plan wasn't given."""
    n_read: int
    """Presentations with an answer."""
    n_repeats: int
    """Hidden repeats among those read."""
    n_cases: int
    n_patients: int
    n_answers: int
    n_gaps: int
    """Answers that presentations lack, of items and places that others answered."""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """The primary endpoint and its neighbours: one test arm against one baseline."""

    reading: str
    item: Item
    arm: str
    baseline: str
    readers: tuple[str, ...]
    n_left_out: int
    """Reader × case × place without an answer in both arms."""
    result: NonInferiority

    @property
    def conclusion(self) -> str:
        """One sentence, made from the numbers alone."""
        return self.result.conclusion(self.arm, self.baseline, words(self.item.name))


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """All results."""

    plan: AnalysisPlan
    seed: int
    responses: tuple[Response, ...]
    primary: Endpoint | None
    no_primary: str
    """Why there is no primary endpoint; empty where there is one."""
    by_reader: tuple[Endpoint, ...]
    """The primary comparison of each reader alone: for looking, not for claims."""
    counts: tuple[Count, ...]
    ratings: tuple[Rating, ...]
    contrasts: tuple[Contrast, ...]
    preferences: tuple[Preference, ...]
    concordances: tuple[Concordance, ...]
    correlations: tuple[Correlation, ...]
    accuracies: tuple[Accuracy, ...]
    gains: tuple[Gain, ...]
    graded: tuple[Graded, ...]
    durations: tuple[Duration, ...]
    paces: tuple[Pace, ...]
    drifts: tuple[Drift, ...]

    @property
    def conclusion(self) -> str:
        """The primary endpoint in one sentence."""
        return self.primary.conclusion if self.primary else f"No primary endpoint was tested: {self.no_primary}."


def analyse(
    responses: Sequence[Response], protocol: Protocol | AnalysisPlan, *, seed: int = 0, presentations: Sequence[Presentation] | None = None
) -> Analysis:
    """Analyse a study.

    Parameters
    ----------
    responses
        Answers after unblinding, of finished presentations without training.
    protocol
        What was fixed before reading.
    seed
        Of the bootstrap: the same seed, the same report.
    presentations
        The plan, to count what wasn't read; None where it's not at hand.

    Raises
    ------
    StudyError
        No answers, an answer of an item, reader or arm that the protocol doesn't know, or two answers to the same question.
    """
    plan = protocol if isinstance(protocol, AnalysisPlan) else AnalysisPlan.of(protocol)
    _check(responses, plan)
    order = {name: place for place, name in enumerate(plan.items)}
    table = frame(sorted(responses, key=lambda one: order[one.item]), test=plan.test, control=plan.control)
    graded_items = {name: item for name, item in plan.items.items() if item.scale is not Scale.TEXT}
    generator = np.random.default_rng(seed)
    pairs, n = pairs_of(plan.arms, plan.test, plan.control), plan.bootstrap
    primary, no_primary = _primary(table, plan, generator)
    return Analysis(
        plan=plan,
        seed=seed,
        responses=tuple(responses),
        primary=primary,
        no_primary=no_primary,
        by_reader=_by_reader(table, plan) if primary else (),
        counts=_counts(table, presentations),
        ratings=tuple(ratings(table, graded_items, plan.arms, generator, n)),
        contrasts=tuple(contrasts(table, graded_items, pairs, generator, n)),
        preferences=tuple(preferences(table)),
        concordances=tuple(concordances(table, graded_items, plan.arms, generator, n)),
        correlations=tuple(correlations(table, plan.arms, generator, n)),
        accuracies=tuple(accuracies(table, graded_items, plan.arms)),
        gains=tuple(gains(table, graded_items, pairs, generator, n)),
        graded=tuple(graded(table, graded_items, plan.arms, generator, n)),
        durations=tuple(durations(table, plan.arms)),
        paces=tuple(paces(table, pairs, generator, n)),
        drifts=tuple(drifts(table, plan.arms, generator, n)),
    )


def words(name: str) -> str:
    """Return an item's name for people."""
    return name.replace("_", " ")


def _check(responses: Sequence[Response], plan: AnalysisPlan) -> None:
    if not responses:
        raise StudyError("there are no answers to analyse: readers must finish presentations first (those for training don't count)")
    seen = set()
    for one in responses:
        where = f"answer of {one.reader} to {one.reading}.{one.item}, case {one.case}"
        item = plan.items.get(one.item)
        if item is None or one.value not in item.values:
            raise StudyError(f"{where}: value {one.value} of an item that the protocol doesn't know so; analyse with the study's own protocol")
        unknown = [name for name in (*one.arms,) if name not in plan.arms] + [one.reader] * (one.reader not in plan.readers)
        if unknown or len(one.arms) != (2 if one.kind is Kind.PREFERENCE else 1):
            raise StudyError(f"{where}: reader or arms ({', '.join(one.arms)}) aren't the protocol's; analyse with the study's own protocol")
        key = (one.reader, one.reading, frozenset(one.arms), one.case, one.repeat, one.item, one.where)
        if key in seen:
            raise StudyError(f"{where}: it's there twice; only the newest answer may count")
        seen.add(key)


def _primary(table: pd.DataFrame, plan: AnalysisPlan, generator: np.random.Generator) -> tuple[Endpoint | None, str]:
    if plan.primary is None or plan.margin is None or plan.primary_item is None:
        return None, "the protocol names none"
    if plan.primary_item.higher_is_better is None:
        return None, f"neither direction of {words(plan.primary_item.name)} is better"
    found = _endpoint(table, plan, plan.readers, generator)
    return found, "" if found else f"no case was read in both {plan.test} and {plan.control} (at least {LEAST_PATIENTS} patients are needed)"


def _by_reader(table: pd.DataFrame, plan: AnalysisPlan) -> tuple[Endpoint, ...]:
    found = [_endpoint(table, plan, (reader,), None) for reader in plan.readers]
    return tuple(one for one in found if one is not None)


def _endpoint(table: pd.DataFrame, plan: AnalysisPlan, readers: Sequence[str], generator: np.random.Generator | None) -> Endpoint | None:
    reading, _, name = (plan.primary or "").partition(".")
    item = plan.items[name]
    part = first_time(table[(table["reading"] == reading) & (table["item"] == name) & table["reader"].isin(readers)])
    ours, theirs, patients = paired_units(part, (plan.test, plan.control))
    if not len(ours) or plan.margin is None:
        return None
    shown = part[part["arm"].isin((plan.test, plan.control))].groupby(["reader", *UNIT])["arm"].nunique()
    result = non_inferiority(
        (ours - theirs) if item.higher_is_better else (theirs - ours),
        patients,
        margin=plan.margin,
        alpha=plan.alpha,
        equivalence_margin=plan.equivalence_margin,
        generator=generator,
        n_resamples=plan.bootstrap,
    )
    return Endpoint(
        reading=reading,
        item=item,
        arm=plan.test,
        baseline=plan.control,
        readers=tuple(sorted(part["reader"].unique())),
        n_left_out=int((shown < 2).sum()),
        result=result,
    )


def _counts(table: pd.DataFrame, presentations: Sequence[Presentation] | None) -> tuple[Count, ...]:
    planned = [one for one in presentations or () if not one.is_training]
    found = []
    wanted = table.groupby("reading").apply(lambda part: len(part[["item", "where"]].drop_duplicates()), include_groups=False)
    names = dict.fromkeys([*((one.reading, one.reader) for one in planned), *map(tuple, table[["reading", "reader"]].drop_duplicates().to_numpy())])
    for reading, reader in names:
        part = table[(table["reading"] == reading) & (table["reader"] == reader)]
        shown = part.drop_duplicates(["session", "position"])
        found.append(
            Count(
                reading=str(reading),
                reader=str(reader),
                n_planned=sum((one.reading, one.reader) == (reading, reader) for one in planned) if presentations is not None else None,
                n_read=len(shown),
                n_repeats=int((shown["repeat"] > 0).sum()),
                n_cases=int(part["case"].nunique()),
                n_patients=int(part["patient"].nunique()),
                n_answers=len(part),
                n_gaps=len(shown) * int(wanted.get(reading, 0)) - len(part),
            )
        )
    return tuple(sorted(found, key=lambda one: (one.reading, one.reader)))
