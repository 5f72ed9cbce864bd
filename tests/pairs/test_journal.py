"""The journal of a build: what was noted comes back, what was cut off counts as not there."""

from dataclasses import replace
from pathlib import Path

import pytest

from onenex.errors import DataError
from onenex.pairs.manifest import Row
from onenex.pairs.packing import journal

ROW = Row(
    id="ab", kind="repeats", split="train", patient="cd", slice=3, accepted=True, rows=8, columns=9, fast_repeats=(0, 1), scales=(1.0, 0.5), nmi=None
)


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    rows = [[ROW, replace(ROW, slice=4, accepted=False, reason="not aligned")], [replace(ROW, id="ef", transform=(1.0,) * 12)]]
    for scan in rows:
        journal.note(tmp_path, scan)
    assert journal.read(tmp_path) == [row for scan in rows for row in scan]
    journal.clear(tmp_path)
    assert journal.read(tmp_path) == []


@pytest.mark.parametrize("kept", [1, 40, -1])
def test_a_scan_whose_line_was_cut_off_is_made_again(tmp_path: Path, kept: int) -> None:
    journal.note(tmp_path, [ROW])
    whole = (tmp_path / journal.NAME).read_bytes()
    (tmp_path / journal.NAME).write_bytes(whole + whole[:kept])
    assert journal.read(tmp_path) == [ROW]


def test_other_damage_is_named(tmp_path: Path) -> None:
    journal.note(tmp_path, [ROW])
    path = tmp_path / journal.NAME
    path.write_bytes(b"{]\n" + path.read_bytes())
    with pytest.raises(DataError, match="line 1 is damaged"):
        journal.read(tmp_path)
