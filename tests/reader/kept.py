"""A study without images: two readers, two sessions of two presentations each, and one for training."""

from __future__ import annotations

from pathlib import Path

from onenex.reader.items import BUILT_IN
from onenex.reader.keeping.tables import make_database
from onenex.reader.keeping.views import Facts, Image, ReadingView, Stack
from onenex.reader.records import Item, Kind, Presentation, Scale
from onenex.reader.store import Store
from onenex.web.passwords import hash_password
from tests.reader.sources import Clock

LEVELS = Item(name="levels", question="?", scale=Scale.GRADE, labels=("a", "b", "c"), where=("L1", "L2"))
NOTE = Item(name="note", question="?", scale=Scale.TEXT, required=False)
STACK = Stack(n_slices=2, rows=4, columns=3, spacing_mm=None, window=(100, 200))


def presentation(reader: str, session: int, position: int, **more: bool) -> Presentation:
    key = f"{reader}{session}{position}".encode().hex().rjust(32, "0")
    return Presentation(key=key, reader=reader, reading="quality", session=session, position=position, case="c", arms=("x",), **more)


PLAN = [presentation(reader, session, position) for reader in ("anna", "bela") for session in (1, 2) for position in (0, 1)]
TRAINING = presentation("anna", 1, 2, is_training=True)
A, B = PLAN[0], PLAN[1]


def small_study(folder: Path, clock: Clock) -> Store:
    items = (BUILT_IN["overall_quality"], LEVELS, NOTE)
    facts = Facts(title="T", wash_out_days=14, created_wall=clock(), commitment="c" * 64, unblinded_wall=None, unblinded_by="")
    shown = [*PLAN, TRAINING]
    pictures = {one.key: (Image(token=one.key[::-1], stack=STACK),) for one in shown}
    make_database(
        folder,
        facts,
        [ReadingView(name="quality", kind=Kind.RATING, items=items, instructions="Look.")],
        ["anna", "bela"],
        shown=shown,
        pictures=pictures,
    )
    store = Store(folder, wall=clock)
    store.add_reader("chief", hash_password("secret", cost=4), admin=True)
    return store
