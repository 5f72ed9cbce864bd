import hashlib
import json

import pytest

from onenex.errors import StudyError
from onenex.reader.records import Case, Presentation
from onenex.reader.seal import Plan, make_plan, seal, unseal

WORDS = "seven green horses fly"
QUICK = 10


@pytest.fixture(scope="module")
def plan() -> Plan:
    common = {"reader": "anna", "reading": "quality", "session": 1, "case": "knee", "arms": ("fast", "slow")}
    presentations = [Presentation(key=f"{number:032x}", position=number, repeat=number, **common) for number in range(3)]
    cases = [Case(name="knee", patient="Müller", series={"fast": "/a", "slow": "/b"}, is_training=True, truth={"tear@left": 1})]
    return make_plan(presentations, cases, {"title": "Knees", "analysis": {"margin": 0.5}}, 7)


@pytest.fixture(scope="module")
def sealed(plan: Plan) -> bytes:
    return seal(plan, WORDS, cost=QUICK)


def test_what_is_sealed_comes_back(plan: Plan, sealed: bytes) -> None:
    assert unseal(sealed, WORDS) == plan
    assert unseal(sealed, f"  {WORDS}\n") == plan


def test_nothing_is_readable(plan: Plan, sealed: bytes) -> None:
    for word in (b"fast", b"slow", b"knee", b"anna", b"M\\u00fcller", b"margin", plan.presentations[0].key.encode(), plan.nonce.encode()):
        assert word in plan.plain()
        assert word not in sealed


@pytest.mark.parametrize("words", ["seven green horses flew", "", "x" * 4000])
def test_another_passphrase_opens_nothing(sealed: bytes, words: str) -> None:
    with pytest.raises(StudyError, match="passphrase is wrong, or somebody changed"):
        unseal(sealed, words)


def test_every_change_is_noticed(sealed: bytes) -> None:
    for place in range(0, len(sealed), 41):
        changed = bytearray(sealed)
        changed[place] ^= 1
        with pytest.raises(StudyError):
            unseal(bytes(changed), WORDS)
    for cut in (0, 5, 30, len(sealed) // 2, len(sealed) - 1):
        with pytest.raises(StudyError):
            unseal(sealed[:cut], WORDS)
    with pytest.raises(StudyError):
        unseal(sealed + b"\0", WORDS)


def test_parameters_beyond_reason_are_not_tried(sealed: bytes) -> None:
    with pytest.raises(StudyError):
        unseal(sealed.replace(b'"ln": 10', b'"ln": 40'), WORDS)


@pytest.mark.parametrize("words", ["short", "eleven char", "           x           "])
def test_a_short_passphrase_is_refused(plan: Plan, words: str) -> None:
    with pytest.raises(StudyError, match="at least 12 characters"):
        seal(plan, words, cost=QUICK)


def test_sealing_twice_shares_nothing(plan: Plan, sealed: bytes) -> None:
    again = seal(plan, WORDS, cost=QUICK)
    assert again[-64:] != sealed[-64:]
    assert unseal(again, WORDS).commitment == plan.commitment


def test_commitment_is_the_hash_of_the_plan_and_hides_it(plan: Plan) -> None:
    assert plan.commitment == hashlib.sha256(plan.plain()).hexdigest()
    same = make_plan(plan.presentations, plan.cases, plan.protocol, plan.seed)
    assert same.commitment != plan.commitment
    assert len(json.loads(plan.plain())["nonce"]) == 64
