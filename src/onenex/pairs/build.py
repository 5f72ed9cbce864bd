"""`onenex pairs build`: an archive's folders in, a folder of training pairs out; killed at any instant, it goes on where it was."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from onenex.built import read_table
from onenex.errors import DataError
from onenex.output import atomic_file
from onenex.pairs import archive, manifest
from onenex.pairs.find import Rules, find
from onenex.pairs.make import Job, Making, make
from onenex.pairs.packing import journal, splits
from onenex.pairs.packing.deidentify import keyed_hash, load_salt, salt_check
from onenex.pairs.records import Candidate, Rejected
from onenex.pairs.workers import in_order
from onenex.volume import Volume

log = logging.getLogger(__name__)

REJECTED, SPLITS = "rejected.jsonl", "splits.json"

Progress = Callable[[str, int, int], None]
"""(what is being done, done, in all)."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a folder is built."""

    rules: Rules = field(default_factory=Rules)
    making: Making = field(default_factory=Making)
    test_share: float = splits.TEST_SHARE
    synthetic: bool = False
    """Whether references without a fast scan get a simulated one, for training only."""
    workers: int = 0
    """Processes beside this one; 0 = none."""


@dataclass(frozen=True, kw_only=True)
class Built:
    """What a build found and did."""

    folder: Path
    scanned: archive.Scanned
    n_pairs: int
    """Candidates of each kind, found in the archive."""
    n_repeats: int
    n_synthetic: int
    n_rejected: int
    """Series, or two of them, that are no candidate: `rejected.jsonl` has the reasons."""
    n_new: int
    """Rows added to the manifest."""
    n_accepted: int
    """Of all its rows."""
    reasons: Counter[str]
    """Why rows were not accepted → how many."""


def build(
    source: Path, folder: Path, *, index: Path, salt: Path | None = None, settings: Settings | None = None, progress: Progress | None = None
) -> Built:
    """Build, or add to, a folder of pairs.

    Parameters
    ----------
    source
        Folder of DICOM files, any structure.
    folder
        Gets `pairs.parquet`, `shards/`, `rejected.jsonl`, `splits.json`. Nothing in it names a patient.
    index
        SQLite file of the archive, made where it's missing. It names patients: it must lie elsewhere.
    salt
        Key of the hashes, see `deidentify.load_salt`.

    Raises
    ------
    DataError
        No DICOM file in the source, an index or a salt inside `folder`, or a folder made with another salt.
    """
    settings, tell = settings or Settings(), progress or (lambda what, done, total: None)
    _check_places(index, folder)
    key = load_salt(salt, folder)
    scanned = archive.scan(source, index, workers=settings.workers, progress=partial(tell, "reading headers"))
    if not scanned.n_dicom:
        raise DataError(f"{source}: no DICOM file among {scanned.n_files}: give the folder of an archive (zip archives are not opened: unpack them)")
    candidates, rejected = find(archive.volumes(index), settings.rules)
    lone = [one.volumes[0] for one in rejected if len(one.volumes) == 1 and not one.volumes[0].refused] if settings.synthetic else []
    wanted: list[Candidate | Volume] = [*candidates, *lone]
    jobs = [_job(one, folder, key, settings.making) for one in wanted]
    folder.mkdir(parents=True, exist_ok=True)
    sides = _assign(folder, jobs, settings.test_share)
    _write_rejected(folder, key, rejected)
    n_new = _make_all(folder, jobs, sides, key, settings.workers, partial(tell, "making pairs"))
    rows = manifest.read_rows(folder) if jobs or manifest.patients(folder) else []
    kinds = Counter(job.kind for job in jobs)
    return Built(
        folder=folder,
        scanned=scanned,
        n_pairs=kinds["pairs"],
        n_repeats=kinds["repeats"],
        n_synthetic=kinds["synthetic"],
        n_rejected=len(rejected),
        n_new=n_new,
        n_accepted=sum(row.accepted for row in rows),
        reasons=Counter(row.reason for row in rows if not row.accepted),
    )


