"""The ledger keeps exactly what it was given; the last row of a unit counts."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pyarrow import parquet

from onenex.batch import Ledger, Row, Status, storage
from onenex.errors import DataError

BEGAN = datetime(2026, 3, 1, 8, 30, 0, 123456, tzinfo=UTC)


def row(unit: str, *, status: Status = Status.DENOISED, later_s: float = 0, **values: object) -> Row:
    began = BEGAN + timedelta(seconds=later_s)
    known = {"source": "/scans/Übung", "series": "ab", "fingerprint": "cd", "started": began, "ended": began + timedelta(seconds=2)}
    return Row(**{"unit": unit, "status": status, "slices": 20, "seconds": 1.5, "bytes_in": 3_000_000_000, **known, **values})  # type: ignore[arg-type]


@pytest.mark.parametrize("where", ["folder", "file", "memory"])
def test_rows_come_back_as_they_went_in(tmp_path: Path, where: str) -> None:
    destination = {"folder": str(tmp_path / "out"), "file": (tmp_path / "out").as_uri(), "memory": f"memory://{tmp_path.name}/ledger"}[where]
    rows = [row("b", reason="why: ‘ä’", digest="d" * 64), row("a", status=Status.SKIPPED, bytes_out=7)]
    ledger = Ledger(destination)
    assert list(ledger.rows()) == []
    ledger.add(rows[:1])
    ledger.add(rows[1:])
    ledger.add([])
    assert list(ledger.parts()) == rows
    assert list(Ledger(destination).rows()) == sorted(rows, key=lambda one: one.unit)


def test_the_last_row_of_a_unit_counts_in_whatever_order_parts_were_added(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path))
    ledger.add([row("a", later_s=10), row("b", status=Status.FAILED)])
    ledger.add([row("a", status=Status.FAILED), row("b", later_s=5)])
    assert [(one.unit, one.status, one.started) for one in ledger.rows()] == [
        ("a", "denoised", BEGAN + timedelta(seconds=10)), ("b", "denoised", BEGAN + timedelta(seconds=5)),
    ]  # fmt: skip


def test_others_can_read_it(tmp_path: Path) -> None:
    Ledger(str(tmp_path)).add([row("a"), row("b")])
    table = parquet.read_table(tmp_path / "ledger")
    assert table.column("slices").to_pylist() == [20, 20]
    assert table.column("started").to_pylist() == [BEGAN, BEGAN]
    assert {"unit", "source", "series", "status", "reason", "slices", "seconds", "bytes_in", "bytes_out", "weights", "options", "host", "started",
            "ended", "digest"} <= set(table.column_names)  # fmt: skip


def test_a_damaged_part_is_named(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path))
    ledger.add([row("a")])
    (part,) = (tmp_path / "ledger").iterdir()
    part.write_bytes(part.read_bytes()[:40])
    with pytest.raises(DataError, match=part.name):
        list(ledger.rows())


def test_a_part_whose_rows_are_damaged_is_named_when_it_is_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onenex.batch.ledger._MERGED", 1)
    ledger = Ledger(str(tmp_path))
    ledger.add([row(f"unit {number}", source="x" * number) for number in range(200)])
    (part,) = (tmp_path / "ledger").iterdir()
    content = part.read_bytes()
    part.write_bytes(content[:4] + bytes(400) + content[404:])  # the list of contents at the end is whole
    with pytest.raises(DataError, match=part.name):
        ledger.merge()
    assert [one.name for one in (tmp_path / "ledger").iterdir()] == [part.name]


@pytest.mark.parametrize("where", ["folder", "memory"])
def test_merged_parts_hold_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    monkeypatch.setattr("onenex.batch.ledger._MERGED", 3)
    destination = {"folder": str(tmp_path / "out"), "memory": f"memory://{tmp_path.name}/merged"}[where]
    ledger = Ledger(destination)
    rows = [row(name, later_s=second) for second, name in enumerate("abcadefg")]
    for one in rows:
        ledger.add([one])
    before = list(ledger.rows())
    ledger.merge()
    names = storage.names_in(ledger.folder, ".parquet")
    assert sorted(name.split("-")[0] for name in names) == ["merged", "merged", "part", "part"]
    assert sorted(ledger.parts(), key=lambda one: one.started) == rows
    assert list(ledger.rows()) == before
    ledger.merge()
    assert storage.names_in(ledger.folder, ".parquet") == names


def test_who_reads_while_parts_are_merged_misses_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onenex.batch.ledger._MERGED", 3)
    ledger = Ledger(str(tmp_path))
    for name in "abc":
        ledger.add([row(name)])
    reading = ledger.parts()
    first = next(reading)
    ledger.merge()
    assert {first.unit} | {one.unit for one in reading} == set("abc")


def test_half_written_parts_do_not_count(tmp_path: Path) -> None:
    Ledger(str(tmp_path)).add([row("a")])
    (tmp_path / "ledger" / ".part-2.parquet.123.partial").write_bytes(b"PAR1 and half a table")
    (tmp_path / "ledger" / "notes.txt").write_text("mine")
    assert [one.unit for one in Ledger(str(tmp_path)).rows()] == ["a"]


def test_a_row_survives_json() -> None:
    one = row("a", reason="x")
    assert Row.from_json({**one.as_json(), "of a newer version": 1}) == one
