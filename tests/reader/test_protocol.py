"""study.toml: what is accepted, and how everything else is refused."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from onenex.errors import StudyError
from onenex.reader.protocol import Protocol, example, load_protocol
from onenex.reader.records import Case, Item, Kind
from tests.reader.studies import Tables, case, study, tables

PREFERENCE = {"name": "side", "kind": "preference", "pairs": [["denoised", "reference"]], "items": ["preference"]}


def write(folder: Path, value: Tables) -> Path:
    """Tables as TOML: all that these tests need of it."""
    path = folder / "study.toml"
    lines = [f"{key} = {toml(one)}" for key, one in value.items()]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f'"{key}" = {toml(one)}' for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(toml(one) for one in value) + "]"
    return '"' + value.replace('"', '\\"') + '"' if isinstance(value, str) else repr(value)


def test_a_protocol_is_read(tmp_path: Path) -> None:
    protocol = load_protocol(write(tmp_path, tables(cases=[case(1, training=True), case(2, truth={"pfirrmann@L4/L5": 3, "acl_tear": 1})])))
    assert protocol.reading("quality").kind is Kind.RATING
    assert protocol.reading("quality").shown == (("fast",), ("denoised",), ("reference",))
    assert protocol.reading("side").shown == (("denoised", "reference"),)
    assert protocol.case("case2") == Case(
        name="case2", patient="P2", series={"fast": "/2/fast", "denoised": "/2/denoised", "reference": "/2/reference"},
        truth={"pfirrmann@L4/L5": 3, "acl_tear": 1},
    )  # fmt: skip
    assert [one.name for one in protocol.read_cases] == ["case2"]
    assert isinstance(protocol.items[0], Item)
    assert protocol.analysis.primary_parts == ("quality", "overall_quality")


def test_defaults() -> None:
    protocol = study()
    assert (protocol.sessions, protocol.wash_out_days, protocol.repeats, protocol.analysis.alpha) == (1, 14.0, 0.1, 0.025)


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    one = case(1) | {"fast": "scans/fast", "denoised": "../denoised"}
    protocol = load_protocol(write(tmp_path, tables(cases=[one])))
    assert protocol.cases[0].series["fast"] == str(tmp_path / "scans" / "fast")
    assert protocol.cases[0].series["denoised"] == str(tmp_path / "../denoised")
    assert protocol.cases[0].series["reference"] == "/1/reference"


def test_names_that_there_are_not() -> None:
    protocol = study()
    for ask in (protocol.item, protocol.reading, protocol.case):
        with pytest.raises(StudyError, match=r"there is no \w+ 'nonsense'"):
            ask("nonsense")


def test_the_example_is_right_but_for_its_cases(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text(example(), encoding="utf-8")
    protocol = load_protocol(path)
    assert {reading.kind for reading in protocol.readings} == set(Kind)
    assert protocol.analysis.margin


def put(*keys: Any) -> Callable[[Tables], None]:
    """Return what sets a value deep in tables: keys, then the value."""
    *way, last, value = keys

    def do(target: Any) -> None:
        for key in way:
            target = target[key]
        target[last] = value

    return do


WRONG: dict[str, tuple[Callable[[Tables], object], str]] = {
    "missing title": (lambda t: t.pop("title"), "title: it is missing: add it"),
    "unknown key": (put("sesions", 2), "sesions: there is no such key"),
    "no readers": (put("readers", []), "readers: .*at least 1"),
    "reader twice": (put("readers", ["a", "a"]), "readers: 'a' is there twice"),
    "reader with a space": (put("readers", ["a b"]), r"readers\.1: .*pattern.* not 'a b'"),
    "arm twice": (put("arms", ["fast", "denoised", "reference", "fast"]), "arms: 'fast' is there twice"),
    "repeats too many": (put("repeats", 0.6), "repeats: .*0.5, not 0.6"),
    "repeats negative": (put("repeats", -0.1), "repeats: .*0, not -0.1"),
    "more sessions than cases": (put("sessions", 7), "sessions: there are only 6 cases"),
    "no sessions": (put("sessions", 0), "sessions: "),
    "wash-out negative": (put("wash_out_days", -1), "wash_out_days: "),
    "seed negative": (put("seed", -1), "seed: "),
    "reading of unknown arm": (put("readings", 0, "arms", ["slow"]), r"\[\[readings\]\] 'quality' arms: there is no arm 'slow'; arms are fast, "),
    "pair of unknown arm": (put("readings", 1, "pairs", [["slow", "fast"]]), r"\[\[readings\]\] 'side' pairs: there is no arm 'slow'"),
    "reading twice": (put("readings", 0, "name", "side"), r"\[\[readings\]\] name: 'side' is there twice"),
    "unknown kind": (put("readings", 0, "kind", "look"), r"\[\[readings\]\] number 1 kind: .*not 'look'"),
    "item not defined": (put("readings", 0, "items", ["beauty"]), r"\[\[readings\]\] 'quality' items: 'beauty' is not defined; add it"),
    "item twice": (put("readings", 0, "items", ["snr", "snr"]), r"\[\[readings\]\] number 1: snr is named twice"),
    "no items": (put("readings", 0, "items", []), r"\[\[readings\]\] number 1 items: "),
    "words only": (put("readings", 2, "items", ["comment"]), r"\[\[readings\]\] 'discs' items: only words"),
    "preference without pairs": (lambda t: t["readings"][1].pop("pairs"), r"\[\[readings\]\] number 2: a preference needs pairs: add"),
    "preference with arms": (put("readings", 1, "arms", ["fast"]), r"\[\[readings\]\] number 2: arms is not for kind 'preference'"),
    "rating with pairs": (put("readings", 0, "pairs", [["fast", "denoised"]]), r"\[\[readings\]\] number 1: pairs is for kind 'preference'"),
    "pair with itself": (put("readings", 1, "pairs", [["fast", "fast"]]), "compares an arm with itself"),
    "pair turned": (put("readings", 1, "pairs", [["fast", "denoised"], ["denoised", "fast"]]), "denoised with fast is there twice"),
    "preference of a rating": (put("readings", 1, "items", ["snr"]), r"\[\[readings\]\] 'side' items: 'snr' rates one series"),
    "rating of a preference": (put("readings", 0, "items", ["preference"]), r"\[\[readings\]\] 'quality' items: 'preference' compares two"),
    "own item built in": (put("items", 0, "name", "snr"), r"items: snr is built in"),
    "own item without labels": (lambda t: t["items"][0].pop("labels"), r"\[\[items\]\] number 1: labels: give at least two"),
    "labels twice": (put("items", 0, "labels", ["a", "a"]), r"\[\[items\]\] number 1: labels and places must differ: a is"),
    "finding without cut": (lambda t: t["items"][0].update(scale="finding"), r"\[\[items\]\] number 1: a finding needs cut.* 2 … 3"),
    "cut of a grade": (put("items", 0, "cut", 2), r"\[\[items\]\] number 1: cut is for scale 'finding'"),
    "words with labels": (put("items", 0, "scale", "text"), r"\[\[items\]\] number 1: scale 'text' is words"),
    "item unknown key": (put("items", 0, "lables", []), r"\[\[items\]\] number 1 lables: there is no such key"),
    "case twice": (put("cases", 1, "name", "case0"), r"\[\[cases\]\] name: 'case0' is there twice"),
    "case without arm": (lambda t: t["cases"][1].pop("reference"), r"\[\[cases\]\] 'case1': reading '\w+' shows arm 'reference', of which it has no"),
    "case with unknown arm": (put("cases", 1, "slow", "/slow"), r"\[\[cases\]\] 'case1': 'slow' is neither an arm nor a key of a case"),
    "case without patient": (lambda t: t["cases"][1].pop("patient"), r"\[\[cases\]\] number 2 patient: it is missing"),
    "case of one series": (put("cases", 1, "fast", "/1/reference"), r"\[\[cases\]\] number 2 series: two arms have the same series \(/1/reference\)"),
    "series of another case": (put("cases", 1, "fast", "/0/fast"), r"\[\[cases\]\] 'case1' fast: /0/fast is already a series of case 'case0'"),
    "series no text": (put("cases", 1, "fast", 3), r"\[\[cases\]\] number 2 fast: .*string"),
    "training unclear": (put("cases", 1, "training", "perhaps"), r"\[\[cases\]\] number 2 training: .*not 'perhaps'"),
    "only training": (lambda t: [one.update(training=True) for one in t["cases"]], r"\[\[cases\]\]: all are for training"),
    "no cases": (put("cases", []), "cases: .*at least 1"),
    "no cases at all": (lambda t: t.pop("cases"), "cases: .*at least 1"),
    "truth of unknown item": (put("cases", 0, "truth", {"beauty": 1}), r"\[\[cases\]\] 'case0' truth 'beauty': no reading asks for"),
    "truth never asked": (put("cases", 0, "truth", {"snr": 1}), r"truth 'snr': no reading asks for an item 'snr'"),
    "truth out of scale": (put("cases", 0, "truth", {"pfirrmann@L4/L5": 6}), r"truth 'pfirrmann@L4/L5': 6 is not a value of it; give 1 … 5"),
    "truth of a finding": (put("cases", 0, "truth", {"acl_tear": 4}), r"4 is not a value of it; give 0 \(absent\) or 1 \(present\)"),
    "truth without place": (put("cases", 0, "truth", {"pfirrmann": 3}), r"truth 'pfirrmann': there is no such place; write 'pfirrmann@L1/L2'"),
    "truth with a place": (put("cases", 0, "truth", {"acl_tear@left": 1}), r"write 'acl_tear' alone"),
    "truth of words": (put("cases", 0, "truth", {"comment": 1}), r"truth 'comment': words and comparisons have no truth"),
    "truth no number": (put("cases", 0, "truth", {"acl_tear": "yes"}), r"\[\[cases\]\] number 1 truth.acl_tear: .*not 'yes'"),
    "no analysis": (lambda t: t.pop("analysis"), "analysis.* it is missing"),
    "test unknown": (put("analysis", "test", "slow"), r"\[analysis\] test: there is no arm 'slow'"),
    "test is control": (put("analysis", "control", "denoised"), r"\[analysis\] *: test, control and comparator must be different"),
    "margin zero": (put("analysis", "margin", 0), r"\[analysis\] margin: .*greater than 0, not 0"),
    "margin negative": (put("analysis", "margin", -0.5), r"\[analysis\] margin: .*greater than 0, not -0.5"),
    "margin as wide as the scale": (put("analysis", "margin", 3), r"\[analysis\] margin: 3.0 is as wide as the scale of 'overall_quality'"),
    "margin without primary": (lambda t: t["analysis"].pop("primary"), r"\[analysis\] *: give primary and margin together"),
    "primary not read": (put("analysis", "primary", "quality.snr"), r"\[analysis\] primary: no reading 'quality' asks for 'snr'"),
    "primary no rating": (put("analysis", "primary", "discs.pfirrmann"), r"\[analysis\] primary: 'discs.pfirrmann' is no rating"),
    "primary a preference": (put("analysis", "primary", "side.preference"), r"\[analysis\] primary: 'side.preference' is no rating"),
    "primary without control": (put("readings", 0, "arms", ["fast", "denoised"]), r"\[analysis\] primary: .*does not show arm 'reference'"),
    "alpha": (put("analysis", "alpha", 0.5), r"\[analysis\] alpha: "),
    "not a number": (put("analysis", "margin", float("nan")), r"\[analysis\] margin: "),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_every_mistake_is_named(name: str, tmp_path: Path) -> None:
    spoil, said = WRONG[name]
    value = tables()
    spoil(value)
    path = write(tmp_path, value)
    with pytest.raises(StudyError, match=said) as caught:
        load_protocol(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_arms_must_not_be_keys_of_a_case() -> None:
    with pytest.raises(ValidationError, match="'patient' is a key of"):
        study(arms=("patient", "denoised", "reference"))


def test_all_mistakes_of_single_keys_are_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=re.compile("seed.*repeats", re.DOTALL)):
        load_protocol(write(tmp_path, tables(seed=-1, repeats=2)))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"cannot be read \(.*`onenex study example`"):
        load_protocol(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("title = \n", encoding="utf-8")
    with pytest.raises(StudyError, match=r"is no TOML: .*line 1"):
        load_protocol(tmp_path / "bad.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(StudyError, match="cannot be read"):
        load_protocol(tmp_path / "bytes.toml")


def test_tables_of_the_wrong_kind_are_refused(tmp_path: Path) -> None:
    for key in ("readings", "items", "cases", "analysis", "arms", "readers"):
        for value in (3, "x", [3], {"a": 1}):
            if (key, value) != ("items", []):
                with pytest.raises(StudyError, match=key):
                    load_protocol(write(tmp_path, tables() | {key: value}))


def test_a_protocol_does_not_change() -> None:
    protocol = study()
    with pytest.raises(ValidationError):
        protocol.seed = 8
    assert isinstance(protocol, Protocol)
