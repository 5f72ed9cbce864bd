"""Results on the disk: whole or not there, told from every other, taken over after a crash."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from onenex.node import outbox
from onenex.node.outbox import Result, adopt, item_of, link_sources, publish, remove, staging
from onenex.node.records import Item, Job
from tests.dicom.make import make_series


@pytest.fixture
def job(tmp_path: Path) -> Job:
    files = tuple(make_series(tmp_path / "instances" / "1.2" / "1.2.3", 2, 16, 16))
    return Job(
        series_id=7, pass_number=1, study_uid="1.2", series_uid="1.2.3", rule="all", destinations=("near",), files=files, attempt=1, owner="me"
    )  # fmt: skip


@pytest.fixture
def outboxes(tmp_path: Path) -> Path:
    (tmp_path / "outbox").mkdir()
    return tmp_path / "outbox"


def published(outboxes: Path, job: Job, note: str = "a part was skipped") -> Result:
    with staging(outboxes, job) as folder:
        made = make_series(folder / "out" / "series", 2, 16, 16, seed=9)
        result = Result(outputs=tuple(item_of(path) for path in made), note=note, details={"mode": "fast", "notes": ["ä"]})
        return publish(folder / "out", outboxes / "7-1", job, result)


def test_a_result_is_published_whole_and_adopted(outboxes: Path, job: Job) -> None:
    result = published(outboxes, job)
    assert sorted(path.name for path in outboxes.iterdir()) == ["7-1"]
    assert all(one.path.parent == outboxes / "7-1" / "series" and one.path.is_file() for one in result.outputs)
    assert adopt(outboxes / "7-1", job) == result
    assert adopt(outboxes / "7-2", job) is None


def test_of_two_workers_the_faster_one_counts(outboxes: Path, job: Job) -> None:
    first = published(outboxes, job, "first")
    assert published(outboxes, job, "second") == first
    assert sorted(path.name for path in outboxes.iterdir()) == ["7-1"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: next(folder.rglob("*.dcm")).unlink(),
        lambda folder: next(folder.rglob("*.dcm")).write_bytes(b"half"),
        lambda folder: (folder / "result.json").unlink(),
        lambda folder: (folder / "result.json").write_text((folder / "result.json").read_text()[:-20]),
        lambda folder: (folder / "result.json").write_bytes(b"\xff\xfe"),
        lambda folder: _change(folder, outputs=[]),
        lambda folder: _change(folder, outputs=[{"path": "x"}]),
        lambda folder: _change(folder, outputs=[{"path": "x", "n_bytes": 1, "sop_uid": "1", "what": 2}]),
        lambda folder: _change(folder, outputs=None),
        lambda folder: _change(folder, study_uid="1.9"),
        lambda folder: _change(folder, series_uid="1.9"),
        lambda folder: _change(folder, **{"pass": 2}),
        lambda folder: _change(folder, sources=""),
    ],
)
def test_what_is_not_the_whole_result_of_this_pass_goes(outboxes: Path, job: Job, damage: Callable[[Path], object]) -> None:
    published(outboxes, job)
    damage(outboxes / "7-1")
    assert adopt(outboxes / "7-1", job) is None
    assert list(outboxes.iterdir()) == []
    assert published(outboxes, job).note == "a part was skipped"


def _change(folder: Path, **values: object) -> None:
    note = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(json.dumps(note | values))


def test_other_originals_make_another_result(outboxes: Path, job: Job) -> None:
    published(outboxes, job)
    fewer = Job(**{**vars(job), "files": job.files[:1]})
    assert adopt(outboxes / "7-1", fewer) is None


def test_a_result_that_lies_outside_its_folder_is_not_taken(outboxes: Path, job: Job, tmp_path: Path) -> None:
    published(outboxes, job)
    secret = tmp_path / "secret"
    secret.write_bytes(b"12345")
    for path in (str(secret), "../../secret"):
        if not (outboxes / "7-1").exists():
            published(outboxes, job)
        _change(outboxes / "7-1", outputs=[{"path": path, "n_bytes": 5, "sop_uid": "1", "sop_class": "1", "transfer_syntax": "1"}])
        assert adopt(outboxes / "7-1", job) is None
    assert secret.read_bytes() == b"12345"


def test_what_an_earlier_attempt_left_goes_and_nothing_stays(outboxes: Path, job: Job) -> None:
    (outboxes / ".7-1-old").mkdir()
    (outboxes / ".7-1-old" / "half.dcm").write_bytes(b"half")
    (outboxes / ".71-1-other").mkdir()
    with staging(outboxes, job) as folder:
        assert folder.parent == outboxes
        assert not (outboxes / ".7-1-old").exists()
        (folder / "half.dcm").write_bytes(b"half")
    assert [path.name for path in outboxes.iterdir()] == [".71-1-other"]


def test_a_failed_rename_leaves_nothing_half(outboxes: Path, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(outbox, "sync", full)
    with pytest.raises(OSError, match="space"):
        published(outboxes, job)
    monkeypatch.undo()
    assert adopt(outboxes / "7-1", job) is not None, "renamed, and whole"


def test_links_say_nothing_of_the_patient(tmp_path: Path, job: Job) -> None:
    link_sources(job.files, tmp_path / "in")
    links = sorted((tmp_path / "in").iterdir())
    assert [path.name for path in links] == ["000001.dcm", "000002.dcm"]
    assert [path.resolve() for path in links] == list(job.files)


def test_removing_is_complete(outboxes: Path, job: Job) -> None:
    published(outboxes, job)
    remove(outboxes / "7-1")
    assert list(outboxes.iterdir()) == []


def test_an_item_says_what_its_file_says(tmp_path: Path) -> None:
    (path,) = make_series(tmp_path, 1, 16, 16, SOPInstanceUID="1.2.3.4")
    assert item_of(path) == Item(sop_uid="1.2.3.4", sop_class="1.2.840.10008.5.1.4.1.1.4", transfer_syntax="1.2.840.10008.1.2.1", path=path)
