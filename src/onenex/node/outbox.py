"""Results on the disk: one folder a series and pass, whole or not there, with a note of what it is so that a crash loses no work."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydicom.filereader import read_file_meta_info

from onenex.node.database.spool import sync
from onenex.node.records import Item, Job
from onenex.output import atomic_file

logger = logging.getLogger(__name__)

NOTE_NAME = "result.json"


@dataclass(frozen=True, kw_only=True)
class Result:
    """What `Queue.finish` is given."""

    outputs: tuple[Item, ...]
    note: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


@contextmanager
def staging(outboxes: Path, job: Job) -> Iterator[Path]:
    """Yield a new folder beside the outboxes, gone after the block; those of earlier attempts at this series go first."""
    for old in outboxes.glob(f".{job.series_id}-*"):
        shutil.rmtree(old, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{job.series_id}-{job.pass_number}-", dir=outboxes))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def link_sources(files: Sequence[Path], folder: Path) -> None:
    """Fill a new folder with links to the originals, under names that say nothing of the patient."""
    folder.mkdir()
    for number, path in enumerate(files, start=1):
        (folder / f"{number:06d}.dcm").symlink_to(path.absolute())


def publish(made: Path, target: Path, job: Job, result: Result) -> Result:
    """Give a finished folder its name, with its note; where another worker was faster, its result counts.

    Parameters
    ----------
    made
        Folder on the same disk; everything in it is on the disk already.
    result
        Its outputs lie in `made`.

    Returns
    -------
    Result
        What lies in `target` now.
    """
    outputs = [{**asdict(one), "path": str(one.path.relative_to(made)), "n_bytes": one.path.stat().st_size} for one in result.outputs]
    note = {**_identity(job), "outputs": outputs, "note": result.note, "details": dict(result.details)}
    with atomic_file(made / NOTE_NAME) as path:
        path.write_text(json.dumps(note), encoding="utf-8")
    there = adopt(target, job)
    if there is not None:
        return there
    made.rename(target)
    sync(target.parent)
    moved = [Item(**{**asdict(one), "path": target / one.path.relative_to(made)}) for one in result.outputs]
    return Result(outputs=tuple(moved), note=result.note, details=result.details)


def adopt(folder: Path, job: Job) -> Result | None:
    """Return the result that an earlier attempt at this pass left; None, and no folder, when there is none that is whole."""
    if not folder.exists():
        return None
    try:
        note = json.loads((folder / NOTE_NAME).read_text(encoding="utf-8"))
        sizes = [one.pop("n_bytes") for one in note["outputs"]]
        outputs = tuple(Item(**{**one, "path": folder / one["path"]}) for one in note["outputs"])
        are_inside = all(Path(os.path.abspath(one.path)).is_relative_to(folder) for one in outputs)  # noqa: PTH100 (resolve would follow links)
        is_whole = bool(outputs) and are_inside and all(one.path.stat().st_size == size for one, size in zip(outputs, sizes, strict=True))
        if is_whole and {name: note[name] for name in _identity(job)} == _identity(job):
            logger.info("result adopted series=%d pass=%d", job.series_id, job.pass_number)
            return Result(outputs=outputs, note=note["note"], details=note["details"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        logger.debug("result unreadable error=%s", type(error).__name__)
    logger.warning("result of something else removed series=%d pass=%d", job.series_id, job.pass_number)
    remove(folder)
    return None


def remove(folder: Path) -> None:
    """Delete a folder; nobody sees a half of it under its name."""
    hidden = folder.with_name(f".gone-{folder.name}-{os.urandom(4).hex()}")
    folder.rename(hidden)
    shutil.rmtree(hidden, ignore_errors=True)


def item_of(path: Path) -> Item:
    """Return a file that OneNEX wrote as what is to be sent."""
    meta = read_file_meta_info(path)
    return Item(
        sop_uid=str(meta.MediaStorageSOPInstanceUID),
        sop_class=str(meta.MediaStorageSOPClassUID),
        transfer_syntax=str(meta.TransferSyntaxUID),
        path=path,
    )


def _identity(job: Job) -> dict[str, Any]:
    """Return what tells the result of one pass from every other: series, pass, and the originals that went in."""
    names = "\n".join(sorted(f"{path.parent.name}/{path.name}" for path in job.files))
    return {
        "study_uid": job.study_uid,
        "series_uid": job.series_uid,
        "pass": job.pass_number,
        "sources": hashlib.sha256(names.encode("utf-8", "surrogatepass")).hexdigest(),
    }
