"""A small study in a folder, served on a loopback port: what the tests of the pages begin with."""

from __future__ import annotations

import re
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np

from onenex.reader.app import run
from onenex.reader.items import BUILT_IN
from onenex.reader.keeping.tables import make_database
from onenex.reader.keeping.views import Facts, Image, ReadingView, Stack
from onenex.reader.records import Kind, Presentation
from onenex.reader.store import Store
from onenex.web.passwords import hash_password

PASSWORD = "correct horse"
READERS = ("anna", "bela")
ADMIN = "chief"
SMALL = Stack(n_slices=5, rows=24, columns=32, spacing_mm=(4.0, 0.8, 0.6), window=(30_000, 50_000))
RATED = ("overall_quality", "snr", "sharpness", "artefacts", "confidence", "comment")
READINGS = {
    "quality": (Kind.RATING, RATED),
    "compare": (Kind.PREFERENCE, ("preference", "comment")),
    "spine": (Kind.TASK, ("pfirrmann", "fazekas_deep")),
    "knee": (Kind.TASK, ("meniscus_tear", "acl_tear", "cartilage_defect", "effusion", "comment")),
}
HASH = hash_password(PASSWORD, cost=10)


@dataclass
class Made:
    """A study, with what it hides."""

    folder: Path
    plan: list[Presentation]
    now: float = field(default_factory=time.time)

    def store(self) -> Store:
        return Store(self.folder)

    def of(self, reader: str, session: int = 1) -> list[Presentation]:
        return sorted((one for one in self.plan if (one.reader, one.session) == (reader, session)), key=lambda one: one.position)


Drawn = Callable[[str, tuple[str, ...], int, Stack], np.ndarray]


def noise(_: str, arms: tuple[str, ...], side: int, stack: Stack) -> np.ndarray:
    random = np.random.default_rng(abs(hash((arms, side))))
    return random.integers(0, 65536, (stack.n_slices, stack.rows, stack.columns), dtype=np.uint16)


def make(
    folder: Path, wanted: Sequence[tuple[str, tuple[str, ...]]], *, stack: Stack = SMALL, draw: Drawn = noise, readers: Sequence[str] = READERS
) -> Made:
    """Make a study in which each reader is shown `wanted` (reading, arms), the first as training, and one more in session 2."""
    (folder / "images").mkdir(parents=True)
    plan: list[Presentation] = []
    pictures: dict[str, list[Image]] = {}
    known: dict[int, tuple[Path, np.ndarray]] = {}
    for reader in readers:
        for position, (reading, arms) in enumerate([*wanted, wanted[0]]):
            last = position == len(wanted)
            one = Presentation(
                key=secrets.token_hex(16),
                reader=reader,
                reading=reading,
                session=2 if last else 1,
                position=0 if last else position,
                case=f"casus{position}",
                arms=arms,
                is_training=position == 0,
            )
            plan.append(one)
            pictures[one.key] = [Image(token=secrets.token_hex(16), stack=stack) for _ in arms]
            for side, image in enumerate(pictures[one.key]):
                path = folder / "images" / f"{image.token}.bin"
                drawn = draw(one.case, arms, side, stack)
                if id(drawn) in known:
                    path.hardlink_to(known[id(drawn)][0])
                else:
                    path.write_bytes(drawn.astype("<u2").tobytes())
                known[id(drawn)] = (path, drawn)
    facts = Facts(
        title="Knee, <b>one</b> average", wash_out_days=14.0, created_wall=time.time(), commitment="0" * 64, unblinded_wall=None, unblinded_by=""
    )
    asked = [
        ReadingView(name=name, kind=kind, items=tuple(BUILT_IN[item] for item in items), instructions=f"Please read. {name} & so on.")
        for name, (kind, items) in READINGS.items()
    ]
    make_database(folder, facts, asked, readers, shown=plan, pictures=pictures)
    store = Store(folder)
    for reader in readers:
        store.add_reader(reader, HASH)
    store.add_reader(ADMIN, HASH, admin=True)
    store.close()
    return Made(folder, plan)


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve a study; yield its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    stop = threading.Event()
    thread = threading.Thread(target=run, args=(folder, stop), kwargs={"port": port})
    thread.start()
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        stop.set()
        thread.join(15)
    assert not thread.is_alive()


@dataclass
class Reader:
    """A reader's browser without a screen."""

    http: httpx.Client
    token: str = ""

    def log_in(self, user: str, password: str = PASSWORD) -> httpx.Response:
        form = token_in(self.http.get("/login").text)
        answer = self.http.post("/login", data={"token": form, "user": user, "password": password})
        self.token = self.http.get("/token").json().get("token", "")
        return answer

    def save(self, key: str, *, token: str | None = None, **said: object) -> httpx.Response:
        body = {"item": "snr", "where": "", "value": 3, "version": 0} | said
        return self.http.post(f"/read/{key}/answer", json=body, headers={"X-Token": self.token if token is None else token})

    def finish(self, key: str) -> httpx.Response:
        return self.http.post(f"/read/{key}/finish", data={"token": self.token})

    def answer_all(self, key: str, store: Store) -> None:
        """Answer every question of a presentation with the lowest grade, through the page."""
        shown = store.shown(key)
        assert shown is not None
        for item in shown.reading.items:
            for where in item.where if item.labels else ():
                answer = self.save(key, item=item.name, where=where, value=item.values[0])
                assert answer.status_code == 200, answer.text


@contextmanager
def reader(address: str, user: str | None = None) -> Iterator[Reader]:
    with httpx.Client(base_url=address, timeout=20) as http:
        one = Reader(http)
        if user is not None:
            assert one.log_in(user).status_code == 303
        yield one


def token_in(page: str) -> str:
    """Return the token of a page's last form: of the login form that of the browser, not that of the session."""
    return str(re.findall(r'name="token" value="([0-9a-f]+)"', page)[-1])
