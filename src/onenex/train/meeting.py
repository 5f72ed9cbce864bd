"""Where the processes of a run find each other, also after torchrun has started them again."""

from __future__ import annotations

import json
import secrets
import time
from datetime import timedelta

from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from onenex.errors import DataError

_PAUSE_S = 0.05


def meet(rank: int, size: int, patience: timedelta) -> Store:
    """Return a store that holds nothing but what the processes of this start write.

    torchrun keeps one store for all its starts of the processes, and PyTorch writes each process's address there under the same name:
    a process that is quick finds the address of a dead one (pytorch/pytorch issues 135712 and 167288). So the leader makes up
    a name, the others answer under it with names of their own, and it lists whom it has heard; who isn't on the list has read
    the name of a leader of the past, and looks again.

    Raises
    ------
    DataError
        Not all of them came.
    """
    base, rank, size = next(rendezvous("env://", rank, size, timeout=patience))
    store, own = PrefixStore("onenex", base), secrets.token_hex(8)
    lead = _gather(store, own, size) if rank == 0 else _answer(store, own, rank, patience)
    return PrefixStore(lead, store)


def _gather(store: Store, own: str, size: int) -> str:
    """Announce this leader, hear all others, and say so."""
    store.set("lead", own)
    heard = [store.get(f"{own}/{other}").decode() for other in range(1, size)]  # waits for each
    store.set(f"{own}/heard", json.dumps(heard))
    return own


def _answer(store: Store, own: str, rank: int, patience: timedelta) -> str:
    """Answer the leader until it has heard this process."""
    deadline = time.monotonic() + patience.total_seconds()
    while time.monotonic() < deadline:
        lead = store.get("lead").decode()
        store.set(f"{lead}/{rank}", own)
        if store.check([f"{lead}/heard"]) and own in json.loads(store.get(f"{lead}/heard")):
            return str(lead)
        time.sleep(_PAUSE_S)
    raise DataError(f"process {rank} was not heard by the first one within {patience}: see why that one did not start")
