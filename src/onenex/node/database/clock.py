"""Time that no one can set: durations are measured on a clock that runs on through suspension and through jumps of the wall clock."""

from __future__ import annotations

import time
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def now() -> float:
    """Return seconds since the machine started: the same in every process, never backwards, blind to the wall clock.

    Source
    ------
    clock_gettime(2), CLOCK_BOOTTIME.
    """
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def wall() -> float:
    """Return seconds since 1970. Only for what people read: it may jump."""
    return time.time()


def boot_id() -> str:
    """Return what tells this run of the machine from the ones before; `now` begins anew with each.

    Source
    ------
    random(4), /proc/sys/kernel/random/boot_id.
    """
    return _BOOT_ID.read_text(encoding="ascii").strip()
