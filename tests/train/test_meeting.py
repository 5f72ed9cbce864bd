"""Processes meet those of their own start, whatever earlier ones have left in the store."""

import threading
import time
from datetime import timedelta

import pytest
from torch.distributed import HashStore
from torch.distributed.distributed_c10d import PrefixStore, Store

from onenex.errors import DataError
from onenex.train import meeting

PATIENCE = timedelta(seconds=10)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    shared: Store = HashStore()
    monkeypatch.setattr(meeting, "rendezvous", lambda url, rank, size, timeout: iter([(shared, rank, size)]))
    return shared


def everybody(size: int, patience: timedelta = PATIENCE, late: float = 0.0) -> list[Store]:
    """The leader comes `late` seconds after the others."""
    found: dict[int, Store] = {}

    def come(rank: int) -> None:
        time.sleep(0 if rank else late)
        found[rank] = meeting.meet(rank, size, patience)

    threads = [threading.Thread(target=come, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [found[rank] for rank in range(size)]


def test_all_get_one_store(store: Store) -> None:
    first, *others = everybody(3)
    first.set("address", "here")
    assert [other.get("address") for other in others] == [b"here"] * 2


def test_a_second_start_sees_nothing_of_the_first(store: Store) -> None:
    """Even when its leader is the last to come and the others find everything as the dead left it."""
    for one in everybody(3):
        one.set("address", "of the dead")
    again = everybody(3, late=0.3)
    assert not any(one.check(["address"]) for one in again)
    again[0].set("address", "here")
    assert again[2].get("address") == b"here"


def test_who_is_not_heard_says_so(store: Store) -> None:
    PrefixStore("onenex", store).set("lead", "a dead one")
    with pytest.raises(DataError, match="process 1 was not heard"):
        meeting.meet(1, 2, timedelta(seconds=0.2))
