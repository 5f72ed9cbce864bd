"""Questions become blocks of a page: how they look, which digit answers, what was answered."""

import pytest

from onenex.reader.items import BUILT_IN, DISC_LEVELS
from onenex.reader.keeping.views import Kept
from onenex.reader.records import Item, Scale
from onenex.reader.web.forms import blocks


@pytest.mark.parametrize(
    ("name", "look"),
    [
        ("snr", "row"),
        ("artefacts", "list"),
        ("confidence", "row"),
        ("preference", "list"),
        ("fazekas_deep", "list"),
        ("pfirrmann", "matrix"),
        ("comment", "text"),
    ],
)
def test_looks(name: str, look: str) -> None:
    assert [block.look for block in blocks([BUILT_IN[name]], [])] == [look]


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_every_value_has_a_digit_of_its_own(name: str) -> None:
    item = BUILT_IN[name]
    options = [option for block in blocks([item], []) for option in block.options]
    assert [option.value for option in options] == list(item.values)
    assert len({option.key for option in options}) == len(options)
    assert all(option.key.isdecimal() and len(option.key) == 1 for option in options)


def test_digits_are_the_values_where_they_can_be() -> None:
    assert [one.key for one in blocks([BUILT_IN["fazekas_deep"]], [])[0].options] == ["0", "1", "2", "3"]
    assert blocks([BUILT_IN["fazekas_deep"]], [])[0].options[0].label == "none"
    assert [one.key for one in blocks([BUILT_IN["preference"]], [])[0].options] == ["1", "2", "3", "4", "5"]
    many = Item(name="many", question="?", scale=Scale.GRADE, labels=tuple(f"grade {number}" for number in range(12)))
    assert {one.key for one in blocks([many], [])[0].options} == {""}


def test_findings_share_a_table() -> None:
    found = blocks([BUILT_IN[name] for name in ("meniscus_tear", "acl_tear", "effusion", "comment")], [])
    assert [block.look for block in found] == ["matrix", "text"]
    places = [(row.item, row.where) for row in found[0].rows]
    assert places == [("meniscus_tear", "medial"), ("meniscus_tear", "lateral"), ("acl_tear", ""), ("effusion", "")]
    assert found[0].rows[0].label == "Meniscus: tear? medial"


def test_answers_go_to_their_places() -> None:
    kept = [Kept(item="pfirrmann", where="L4/L5", value=4, text="", version=3, saved_wall=0.0)]
    rows = blocks([BUILT_IN["pfirrmann"]], kept)[0].rows
    assert [row.label for row in rows] == list(DISC_LEVELS)
    assert [(row.chosen, row.version) for row in rows] == [(None, 0)] * 3 + [(4, 3), (None, 0)]
    assert len({row.name for row in rows}) == 5
    assert rows[3].spoken == "Pfirrmann grade? L4/L5"
