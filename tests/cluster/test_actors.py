"""An actor on its own: what it does when storage stumbles, when a unit kills its workers, and when its machine differs from the others."""

import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from onenex.batch import Unit, plan
from onenex.batch.job import Job, weights_hash
from onenex.batch.process import process
from onenex.cluster import actors
from onenex.cluster.actors import MOST_TRIES, Denoise, Told, row_of, text_of
from onenex.errors import DataError
from tests.cluster.machines import archive


class _Desk:
    """Answers without Ray."""

    def __init__(self, begun: int) -> None:
        self.begin = types.SimpleNamespace(remote=lambda _unit: begun)
        self.end = types.SimpleNamespace(remote=lambda _unit: None)


@pytest.fixture
def told(tmp_path: Path) -> Told:
    job = Job(source=str(archive(tmp_path / "in", n_series=1, n_slices=1, size=32)), destination=str(tmp_path / "out"))
    return Told(job=job, weights_hash=weights_hash(None), device="cpu", threads=1)


@pytest.fixture(autouse=True)
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """`ray.get` of what `_Desk` answers; and nobody waits."""
    monkeypatch.setitem(__import__("sys").modules, "ray", types.SimpleNamespace(get=lambda answer: answer))
    monkeypatch.setattr(actors.time, "sleep", lambda _seconds: None)


def _said(told: Told, *, begun: int = 1) -> tuple[str, str]:
    [unit] = plan(told.job.source)
    answer = Denoise(told, _Desk(begun))({"kind": ["unit"], "text": [text_of(unit)]})
    return answer["kind"][0], answer["text"][0]


def _failing(errors: Iterator[Exception]) -> Any:
    def stumbling(unit: Unit, *arguments: Any, **named: Any) -> Any:
        for error in errors:
            raise error
        return process(unit, *arguments, **named)

    return stumbling


def test_a_unit_is_done(told: Told) -> None:
    kind, text = _said(told)
    assert (kind, row_of(text).status) == ("row", "denoised")


def test_storage_is_asked_again(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actors, "process", _failing(iter([ConnectionResetError(104, "Doe^Jane"), TimeoutError("Doe^Jane")])))
    kind, text = _said(told)
    assert (kind, row_of(text).status) == ("row", "denoised")


@pytest.mark.parametrize(("error", "said"), [(OSError(5, "Doe^Jane"), "OSError 5 at test_actors.py"), (KeyError("Doe^Jane"), "unexpected KeyError")])
def test_what_stays_broken_fails_the_unit_alone(told: Told, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str) -> None:
    monkeypatch.setattr(actors, "process", _failing(iter([error] * 9)))
    kind, text = _said(told)
    row = row_of(text)
    assert (kind, row.status) == ("row", "failed")
    assert said in row.reason
    assert "Doe" not in row.reason


def test_a_unit_that_kills_its_workers_is_given_up(told: Told) -> None:
    assert row_of(_said(told, begun=MOST_TRIES)[1]).status == "denoised"
    row = row_of(_said(told, begun=MOST_TRIES + 1)[1])
    assert row.status == "failed"
    assert f"died {MOST_TRIES} times" in row.reason


def test_a_destination_that_cannot_be_written_to_ends_the_run(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actors, "process", _failing(iter([DataError("the disk is full")])))
    kind, text = _said(told)
    assert kind == "error"
    assert "the disk is full" in text


def test_machines_that_differ_are_refused(told: Told) -> None:
    for wrong in ({"weights_hash": "0" * 12}, {"version": "0.0.0"}):
        kind, text = _said(types.SimpleNamespace(**(vars(told) | wrong)))  # type: ignore[arg-type]
        assert kind == "error"
        assert "every machine" in text
