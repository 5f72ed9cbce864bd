"""Damaged objects and PDUs: the receiver never falls, never hangs, says what is wrong, and then takes a proper image.

`make test-fuzz` tries 100,000 (`ONENEX_FUZZ`); the suite a few hundred. Hypothesis draws the seeds; a failure names its seed.
"""

import os
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onenex.node.scp.uids import NotUnderstood, read_header
from tests.node import mutants, raw
from tests.node.receiving import Receiving, receiver_process, still_serves

N_MUTANTS = int(os.environ.get("ONENEX_FUZZ", "400"))
IS_LONG = N_MUTANTS > 1000
BATCH = 50
LONGEST_S = 5.0
"""That a single one may take."""
STATUSES = {0x0000, 0x0111, 0xA900, 0xC000}
"""What an object may be answered; A700 would be an exception that nobody foresaw."""
CALLERS = 4


def several(share: float) -> settings:
    """As many examples as are this share of all mutants, `BATCH` each."""
    n_examples = max(1, round(N_MUTANTS * share / BATCH))
    return settings(
        max_examples=n_examples, deadline=None, database=None, derandomize=not IS_LONG, suppress_health_check=list(HealthCheck), print_blob=False
    )


seeds = st.integers(0, 2**63)
objects = cache(mutants.objects)


@cache
def pieces() -> tuple[list[bytes], list[list[bytes]]]:
    return mutants.requests(), mutants.messages([*objects()[raw.IMPLICIT], raw.data_set("1.2.3.4")])


@pytest.fixture(scope="module")
def receiving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiving]:
    with receiver_process(tmp_path_factory.mktemp("fuzz"), limits={"idle_s": 3.0, "associations": 20, "object_mb": 64}) as running:
        yield running
        text = running.log.read_text()
        print(running.tally())
        assert "Traceback" not in text, text[text.index("Traceback") :][:3000]
        assert "cannot be kept" not in text
        assert running.process.poll() is None


@several(0.5)
@given(seed=seeds)
def test_headers_of_mutants(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(BATCH):
        syntax = chance.choice(list(objects()))
        own = chance.choice(objects()[syntax])
        mutant = mutants.spoil(chance, own, objects()[raw.EXPLICIT])
        agreed = syntax if chance.random() < 0.9 else chance.choice(list(objects()))
        start = time.monotonic()
        try:
            header = read_header(mutant, agreed)
        except NotUnderstood:
            header = None
        assert time.monotonic() - start < LONGEST_S
        if header is not None:
            assert all(0 < len(uid) <= 64 and uid.isprintable() for uid in vars(header).values())


def test_mutated_objects_over_associations(receiving: Receiving) -> None:
    answers: Counter[str] = Counter()

    @several(0.2)
    @given(seed=seeds)
    def trial(seed: int) -> None:
        chance = random.Random(seed)
        syntax = chance.choice(list(objects()))
        with raw.calling(receiving.port) as caller:
            assert caller.associate([(raw.MR, syntax)]) == raw.ASSOCIATE_AC
            for _ in range(BATCH):
                mutant = mutants.spoil(chance, chance.choice(objects()[syntax]), objects()[raw.EXPLICIT])
                uid = _uid_of(mutant, syntax)
                status = caller.store(raw.MR, uid, mutant, piece=chance.choice((500, 16_000, 60_000)))
                assert status in STATUSES
                answers[f"{status:04X}"] += 1
            caller.release()

    trial()
    print(f"\nobjects by status: {dict(answers)}")
    _is_well(receiving)


def _uid_of(mutant: bytes, syntax: str) -> str:
    try:
        return read_header(mutant, syntax).sop_uid
    except NotUnderstood:
        return "1.2.3.4"


def test_mutated_pdus(receiving: Receiving) -> None:
    total: Counter[str] = Counter()

    @several(0.3)
    @given(seed=seeds)
    def trial(seed: int) -> None:
        with ThreadPoolExecutor(CALLERS) as pool:
            ends = Counter(pool.map(lambda number: _converse(receiving.port, random.Random(f"{seed}-{number}")), range(BATCH)))
        total.update(ends)
        assert not ends["hangs"], f"{ends['hangs']} of {BATCH} conversations were not ended within {LONGEST_S + 3:g} s"

    trial()
    print(f"\nconversations by end: {dict(total)}")
    _is_well(receiving)


def _converse(port: int, chance: random.Random) -> str:
    """Say something damaged, hang up, and wait until the other side does."""
    asks, says = pieces()
    everything = [*asks, *(part for one in says for part in one)]
    try:
        with raw.calling(port, timeout_s=LONGEST_S + 3.0) as caller:
            if chance.random() < 0.4:
                caller.send(mutants.spoil(chance, chance.choice(asks), everything))
            else:
                caller.send(chance.choice(asks))
                if caller.read()[0] != raw.ASSOCIATE_AC:
                    return "refused"
                caller.send(b"".join(_spoilt_message(chance, everything, says)))
            caller.connection.shutdown(socket.SHUT_WR)
            while caller.connection.recv(65_536):
                pass
    except TimeoutError:
        return "hangs"
    except OSError:
        return "cut"
    return "ended"


def _spoilt_message(chance: random.Random, everything: list[bytes], says: list[list[bytes]]) -> list[bytes]:
    """A few messages of which one PDU, or what is in it, is damaged, or that come in the wrong order."""
    stream = [part for _ in range(chance.randint(1, 3)) for part in chance.choice(says)]
    at = chance.randrange(len(stream))
    way = chance.random()
    if way < 0.5:  # inside a well-formed PDU
        head, inner = stream[at][10:12], mutants.spoil(chance, stream[at][12:], everything)
        flags = bytes((head[0], head[1] if chance.random() < 0.7 else chance.randrange(256)))
        stream[at] = raw.pdu(raw.P_DATA, len(inner + flags).to_bytes(4, "big") + flags + inner)
    elif way < 0.8:
        stream[at] = mutants.spoil(chance, stream[at], everything)
    elif way < 0.9:
        chance.shuffle(stream)
    else:
        stream.insert(at, chance.choice((raw.pdu(raw.RELEASE_RQ, bytes(4)), raw.pdu(raw.ABORT, bytes(4)), chance.choice(everything))))
    return stream


def _is_well(receiving: Receiving) -> None:
    """It takes a proper image, has let go of everything, and holds what its rows say."""
    number = threading.get_native_id() + int(time.monotonic() * 1000)
    assert still_serves(receiving.port, number)
    process, deadline = psutil.Process(receiving.process.pid), time.monotonic() + 10
    while process.num_threads() > receiving.idle_threads + 1 or len(process.net_connections()) > 1:
        assert time.monotonic() < deadline, f"{process.num_threads()} threads and {len(process.net_connections())} connections are left"
        time.sleep(0.05)
    assert not receiving.stock.half()
    assert sorted(receiving.stock.rows().values()) == receiving.stock.files()
    assert Path(f"/proc/{receiving.process.pid}").is_dir()
