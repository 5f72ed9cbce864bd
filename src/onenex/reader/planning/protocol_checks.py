"""What the tables of a protocol must say about each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from onenex.reader.items import BUILT_IN
from onenex.reader.planning.protocol_tables import CASE_KEYS, Reading, twice
from onenex.reader.records import Case, Item, Kind, Scale

if TYPE_CHECKING:
    from onenex.reader.protocol import Protocol


def check(protocol: Protocol) -> None:
    """Look for contradictions between the tables.

    Raises
    ------
    ValueError
        What is wrong, with table and key: the first that is found.
    """
    checks: tuple[Callable[[Protocol], None], ...] = (_names, _readings, _items, _cases, _truth, _analysis)
    for one in checks:
        one(protocol)


def _names(protocol: Protocol) -> None:
    tables = {
        "readers": protocol.readers,
        "arms": protocol.arms,
        "[[readings]] name": tuple(reading.name for reading in protocol.readings),
        "[[items]] name": tuple(item.name for item in protocol.items),
        "[[cases]] name": tuple(case.name for case in protocol.cases),
    }
    for where, names in tables.items():
        if twice(names):
            raise ValueError(f"{where}: '{twice(names)}' is there twice; names must differ")
    reserved = sorted(set(protocol.arms) & {*CASE_KEYS, "series"})
    if reserved:
        raise ValueError(f"arms: '{reserved[0]}' is a key of [[cases]]: call the arm something else")


def _readings(protocol: Protocol) -> None:
    for reading in protocol.readings:
        unknown = sorted(reading.needs - set(protocol.arms))
        if unknown:
            key = "pairs" if reading.pairs else "arms"
            raise ValueError(f"[[readings]] '{reading.name}' {key}: there is no arm '{unknown[0]}'; arms are {', '.join(protocol.arms)}")


def _items(protocol: Protocol) -> None:
    known = {**BUILT_IN, **{item.name: item for item in protocol.items}}
    for reading in protocol.readings:
        where = f"[[readings]] '{reading.name}' items"
        for name in reading.items:
            if name not in known:
                raise ValueError(f"{where}: '{name}' is not defined; add it as [[items]], or use a built-in one: {', '.join(BUILT_IN)}")
            _fits(known[name], reading, where)
        if all(known[name].scale is Scale.TEXT for name in reading.items):
            raise ValueError(f"{where}: only words are asked for, which nothing analyses; add an item with labels")


def _fits(item: Item, reading: Reading, where: str) -> None:
    """Sides need a scale that is the same both ways; everything else must not have one with negative values."""
    if item.scale is Scale.TEXT:
        return
    compares = item.scale is Scale.GRADE and item.first < 0 and item.first == -item.values[-1]
    if reading.kind is Kind.PREFERENCE and not compares:
        raise ValueError(f"{where}: '{item.name}' rates one series, but a preference compares two; use 'preference', or a scale from −n to n")
    if reading.kind is not Kind.PREFERENCE and (compares or item.name == "preference"):
        raise ValueError(f"{where}: '{item.name}' compares two series, but kind '{reading.kind}' shows one; make it a reading of kind 'preference'")


def _cases(protocol: Protocol) -> None:
    if not protocol.read_cases:
        raise ValueError("[[cases]]: all are for training; at least one must be read")
    if protocol.sessions > len(protocol.read_cases):
        raise ValueError(f"sessions: there are only {len(protocol.read_cases)} cases to read, too few for {protocol.sessions} sessions; give less")
    for case in protocol.cases:
        unknown = sorted(set(case.series) - set(protocol.arms))
        if unknown:
            raise ValueError(f"[[cases]] '{case.name}': '{unknown[0]}' is neither an arm nor a key of a case; arms are {', '.join(protocol.arms)}")
        for reading in protocol.readings:
            missing = sorted(reading.needs - set(case.series))
            if missing:
                raise ValueError(f"[[cases]] '{case.name}': reading '{reading.name}' shows arm '{missing[0]}', of which it has no series; add one")
    used: dict[str, str] = {}
    for case in protocol.cases:
        for arm, series in case.series.items():
            if series in used:
                raise ValueError(f"[[cases]] '{case.name}' {arm}: {series} is already a series of case '{used[series]}'; give each its own")
            used[series] = case.name


def _truth(protocol: Protocol) -> None:
    asked = {name for reading in protocol.readings for name in reading.items}
    for case in protocol.cases:
        for key, value in case.truth.items():
            _one_truth(protocol, asked, case, (key, value))


def _one_truth(protocol: Protocol, asked: set[str], case: Case, truth: tuple[str, int]) -> None:
    (key, value), (name, _, place) = truth, truth[0].partition("@")
    where = f"[[cases]] '{case.name}' truth '{key}'"
    if name not in asked:
        raise ValueError(f"{where}: no reading asks for an item '{name}'; correct or delete it")
    item = protocol.item(name)
    if place not in item.where:
        wanted = f"'{name}' alone, without a place" if item.where == ("",) else ", ".join(f"'{name}@{one}'" for one in item.where)
        raise ValueError(f"{where}: there is no such place; write {wanted}")
    if item.scale is Scale.TEXT or item.first < 0:
        raise ValueError(f"{where}: words and comparisons have no truth; delete it")
    right = range(2) if item.scale is Scale.FINDING else item.values
    if value not in right:
        means = "0 (absent) or 1 (present)" if item.scale is Scale.FINDING else f"{right[0]} … {right[-1]}"
        raise ValueError(f"{where}: {value} is not a value of it; give {means}")


def _analysis(protocol: Protocol) -> None:
    table = protocol.analysis
    for key, arm in (("test", table.test), ("control", table.control), ("comparator", table.comparator)):
        if arm is not None and arm not in protocol.arms:
            raise ValueError(f"[analysis] {key}: there is no arm '{arm}'; arms are {', '.join(protocol.arms)}")
    if table.primary_parts is None:
        return
    name, item_name = table.primary_parts
    reading = next((one for one in protocol.readings if one.name == name), None)
    if reading is None or item_name not in reading.items:
        raise ValueError(f"[analysis] primary: no reading '{name}' asks for '{item_name}'; write reading.item, e.g. quality.overall_quality")
    item = protocol.item(item_name)
    if reading.kind is Kind.PREFERENCE or item.higher_is_better is None:
        raise ValueError(
            f"[analysis] primary: '{table.primary}' is no rating; name an item with higher_is_better of a reading that shows single series"
        )
    absent = sorted({table.test, table.control} - reading.needs)
    if absent:
        raise ValueError(f"[analysis] primary: reading '{name}' does not show arm '{absent[0]}'; add it to the reading's arms")
    widest = len(item.labels) - 1
    for key, margin in (("margin", table.margin), ("equivalence_margin", table.equivalence_margin)):
        if margin is not None and margin >= widest:
            raise ValueError(f"[analysis] {key}: {margin} is as wide as the scale of '{item_name}' ({widest} grades); give less")
