"""The scan-time ledger: what fast and reference protocols of an archive take, what is saved, and which examinations fit under a minute."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from onenex.dicom.protocol_time import scan_time_at
from onenex.pairs import archive
from onenex.pairs.find import find
from onenex.pairs.records import Candidate, Kind
from onenex.scan_time import MINUTE_S, Examination, ScanTime, examinations
from onenex.series import Acquisition
from onenex.volume import Volume


@dataclass(frozen=True, kw_only=True)
class PairTimes:
    """What a fast scan and its reference took."""

    study: str
    """Tells studies of one ledger apart: a number, nothing of the source."""
    organ: str
    vendor: str
    sequence: str
    fast: ScanTime
    reference: ScanTime
    """Of repeats: all of them, of which the fast scan is one."""
    fast_scan: str
    """Tells scans of one ledger apart; so does the next."""
    reference_scan: str

    @property
    def saved_s(self) -> float | None:
        """Seconds that the fast scan saves; None unless both times are known. Negative where it takes longer."""
        if self.fast.seconds is None or self.reference.seconds is None:
            return None
        return self.reference.seconds - self.fast.seconds


@dataclass(frozen=True, kw_only=True)
class StudyTimes:
    """What the fast and the reference protocol of one study take, each scan once, over the scans that have a partner."""

    study: str
    n_pairs: int
    fast_s: float | None
    """None unless the times of all fast scans are known."""
    reference_s: float | None

    @property
    def fast_under_a_minute(self) -> bool | None:
        """Whether the fast scans together fit under a minute; None when that cannot be known."""
        return None if self.fast_s is None else self.fast_s < MINUTE_S

    @property
    def reference_under_a_minute(self) -> bool | None:
        """The same of the references."""
        return None if self.reference_s is None else self.reference_s < MINUTE_S


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """All pairs and examinations of an archive."""

    pairs: tuple[PairTimes, ...]
    studies: tuple[StudyTimes, ...]
    """Those that have pairs."""
    examinations: tuple[Examination, ...]
    """Every study with all scans that are images (no localisers, maps or damaged series)."""

    @property
    def known(self) -> tuple[PairTimes, ...]:
        """Pairs of which both times are known."""
        return tuple(pair for pair in self.pairs if pair.saved_s is not None)

    @property
    def saved_min(self) -> float:
        """Minutes saved over all known pairs."""
        return sum(pair.saved_s or 0.0 for pair in self.pairs) / 60


def ledger_of(folder: Path) -> Ledger:
    """Read the headers of every DICOM file below a folder, find the pairs, and return the ledger.

    The index that the reading needs names patients: it lies in a temporary folder and is deleted in the end.

    Raises
    ------
    DataError
        No such folder.
    """
    with tempfile.TemporaryDirectory(prefix="onenex-ledger-") as scratch:
        index = Path(scratch) / "index.sqlite"
        archive.scan(folder, index)
        volumes = list(archive.volumes(index))
    return ledger(volumes, find(volumes)[0])


def ledger(volumes: Iterable[Volume], candidates: Iterable[Candidate]) -> Ledger:
    """Return the ledger of an archive's volumes and of the pairs and repeats among them; their files must still be there."""
    book = _Book()
    scans = [(book.study(volume), book.time(volume)) for volume in volumes if not volume.refused]
    pairs = tuple(book.pair(candidate) for candidate in candidates)
    studies = tuple(dict.fromkeys(pair.study for pair in pairs))
    return Ledger(
        pairs=pairs,
        studies=tuple(_study_times(study, [pair for pair in pairs if pair.study == study]) for study in studies),
        examinations=examinations(scans),
    )


class _Book:
    """Numbers of studies and scans, and times, each header read once."""

    def __init__(self) -> None:
        self._studies: dict[str, str] = {}
        self._scans: dict[str, str] = {}
        self._times: dict[str, ScanTime] = {}

    def study(self, volume: Volume) -> str:
        return self._studies.setdefault(volume.study_uid, str(len(self._studies) + 1))

    def scan(self, volume: Volume) -> str:
        return self._scans.setdefault(volume.series_uid, str(len(self._scans) + 1))

    def time(self, volume: Volume) -> ScanTime:
        """Return the time of a volume's series."""
        if volume.series_uid not in self._times:
            ref = volume.stack.frames[0]
            self._times[volume.series_uid] = scan_time_at(ref.path, ref.frame, len(volume.stack.frames))
        return self._times[volume.series_uid]

    def pair(self, candidate: Candidate) -> PairTimes:
        first, *others = candidate.volumes
        fast = self.time(first)
        if candidate.kind == Kind.PAIR:
            reference, name = self.time(others[-1]), self.scan(others[-1])
        else:
            reference, name = self._together(candidate.volumes), "+".join(self.scan(volume) for volume in candidate.volumes)
        if first.n_stacks > 1:
            fast = ScanTime(seconds=None, source=f"one of {first.n_stacks} stacks of a series, whose time they share", began_s=fast.began_s)
        told: Acquisition = first.acquisition
        return PairTimes(
            study=self.study(first), organ=told.organ, vendor=told.vendor, sequence=told.sequence, fast=fast, reference=reference,
            fast_scan=self.scan(first), reference_scan=name,
        )  # fmt: skip

    def _together(self, volumes: Sequence[Volume]) -> ScanTime:
        """Return the time of all repeats; None unless that of each series among them is known."""
        times = [self.time(volume) for volume in {volume.series_uid: volume for volume in volumes}.values()]
        seconds = [time.seconds for time in times if time.seconds is not None]
        sources = ", ".join(dict.fromkeys(time.source for time in times))
        return ScanTime(seconds=sum(seconds) if len(seconds) == len(times) else None, source=f"all {len(volumes)} repeats: {sources}")


def _study_times(study: str, pairs: Sequence[PairTimes]) -> StudyTimes:
    fast = {pair.fast_scan: pair.fast.seconds for pair in pairs}
    reference = {pair.reference_scan: pair.reference.seconds for pair in pairs}
    return StudyTimes(study=study, n_pairs=len(pairs), fast_s=_sum(fast.values()), reference_s=_sum(reference.values()))


def _sum(seconds: Iterable[float | None]) -> float | None:
    total = 0.0
    for one in seconds:
        if one is None:
            return None
        total += one
    return total
