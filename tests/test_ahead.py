"""Reading ahead and writing behind: really beside the model, one stack each way, and no error gets lost."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onenex import ahead
from onenex.ahead import Ahead, Behind
from onenex.errors import UnsupportedSeries
from onenex.inputs import read_series
from onenex.pipeline import denoise_path
from onenex.series import Acquisition, Denoised, FloatImages, Series, SliceStack
from tests.fake_model import FakeModel
from tests.test_pipeline import write_dicom

LIMIT_S = 20.0


class Meeting:
    """Two threads that must be there at the same time."""

    def __init__(self) -> None:
        self.barrier = threading.Barrier(2)

    def wait(self) -> None:
        self.barrier.wait(LIMIT_S)


@pytest.fixture
def series(tmp_path: Path) -> list[Series]:
    for number in (1, 2, 3):
        write_dicom(tmp_path / "in" / str(number), number, shape=(2, 24, 24))
    return read_series(tmp_path / "in")


def test_a_stack_is_read_while_the_caller_does_something_else(series: list[Series], monkeypatch: pytest.MonkeyPatch) -> None:
    meeting, one = Meeting(), series[0]
    read = ahead.read_stack

    def meet(given: Series, stack: SliceStack) -> FloatImages:
        meeting.wait()
        return read(given, stack)

    monkeypatch.setattr(ahead, "read_stack", meet)
    with Ahead() as reader:
        reader.begin(one, one.stacks[0])
        meeting.wait()
        images = reader.take(one, one.stacks[0])
    np.testing.assert_array_equal(images, read(one, one.stacks[0]))


def test_what_was_not_begun_or_was_for_another_is_read_when_it_is_taken(series: list[Series]) -> None:
    with Ahead() as reader:
        first = reader.take(series[0], series[0].stacks[0])
        reader.begin(series[1], series[1].stacks[0])
        again = reader.take(series[0], series[0].stacks[0])
    np.testing.assert_array_equal(first, again)


def test_a_stack_that_cannot_be_read_says_so_where_it_is_taken(series: list[Series]) -> None:
    stack = replace(series[0].stacks[0], rows=8)
    with Ahead() as reader:
        reader.begin(series[0], stack)
        with pytest.raises(UnsupportedSeries, match="below 16 rows"):
            reader.take(series[0], stack)


def test_large_stacks_are_alone(series: list[Series], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "MOST_PIXELS", 10)
    stack = series[0].stacks[0]
    threads: list[threading.Thread] = []
    monkeypatch.setattr(ahead, "read_stack", lambda *_: threads.append(threading.current_thread()))
    with Ahead() as reader, Behind() as behind:
        reader.begin(series[0], stack)
        assert threads == []
        reader.take(series[0], stack)
        behind.do(lambda _: threads.append(threading.current_thread()), stack)
        assert len(threads) == 2
    assert threads[0] is threading.current_thread() is not threads[1]


def test_only_one_thing_is_behind(series: list[Series]) -> None:
    stack, meeting = series[0].stacks[0], Meeting()
    order: list[str] = []

    def write(_: SliceStack, name: str) -> None:
        if name == "first":
            meeting.wait()
        order.append(name)

    with Behind() as behind:
        behind.do(write, stack, "first")
        meeting.wait()
        behind.do(write, stack, "second")
        assert order[0] == "first"
    assert order == ["first", "second"]


def test_what_went_wrong_behind_is_raised_next_or_at_the_end(series: list[Series]) -> None:
    stack = series[0].stacks[0]

    def fail(_: SliceStack) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"), Behind() as behind:
        behind.do(fail, stack)
    with Behind() as behind:
        behind.do(fail, stack)
        with pytest.raises(OSError, match="No space"):
            behind.do(fail, stack)
    behind = Behind()
    behind.do(fail, stack)
    behind.__exit__(ValueError, ValueError("mine"), None)  # the trouble of the block is the one to tell


class Waiting(FakeModel):
    """Begins to denoise only when the next series is being read, if there is one."""

    def __init__(self, read: list[str], n_series: int) -> None:
        super().__init__()
        self.read, self.n_series, self.n_begun, self.changed = read, n_series, 0, threading.Condition()

    def denoise(self, images: FloatImages, acquisition: Acquisition, **rest: Any) -> Denoised:
        self.n_begun += 1
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.read) >= min(self.n_begun + 1, self.n_series), LIMIT_S)
        assert len(self.read) <= self.n_begun + 1
        return super().denoise(images, acquisition, **rest)


def test_the_next_series_is_read_while_the_model_works(tmp_path: Path, series: list[Series], monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    model, really = Waiting(read, len(series)), ahead.read_stack

    def note(given: Series, stack: SliceStack) -> FloatImages:
        images = really(given, stack)
        with model.changed:
            read.append(given.uid)
            model.changed.notify_all()
        return images

    monkeypatch.setattr(ahead, "read_stack", note)
    report = denoise_path(tmp_path / "in", tmp_path / "out", model=model)
    assert [one.status for one in report.series] == ["denoised"] * 3
    assert len(read) == len(set(read)) == 3
