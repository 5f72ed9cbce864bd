"""How long scans took, and what examinations they add up to: the records of the scan-time ledger."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

MINUTE_S = 60.0


@dataclass(frozen=True, kw_only=True)
class ScanTime:
    """How long one scan took."""

    seconds: float | None
    """None when the header doesn't tell."""
    source: str
    """Where the number is from ("AcquisitionDuration (0018,9073)", "estimated from …"), or why there is none."""
    began_s: float | None = None
    """When it began, seconds since 1970 by the scanner's clock; None when unknown. Series that began together are one scan."""

    def text(self) -> str:
        """Return the time and its source for people."""
        return f"{'unknown' if self.seconds is None else clock(self.seconds)} ({self.source})"


@dataclass(frozen=True, kw_only=True)
class Examination:
    """The scans of one study."""

    study: str
    n_scans: int
    n_known: int
    """Scans whose time is known."""
    seconds: float
    """Of the scans whose time is known; pauses between scans are left out."""

    @property
    def complete(self) -> bool:
        """Whether every scan's time is known."""
        return self.n_known == self.n_scans

    @property
    def under_a_minute(self) -> bool | None:
        """Whether the scans fit under a minute; None when that cannot be known."""
        if self.seconds >= MINUTE_S:
            return False
        return True if self.complete else None


def examinations(scans: Iterable[tuple[str, ScanTime]]) -> tuple[Examination, ...]:
    """Add up the scans of each study, in the order in which the studies first come.

    Series of one study that began at the same moment and took equally long (or whose headers don't say how long) are one scan: magnitude
    and phase, echoes, what was computed from them.

    Parameters
    ----------
    scans
        (study, time) of each series; the study is any text that tells studies apart.
    """
    by_study: dict[str, dict[object, ScanTime]] = {}
    for number, (study, time) in enumerate(scans):
        seconds = None if time.seconds is None else round(time.seconds, 1)
        key: object = number if time.began_s is None else (time.began_s, seconds)
        by_study.setdefault(study, {}).setdefault(key, time)
    return tuple(_added(study, list(times.values())) for study, times in by_study.items())


def summary(found: Iterable[Examination]) -> str:
    """Return in a sentence how many examinations there are, how long their scans took and how many fit under a minute."""
    all_of_them = list(found)
    known = [one for one in all_of_them if one.complete]
    short = sum(one.under_a_minute is True for one in all_of_them)
    open_ = sum(one.under_a_minute is None for one in all_of_them)
    total = clock(sum(one.seconds for one in all_of_them))
    n = len(all_of_them)
    text = f"{n} examination{'' if n == 1 else 's'}, {len(known)} with all scan times known; {total} of known scan time; {short} under a minute"
    return text + (f", {open_} that cannot be told" if open_ else "")


def clock(seconds: float) -> str:
    """Return a time as minutes:seconds, or hours:minutes:seconds."""
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


def _added(study: str, times: list[ScanTime]) -> Examination:
    known = [time.seconds for time in times if time.seconds is not None]
    return Examination(study=study, n_scans=len(times), n_known=len(known), seconds=sum(known))
