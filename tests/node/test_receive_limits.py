"""Whoever sends too much, too slowly, or stops half-way takes nothing from the others."""

import errno
import os
import socket
import struct
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from onenex.node.scp.uids import HEAD_BYTES, NotUnderstood, read_header
from tests.node import raw
from tests.node.mutants import COMMITMENT, CONTEXTS, messages
from tests.node.receiving import receiver, still_serves

OUT_OF_RESOURCES = 0xA700
IDLE_S = 1.0
PATIENCE_S = 10.0
"""Within which the receiver has ended whatever it ends after `IDLE_S`, on a busy machine."""


def test_object_quota(tmp_path: Path) -> None:
    with receiver(tmp_path, object_mb=3) as (server, stock), raw.calling(server.port) as caller:
        caller.associate([(raw.MR, raw.IMPLICIT)])
        for size, status in ((3 * 10**6 + 1, OUT_OF_RESOURCES), (10 * 10**6, OUT_OF_RESOURCES), (2 * 10**6, 0)):
            uid = f"1.2.3.{size}"
            assert caller.store(raw.MR, uid, raw.data_set(uid, pixels=bytes(size))) == status
        assert len(stock.files()) == 1
        assert stock.is_sound()


def bomb(prefix: bytes, n_mib: int) -> bytes:
    """A deflated stream of `prefix` and so many MiB of zeros, a thousandth as long."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    head = packer.compress(prefix) + packer.flush(zlib.Z_FULL_FLUSH)
    one = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return head + one * n_mib + packer.flush(zlib.Z_FINISH)


def explicit(tag: int, vr: str, value: bytes) -> bytes:
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr.encode(), len(value)) + value


UIDS = (
    explicit(0x0008_0016, "UI", raw.even(raw.MR)) + explicit(0x0008_0018, "UI", raw.even("1.2.3.4"))
    + explicit(0x0020_000D, "UI", raw.even("1.2.3")) + explicit(0x0020_000E, "UI", raw.even("1.2.3.1"))
)  # fmt: skip
PIXELS = struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, 2000 * 2**20)
FAT = struct.pack("<HH2sHI", 0x0007, 0x0001, b"OB", 0, 0x7FFF_0000)
"""An element of 2 GB before the UIDs."""


@pytest.mark.parametrize(("prefix", "status"), [(UIDS + PIXELS, 0x0000), (FAT, 0xC000)], ids=["behind", "before"])
def test_decompression_bomb(tmp_path: Path, prefix: bytes, status: int) -> None:
    data = bomb(prefix, 2000)
    assert len(data) < 3 * 2**20
    with receiver(tmp_path) as (server, stock):
        assert still_serves(server.port)
        tracemalloc.start()
        try:
            assert raw.store(server.port, "1.2.3.4", data, syntax=raw.DEFLATED) == status
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 5 * HEAD_BYTES
        assert all(path.stat().st_size < len(data) + 1000 for path in stock.files())
        assert len(stock.files()) == 1 + (status == 0)


def test_header_of_many_empty_elements_ends() -> None:
    empty = struct.pack("<HHI", 0x0007, 1, 0)
    start = time.monotonic()
    with pytest.raises(NotUnderstood):
        read_header(empty * (2 * HEAD_BYTES // len(empty)), raw.IMPLICIT)
    assert time.monotonic() - start < PATIENCE_S


def test_association_quota(tmp_path: Path) -> None:
    """PS3.8 Table 9-21: rejected for now, by the presentation layer, local limit exceeded."""
    with receiver(tmp_path, associations=2) as (server, _):
        with raw.calling(server.port) as first, raw.calling(server.port) as second:
            assert [one.associate(CONTEXTS) for one in (first, second)] == [raw.ASSOCIATE_AC] * 2
            with raw.calling(server.port) as third:
                third.send(raw.associate_rq(CONTEXTS))
                assert third.read() == (raw.ASSOCIATE_RJ, bytes((0, 2, 3, 2)))
            first.release()
            _until(lambda: still_serves(server.port), "a place that is free again")
        _until(lambda: still_serves(server.port), "a place after a hang-up")


def test_crowd_that_says_nothing(tmp_path: Path) -> None:
    """More silent connections than there is room for: they are cut, and then a sender has his place."""
    with receiver(tmp_path, associations=2, idle_s=IDLE_S) as (server, _):
        crowd = [socket.create_connection(("127.0.0.1", server.port), 5) for _ in range(40)]
        try:
            assert all(_is_cut(one) for one in crowd)
            _until(lambda: still_serves(server.port), "a place")  # a caller may see the cut before the server has counted it
            _until(lambda: server._n_connections <= 1, "an end of the crowd")
        finally:
            for one in crowd:
                one.close()


def test_knocks_hold_no_place(tmp_path: Path) -> None:
    """Monitors connect and hang up, or ask for nonsense, all day: that is over at once, not after the time-out."""
    with receiver(tmp_path, associations=2, idle_s=60) as (server, _):
        for words in (b"", raw.pdu(9, b""), raw.pdu(raw.ABORT, bytes(4)), raw.associate_rq(CONTEXTS)[:50]) * 10:
            with raw.calling(server.port) as caller:
                caller.send(words)
        _until(lambda: server._n_connections == 0, "no connection")
        assert still_serves(server.port)


HALF = {
    "connects and says nothing": b"",
    "half a request": raw.associate_rq(CONTEXTS)[:50],
    "half a head": b"\1\0\0",
    "claims 4 GB": raw.pdu(raw.ASSOCIATE_RQ, bytes(100), claimed=0xFFFF_FFFF),
    "claims 1 MB": raw.pdu(raw.ASSOCIATE_RQ, bytes(100), claimed=10**6),
    "web browser": b"GET / HTTP/1.1\r\nHost: pacs\r\n\r\n",
}
THEN = {
    "silence": b"",
    "half a PDU": raw.fragment(bytes(1000), command=False)[:500],
    "claims 4 GB": raw.pdu(raw.P_DATA, bytes(100), claimed=0xFFFF_FFFF),
    "claims the longest": raw.pdu(raw.P_DATA, bytes(100), claimed=262_144),
    "command without data": raw.fragment(raw.store_rq(raw.MR, "1.2.3.4"), command=True),
    "half an object": raw.fragment(raw.store_rq(raw.MR, "1.2.3.4"), command=True) + raw.fragment(bytes(50_000), command=False, last=False),
    "endless command": raw.fragment(bytes(60_000), command=True, last=False) * 3,
    "endless attributes": messages([])[0][0] + raw.fragment(bytes(60_000), command=False, last=False, context=7) * 30,
    "unknown context": raw.fragment(raw.store_rq(raw.MR, "1.2.3.4"), command=True, context=99),
    "fragment of no length": raw.pdu(raw.P_DATA, bytes(4)),
}


def test_half_open_peers(tmp_path: Path) -> None:
    """All kinds at once; meanwhile a proper sender is served, and afterwards nothing is left of them."""
    with receiver(tmp_path, idle_s=IDLE_S) as (server, stock):
        callers = []
        for is_associated, words in [(False, one) for one in HALF.values()] + [(True, one) for one in THEN.values()]:
            connection = socket.create_connection(("127.0.0.1", server.port), PATIENCE_S)
            callers.append(connection)
            if is_associated:
                assert raw.Caller(connection).associate(CONTEXTS) == raw.ASSOCIATE_AC
            connection.sendall(words)
            assert still_serves(server.port, len(callers)), "a proper sender among them"
        try:
            cut = {name: _is_cut(one) for name, one in zip([*HALF, *THEN], callers, strict=True)}
            assert all(cut.values()), [name for name, is_cut in cut.items() if not is_cut]
        finally:
            for one in callers:
                one.close()
        _until(lambda: server._n_connections == 0, "no connection")
        assert len(stock.files()) == len(callers)
        assert stock.is_sound()


@pytest.mark.parametrize("n_bytes", [200_000, 3_000_000])
def test_gone_in_the_middle_of_an_object(tmp_path: Path, n_bytes: int) -> None:
    with receiver(tmp_path) as (server, stock):
        for reset in (False, True):
            with raw.calling(server.port) as caller:
                caller.associate(CONTEXTS)
                caller.send(raw.fragment(raw.store_rq(raw.MR, "1.2.3.4"), command=True))
                data = raw.data_set("1.2.3.4", pixels=bytes(n_bytes))
                for start in range(0, n_bytes, 50_000):
                    caller.send(raw.fragment(data[start : start + 50_000], command=False, last=False))
                if reset:
                    caller.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        _until(lambda: server._n_connections == 0, "no connection")
        assert not stock.half()
        assert not stock.files()
        assert still_serves(server.port)


@pytest.mark.parametrize("stream", [raw.associate_rq(CONTEXTS), None])
def test_slow_loris(tmp_path: Path, stream: bytes | None) -> None:
    """A byte now and then doesn't hold a PDU open for longer than the idle time."""
    with receiver(tmp_path, idle_s=IDLE_S) as (server, _), raw.calling(server.port, timeout_s=PATIENCE_S) as caller:
        if stream is None:
            caller.associate(CONTEXTS)
            stream = raw.fragment(bytes(500), command=False)
        start, said = time.monotonic(), 0
        for one in stream:
            try:
                caller.send(bytes((one,)))
            except OSError:
                break
            said += 1
            time.sleep(IDLE_S / 10)
        assert said < len(stream)
        assert time.monotonic() - start < PATIENCE_S
        assert still_serves(server.port)


