"""A run on one machine: exact resume, settings that must be the same, failures and lost processes."""

import os
import signal
from pathlib import Path

import fsspec
import pytest

from onenex.batch import Kind, Ledger, Unit, plan
from onenex.batch.job import Job
from onenex.batch.local import _rows, run
from onenex.batch.storage import only_run, scratch, sweep
from onenex.errors import DataError
from onenex.options import Options
from tests.batch.archive import Fake, files
from tests.batch.archive import run as run_here

ARCHIVE_UNITS = {"denoised": 4, "skipped": 1, "failed": 1}


def counted(destination: Path | str) -> dict[str, int]:
    statuses = [row.status for row in Ledger(str(destination)).rows()]
    return {status: statuses.count(status) for status in ARCHIVE_UNITS}


def test_every_unit_gets_its_row_and_a_second_run_does_nothing(archive: Path, tmp_path: Path, fake: Fake) -> None:
    outcome = run_here(archive, tmp_path / "out")
    assert {**outcome.units} == ARCHIVE_UNITS == counted(tmp_path / "out")
    assert {row.unit for row in Ledger(str(tmp_path / "out")).parts()} == {unit.id for unit in plan(str(archive))}
    before, n_asked = files(tmp_path / "out"), len(fake.scales)
    again = run_here(archive, tmp_path / "out")
    assert again.units.total() == 0
    assert len(fake.scales) == n_asked
    assert files(tmp_path / "out") == before
    assert len(list(Ledger(str(tmp_path / "out")).parts())) == 6


@pytest.mark.parametrize(
    ("source", "destination", "workers"),
    [
        ("/scans", "/out", 1.0),
        ("file:///scans", "/out", 1.0),
        ("s3://bucket/scans", "/out", 1.5),
        ("/scans", "s3://bucket/out", 1.5),
        ("dicomweb+https://pacs/dicom-web", "/out", 1.5),
    ],
)
def test_where_files_travel_a_core_has_more_than_one_worker(source: str, destination: str, workers: float) -> None:
    assert Job(source=source, destination=destination).workers_a_core == workers


def test_a_limited_run_is_ended_by_the_next(archive: Path, tmp_path: Path, fake: Fake) -> None:
    assert run_here(archive, tmp_path / "out", limit=2).units.total() == 2
    assert run_here(archive, tmp_path / "out", limit=3).units.total() == 3
    assert run_here(archive, tmp_path / "out").units.total() == 1
    rows = list(Ledger(str(tmp_path / "out")).parts())
    assert len(rows) == len({row.unit for row in rows}) == 6


def test_results_that_have_gone_are_made_again(archive: Path, tmp_path: Path, fake: Fake) -> None:
    run_here(archive, tmp_path / "out")
    note = sorted((tmp_path / "out" / "series").rglob("unit.json"))[0]
    note.unlink()
    assert {**run_here(archive, tmp_path / "out").units} == {"denoised": 1}
    assert note.is_file()


def test_a_row_that_was_lost_comes_from_the_results(archive: Path, tmp_path: Path, fake: Fake) -> None:
    run_here(archive, tmp_path / "out")
    rows = {row.unit: row for row in Ledger(str(tmp_path / "out")).rows() if row.status == "denoised"}
    n_asked = len(fake.scales)
    for part in (tmp_path / "out" / "ledger").iterdir():
        part.unlink()
    run_here(archive, tmp_path / "out")
    assert len(fake.scales) == n_asked
    assert {row.unit: row for row in Ledger(str(tmp_path / "out")).rows() if row.status == "denoised"} == rows


def test_failures_are_tried_again_only_when_asked(archive: Path, tmp_path: Path, fake: Fake) -> None:
    fake.refuse = "head"
    assert run_here(archive, tmp_path / "out").units["failed"] == 4
    fake.refuse = None
    assert run_here(archive, tmp_path / "out").units.total() == 0
    assert {**run_here(archive, tmp_path / "out", retry=True).units} == {"denoised": 3, "failed": 1}
    assert counted(tmp_path / "out") == ARCHIVE_UNITS


