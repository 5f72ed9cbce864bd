"""The audit trail shows what was changed in it, survives crashes, and names nobody."""

import json
import logging
import multiprocessing
import re
from pathlib import Path

import pytest

from onenex.errors import NodeError
from onenex.node import audit
from onenex.node.audit import Audit, json_logging, uid_hash

UID = "1.2.840.113619.2.1"


@pytest.fixture
def trail(tmp_path: Path) -> Audit:
    trail = Audit(tmp_path)
    for number in range(5):
        trail.write("received", series=uid_hash(UID), images=number)
    return trail


def test_untouched_trail_verifies(trail: Audit) -> None:
    assert trail.verify() == 5
    lines = [json.loads(line) for line in trail.path.read_text().splitlines()]
    assert [line["images"] for line in lines] == [0, 1, 2, 3, 4]
    assert lines[0]["previous"] == "0" * 64
    assert UID not in trail.path.read_text()


def test_no_trail_is_an_empty_one(tmp_path: Path) -> None:
    assert Audit(tmp_path).verify() == 0


@pytest.mark.parametrize("line", range(4))
def test_changed_line_shows(trail: Audit, line: int) -> None:
    lines = trail.path.read_text().splitlines(keepends=True)
    lines[line] = lines[line].replace('"images": ', '"images": 1')
    trail.path.write_text("".join(lines))
    with pytest.raises(NodeError, match=f"line {line + 2}"):
        trail.verify()


@pytest.mark.parametrize("line", range(4))
def test_missing_line_shows(trail: Audit, line: int) -> None:
    lines = trail.path.read_text().splitlines(keepends=True)
    del lines[line]
    trail.path.write_text("".join(lines))
    with pytest.raises(NodeError, match=f"line {line + 1}"):
        trail.verify()


def test_swapped_lines_and_rubbish_show(trail: Audit) -> None:
    text = trail.path.read_text()
    lines = text.splitlines(keepends=True)
    trail.path.write_text("".join([lines[1], lines[0], *lines[2:]]))
    with pytest.raises(NodeError, match="line 1"):
        trail.verify()
    trail.path.write_text("".join([*lines[:2], "rubbish\n", *lines[2:]]))
    with pytest.raises(NodeError, match="line 4"):
        trail.verify()
    trail.path.write_text(text + "rubbish\n")
    with pytest.raises(NodeError, match="line 6"):
        trail.verify()


def test_line_torn_at_every_byte_is_survived(tmp_path: Path) -> None:
    trail = Audit(tmp_path)
    trail.write("first")
    first = trail.path.read_bytes()
    trail.write("second")
    second = trail.path.read_bytes()[len(first) :]
    for cut in range(len(second)):
        trail.path.write_bytes(first + second[:cut])
        trail.write("third")
        trail.write("fourth")
        assert trail.verify() == (3 if cut == 0 else 4)
    trail.path.write_bytes(first + second[:20])
    assert trail.verify() == 1


def test_crash_between_a_torn_lines_end_and_the_next_is_survived(tmp_path: Path) -> None:
    trail = Audit(tmp_path)
    trail.write("first")
    with trail.path.open("ab") as file:
        file.write(b'{"time": "20\n')
    trail.write("second")
    assert trail.verify() == 3


def test_long_lines_are_chained_too(tmp_path: Path) -> None:
    trail = Audit(tmp_path)
    for _ in range(3):
        trail.write("long", text="x" * 200_000)
    assert trail.verify() == 3


def _write_some(folder: Path, name: str) -> None:
    trail = Audit(folder)
    for number in range(20):
        trail.write(name, number=number, key=uid_hash(UID))


def test_processes_share_one_trail_and_one_key(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_some, args=(tmp_path, f"writer {number}")) for number in range(3)]
    for one in writers:
        one.start()
    for one in writers:
        one.join(60)
        assert one.exitcode == 0
    trail = Audit(tmp_path)
    assert trail.verify() == 60
    assert {json.loads(line)["key"] for line in trail.path.read_text().splitlines()} == {uid_hash(UID)}


def test_hash_needs_the_folders_key(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    audit.use_key(tmp_path / "a")
    one = uid_hash(UID)
    audit.use_key(tmp_path / "b")
    assert uid_hash(UID) != one
    audit.use_key(tmp_path / "a")
    assert uid_hash(UID) == one
    assert re.fullmatch("[0-9a-f]{16}", one)
    assert (tmp_path / "a" / "audit.key").stat().st_mode & 0o077 == 0


def test_damaged_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "audit.key").write_bytes(b"short")
    with pytest.raises(NodeError, match="damaged"):
        Audit(tmp_path)


def test_logs_are_json_lines_without_messages_of_strangers(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before, level, peers = root.handlers[:], root.level, logging.getLogger("pynetdicom").level
    try:
        json_logging("INFO")
        try:
            raise ValueError("PatientName Doe^John")
        except ValueError:
            logging.getLogger("onenex.node.x").exception("event=failed series=%d", 7)
        logging.getLogger("pynetdicom.acse").info("Doe^John")
        lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    finally:
        root.handlers[:] = before
        root.setLevel(level)
        logging.getLogger("pynetdicom").setLevel(peers)
    assert len(lines) == 1
    assert lines[0]["message"] == "event=failed series=7"
    assert lines[0]["error"] == "ValueError"
    assert "test_audit.py" in lines[0]["where"][0]
    assert "Doe" not in json.dumps(lines)