def _check_places(index: Path, folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder} is a file: choose a folder for the pairs")
    if index.resolve().is_relative_to(folder.resolve()):
        raise DataError(f"the index {index} names patients and would lie in the built folder: put it elsewhere (--index FILE)")


def _job(candidate: Candidate | Volume, folder: Path, key: bytes, making: Making) -> Job:
    """Name a candidate by hashes alone."""
    volumes, kind = ((candidate,), "synthetic") if isinstance(candidate, Volume) else (candidate.volumes, candidate.kind)
    first = volumes[0]
    series = tuple(dict.fromkeys(volume.series_uid for volume in volumes))
    stacks = tuple(f"{volume.series_uid} {volume.stack.label}" for volume in volumes)
    return Job(
        candidate=candidate,
        folder=folder,
        id=keyed_hash(key, "scan", kind, *stacks),
        patient=patient_hash(first, key),
        study=keyed_hash(key, "study", first.study_uid),
        series=tuple(keyed_hash(key, "series", uid) for uid in series),
        making=making,
    )


def patient_hash(volume: Volume, key: bytes) -> str:
    """Return the keyed hash of a patient; who isn't named is a patient of their own in each study."""
    return keyed_hash(key, "patient", volume.patient) if volume.patient else keyed_hash(key, "patient of study", volume.study_uid)


def _assign(folder: Path, jobs: Sequence[Job], test_share: float) -> dict[str, str]:
    """Decide and note who is in which split, before anything is made: a build that was stopped must not decide again."""
    note = folder / SPLITS
    earlier: dict[str, str] = json.loads(note.read_text(encoding="utf-8")) if note.is_file() else {}
    earlier |= manifest.patients(folder)
    strata: dict[str, set[splits.Stratum]] = {}
    for job in jobs:
        told = job.volumes[0].acquisition
        if job.kind != "synthetic":
            strata.setdefault(job.patient, set()).add((told.organ, told.vendor))
    found = earlier | splits.assign(strata, earlier, test_share=test_share)
    found |= {job.patient: "train" for job in jobs if job.patient not in found}
    with atomic_file(note) as part:
        part.write_text(json.dumps(dict(sorted(found.items())), indent=0), encoding="utf-8")
    return found


def _make_all(folder: Path, jobs: Sequence[Job], sides: dict[str, str], key: bytes, workers: int, tell: Callable[[int, int], None]) -> int:
    """Make what the manifest lacks, in the order of the hashes, and return how many rows were new.

    Rows go to a journal scan by scan, and to the manifest together: to write that anew for every scan would take days for a large one.
    """
    check = salt_check(key)
    n_new = manifest.add(folder, journal.read(folder), salt_check=check)
    journal.clear(folder)
    known = {scan for scan, _, _ in manifest.keys(read_table(folder, ("id", "slice", "fast_repeats")))}
    wanted = [job for job in jobs if job.kind != "synthetic" or sides[job.patient] == "train"]  # nothing may be judged by a simulation
    left = sorted((job for job in wanted if job.id not in known), key=lambda job: job.id)
    tell(len(wanted) - len(left), len(wanted))
    for number, (job, rows) in enumerate(zip(left, in_order(make, left, workers), strict=True), start=1):
        journal.note(folder, [replace(row, split=sides[job.patient]) for row in rows])
        tell(len(wanted) - len(left) + number, len(wanted))
    n_new += manifest.add(folder, journal.read(folder), salt_check=check)
    journal.clear(folder)
    return n_new


def _write_rejected(folder: Path, key: bytes, rejected: Iterable[Rejected]) -> None:
    """Write what is no candidate, and why: a line each, hashes and what the acquisition is."""
    with atomic_file(folder / REJECTED) as part, part.open("w", encoding="utf-8") as stream:
        for one in rejected:
            told = one.volumes[0].acquisition
            line = {
                "series": [keyed_hash(key, "series", volume.series_uid) for volume in one.volumes if volume.series_uid],
                "stacks": [volume.stack.label for volume in one.volumes],
                "organ": told.organ,
                "vendor": told.vendor,
                "sequence": told.sequence,
                "reason": one.reason,
            }
            stream.write(json.dumps(line, ensure_ascii=False) + "\n")
