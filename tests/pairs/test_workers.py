"""Results come in the order of their jobs, and no process takes more threads than its share."""

import os

import pytest

from onenex.errors import DataError
from onenex.pairs.workers import in_order


def square(number: int) -> int:
    return number * number


def threads(_: int) -> tuple[str | None, str | None]:
    return os.environ.get("OMP_NUM_THREADS"), os.environ.get("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")


def die(number: int) -> int:
    os._exit(number)


@pytest.mark.parametrize("workers", [0, 2])
def test_results_come_in_order(workers: int) -> None:
    assert list(in_order(square, range(9), workers)) == [n * n for n in range(9)]


def test_processes_have_one_thread_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "3")
    assert list(in_order(threads, range(2), 1)) == [("1", "3"), ("1", "3")]
    assert "OMP_NUM_THREADS" not in os.environ
    assert os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] == "3"


def test_a_dead_worker_is_told() -> None:
    with pytest.raises(DataError, match="fewer workers"):
        list(in_order(die, [1], 1))


def test_a_negative_number_of_workers_is_refused() -> None:
    with pytest.raises(DataError, match="0 \\(none"):
        list(in_order(square, [1], -1))