def test_deaf_peer(tmp_path: Path) -> None:
    """One that asks and asks and never reads an answer: neither memory nor others suffer."""
    with receiver(tmp_path, idle_s=IDLE_S) as (server, _), raw.calling(server.port, timeout_s=1.0) as caller:
        caller.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        caller.associate(CONTEXTS)
        question = raw.fragment(raw.echo_rq(), command=True, context=5) * 500
        assert not _can_send(caller, question * 1000), "it is not listened to for ever"
        assert still_serves(server.port)


def test_flood_of_promises(tmp_path: Path) -> None:
    """Hundreds of storage commitment reports in one breath don't make hundreds of threads."""
    report = b"".join(next(one for one in messages([]) if one[0][10] == 2 * [abstract for abstract, _ in CONTEXTS].index(COMMITMENT) + 1))
    with receiver(tmp_path) as (server, _), raw.calling(server.port) as caller:
        caller.associate(CONTEXTS)
        most = 0
        sender = threading.Thread(target=lambda: caller.send(report * 300))
        sender.start()
        for _ in range(300):
            assert caller.answer() == 0
            most = max(most, threading.active_count())
        sender.join()
        assert most < 50
        assert still_serves(server.port)


@pytest.mark.parametrize("n_bytes", [100, 3 * 2**20])
def test_disk_fuller_than_the_reserve(tmp_path: Path, n_bytes: int) -> None:
    data = raw.data_set("1.2.3.4", pixels=bytes(n_bytes))
    with receiver(tmp_path, reserve_mb=10**9) as (server, stock), raw.calling(server.port) as caller:
        caller.associate(CONTEXTS)
        assert [caller.store(raw.MR, "1.2.3.4", data) for _ in range(2)] == [OUT_OF_RESOURCES] * 2
        assert not stock.half()
        assert not stock.files()
        assert not stock.rows()
    with receiver(tmp_path) as (server, stock):
        assert raw.store(server.port, "1.2.3.4", data) == 0
        assert stock.is_sound()


@pytest.mark.parametrize("step", ["write", "link", "row"])
def test_disk_full_at_each_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    name = {"write": "os.fsync", "link": "pathlib.Path.hardlink_to", "row": "onenex.node.queue.Queue._insert"}[step]
    data = raw.data_set("1.2.3.4")
    with receiver(tmp_path) as (server, stock):
        with monkeypatch.context() as patch:
            patch.setattr(name, full)
            assert raw.store(server.port, "1.2.3.4", data) == OUT_OF_RESOURCES
        assert not stock.half()
        assert not stock.rows()
        assert raw.store(server.port, "1.2.3.4", data) == 0
        assert stock.is_sound()


def _can_send(caller: raw.Caller, data: bytes) -> bool:
    try:
        caller.send(data)
    except OSError:
        return False
    return True


def _is_cut(connection: socket.socket) -> bool:
    """Whether the other side ends it in time."""
    deadline = time.monotonic() + PATIENCE_S
    connection.settimeout(PATIENCE_S)
    try:
        while connection.recv(65_536):
            if time.monotonic() > deadline:
                return False
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def _until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            if condition():
                return
        except AssertionError:
            pass
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)
