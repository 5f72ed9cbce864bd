"""The built-in scales."""

import pytest

from onenex.reader.items import BUILT_IN, DISC_LEVELS
from onenex.reader.protocol import Protocol
from onenex.reader.records import Item, Scale
from tests.reader.studies import study, tables

ITEMS = pytest.mark.parametrize("item", BUILT_IN.values(), ids=list(BUILT_IN))


@ITEMS
def test_a_scale_is_one_that_a_study_could_define_itself(item: Item) -> None:
    fields = {name: getattr(item, name) for name in item.__dataclass_fields__}
    where = [place for place in item.where if place]
    own = Protocol.model_validate(tables(items=[fields | {"name": "own", "where": where}], readings=[_reading(item)], analysis=_ANALYSIS)).item("own")
    assert {**vars(own), "name": item.name} == vars(item)


_ANALYSIS = {"test": "denoised", "control": "reference"}


def _reading(item: Item) -> dict[str, object]:
    asked = ["own", "snr"] if item.scale is Scale.TEXT else ["own"]
    if item.first < 0:
        return {"name": "one", "kind": "preference", "pairs": [["denoised", "reference"]], "items": asked}
    return {"name": "one", "kind": "rating", "items": asked}


@ITEMS
def test_a_scale_says_where_it_comes_from_and_what_it_means(item: Item) -> None:
    assert item.explained
    assert item.question.endswith("?")
    assert item.source or item.scale is Scale.TEXT
    assert not any(arm in f"{item.question} {item.explained}".lower() for arm in ("denois", "reference", "fast"))


@pytest.mark.parametrize(
    ("name", "values", "labels", "places"),
    [
        ("overall_quality", range(1, 5), 4, ("",)),
        ("snr", range(1, 5), 4, ("",)),
        ("sharpness", range(1, 5), 4, ("",)),
        ("artefacts", range(1, 5), 4, ("",)),
        ("confidence", range(1, 6), 5, ("",)),
        ("preference", range(-2, 3), 5, ("",)),
        ("fazekas_periventricular", range(4), 4, ("",)),
        ("fazekas_deep", range(4), 4, ("",)),
        ("pfirrmann", range(1, 6), 5, DISC_LEVELS),
        ("meniscus_tear", range(1, 6), 5, ("medial", "lateral")),
        ("ac_joint", range(1, 6), 5, ("",)),
        ("comment", range(1, 1), 0, ("",)),
    ],
)
def test_values_as_published(name: str, values: range, labels: int, places: tuple[str, ...]) -> None:
    item = BUILT_IN[name]
    assert (item.values, len(item.labels), item.where) == (values, labels, places)


def test_only_ratings_have_a_better_end_and_only_findings_a_cut() -> None:
    rated = {name for name, item in BUILT_IN.items() if item.higher_is_better is not None}
    assert rated == {"overall_quality", "snr", "sharpness", "artefacts", "confidence"}
    found = {name for name, item in BUILT_IN.items() if item.cut is not None}
    assert found == {name for name, item in BUILT_IN.items() if item.scale is Scale.FINDING}
    assert {BUILT_IN[name].labels[(BUILT_IN[name].cut or 0) - 1] for name in found} == {"probably present"}


def test_knee_and_shoulder_are_complete() -> None:
    knee = {"meniscus_tear", "acl_tear", "pcl_tear", "mcl_injury", "lcl_injury", "cartilage_defect", "bone_marrow_oedema", "effusion"}
    shoulder = {"supraspinatus_tear", "infraspinatus_tear", "subscapularis_tear", "labrum_tear", "biceps_tendon", "ac_joint"}
    assert {name for name, item in BUILT_IN.items() if item.scale is Scale.FINDING} == knee | shoulder


def test_a_study_finds_built_in_items_and_its_own() -> None:
    protocol = study()
    assert protocol.item("snr") is BUILT_IN["snr"]
    assert protocol.item("motion").values == range(1, 4)