def test_other_settings_are_refused_unless_they_may_overwrite(archive: Path, tmp_path: Path, fake: Fake) -> None:
    run_here(archive, tmp_path / "out", limit=4)
    before = {row.unit: row.digest for row in Ledger(str(tmp_path / "out")).rows()}
    for options in (Options(strength=0.5), Options(seed=1), Options(guard=False)):
        with pytest.raises(DataError, match="made otherwise"):
            run_here(archive, tmp_path / "out", options=options)
    (tmp_path / "other.safetensors").write_bytes(b"other weights")
    with pytest.raises(DataError, match=r"weights \w+ instead of"):
        run_here(archive, tmp_path / "out", weights=tmp_path / "other.safetensors")
    assert {**run_here(archive, tmp_path / "out", options=Options(strength=0.5), overwrite=True).units} == ARCHIVE_UNITS
    after = {row.unit: row.digest for row in Ledger(str(tmp_path / "out")).rows()}
    assert all(after[unit] != digest for unit, digest in before.items() if digest)


def test_urls_do_as_well_as_folders(archive: Path, tmp_path: Path, fake: Fake) -> None:
    fsspec.filesystem("memory").put(str(archive), f"/{tmp_path.name}/in", recursive=True)
    memory = f"memory://{tmp_path.name}"
    assert {**run_here(f"{memory}/in", f"{memory}/out").units} == ARCHIVE_UNITS == counted(f"{memory}/out")
    assert run_here(f"{memory}/in", f"{memory}/out").units.total() == 0
    with pytest.raises(DataError, match="this process alone"):
        run(Job(source=f"{memory}/in", destination=f"{memory}/out"), workers=2)
    assert {**run_here(archive.as_uri(), (tmp_path / "file").as_uri()).units} == ARCHIVE_UNITS
    digests = [{row.series: row.digest for row in Ledger(one).rows() if row.slices == 2} for one in (f"{memory}/out", str(tmp_path / "file"))]
    assert digests[0] == digests[1]


def test_source_and_destination_are_kept_apart(archive: Path, tmp_path: Path) -> None:
    for source, destination in ((archive, archive / "out"), (archive / "series1", archive), ("memory://a/b", "memory://a/b/c")):
        with pytest.raises(DataError, match="lie in each other"):
            run_here(source, destination)
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="is a file"):
        run_here(archive, tmp_path / "file")


def test_one_run_at_a_time(archive: Path, tmp_path: Path) -> None:
    with only_run(str(tmp_path / "out")), pytest.raises(DataError, match="another run"):
        run_here(archive, tmp_path / "out")


def test_only_what_dead_processes_left_is_swept(tmp_path: Path) -> None:
    home = tmp_path / ".onenex-batch"
    with scratch(str(tmp_path)) as living:
        (living / "half").write_text("x")
        dead = home / "host-1-00.part"
        dead.mkdir()
        (home / "host-1-00.lock").touch()
        (home / "host-2-00.part").mkdir()
        assert sweep(str(tmp_path)) == 2
        assert {path.name for path in home.iterdir()} == {living.name, living.with_suffix(".lock").name}
    assert list(home.iterdir()) == []


class Deadly(Unit):
    """Kills the process that it's sent to."""

    def __reduce__(self) -> tuple[object, ...]:
        return _die, ()


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_unit_that_kills_its_process_fails_alone(archive: Path, tmp_path: Path) -> None:
    harmless = Unit(id="a" * 32, kind=Kind.DICOM, source="", series="", fingerprint="", problem="no")
    deadly = Deadly(id="d" * 32, kind=Kind.DICOM, source="", series="", fingerprint="")
    job = Job(source=str(archive), destination=str(tmp_path / "out"))
    rows = {row.unit: row for row in _rows(iter([harmless, deadly]), job, 1)}
    assert {unit: row.status for unit, row in rows.items()} == {harmless.id: "skipped", deadly.id: "failed"}
    assert "died" in rows[deadly.id].reason
