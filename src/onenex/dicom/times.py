"""When an image was acquired and how long its scan took, by the standard's attributes and by what vendors write instead."""

from __future__ import annotations

import calendar
import math
import re

from onenex.dicom import phrases
from onenex.dicom.frames import FrameHeader, cite
from onenex.dicom.traits import private_text

LONGEST_S = 4 * 3600.0
"""A duration above this is no duration, whatever its attribute is called."""
_DATE = re.compile(r"(\d{4})[.\-]?(\d\d)[.\-]?(\d\d)")
_TIME = re.compile(r"(\d\d):?(\d\d)?:?(\d\d)?(\.\d+)?")
_SIEMENS_TA = re.compile(r"TA\s*(?:(\d+):)?(?:(\d+):)?(\d+(?:\.\d+)?)(?:\s*\*\s*(\d+))?")
"""Siemens' "TA 02:15", "TA 00.40*12" (concatenations)."""


def started_s(header: FrameHeader) -> float | None:
    """Return when the acquisition of a frame began, seconds since 1970 by the scanner's clock; None when the header doesn't say.

    FrameAcquisitionDateTime, AcquisitionDateTime, AcquisitionDate with AcquisitionTime, then those of content and series
    (PS3.3 C.7.6.16.2.2, C.8.13.1, C.7.6.1). Midnight to the second is what de-identification leaves and counts as unknown;
    time zones are left aside, for all series of an examination have the same.
    """
    group = header.group("FrameContentSequence")
    moments = [FrameHeader(group).text("FrameAcquisitionDateTime")] if group is not None else []
    moments.append(header.text("AcquisitionDateTime"))
    for moment in moments:
        found = _seconds(moment[:8], moment[8:])
        if found is not None:
            return found
    for what in ("Acquisition", "Content", "Series"):
        found = _seconds(header.text(f"{what}Date") or header.text("StudyDate"), header.text(f"{what}Time"))
        if found is not None:
            return found
    return None


def duration_s(header: FrameHeader) -> float | None:
    """Return how long the scan of a frame's series took, seconds; None when the header doesn't say (`stated_duration`)."""
    stated = stated_duration(header)
    return None if stated is None else stated[0]


def stated_duration(header: FrameHeader) -> tuple[float, str] | None:
    """Return how long the scan of a frame's series took, seconds, and which attribute says so; None when the header doesn't say.

    AcquisitionDuration (0018,9073) in seconds (PS3.3 C.8.13.1); Siemens private (0051,100A) "TA 02:15"; GE private (0019,105A) in
    microseconds. United Imaging writes milliseconds into the standard attribute; they are believed only where the images
    were made that much later than their acquisition began.
    """
    stated = header.number("AcquisitionDuration")
    vendor = phrases.named(header.text("Manufacturer"), phrases.VENDORS)
    if vendor == "UIH":
        found = _uih(header, stated)
        return None if found is None else (found, cite("AcquisitionDuration") + " in milliseconds")
    candidates = ((stated, cite("AcquisitionDuration")), (_siemens(header), "Siemens private (0051,100A)"), (_ge(header), "GE private (0019,105A)"))
    return next(((value, source) for value, source in candidates if value is not None and math.isfinite(value) and 0 < value <= LONGEST_S), None)


def made_after_s(header: FrameHeader) -> float | None:
    """Return how long after its acquisition began a frame was made, seconds: no scan in one pass takes longer; None when the header doesn't say.

    AcquisitionDate and -Time, ContentDate and -Time (PS3.3 C.7.6.1). Some scanners write one time into both; that says nothing.
    """
    began = _seconds(header.text("AcquisitionDate"), header.text("AcquisitionTime"))
    made = _seconds(header.text("ContentDate"), header.text("ContentTime"))
    return made - began if began is not None and made is not None and made - began > 1 else None


def _uih(header: FrameHeader, stated: float | None) -> float | None:
    limit = made_after_s(header)
    if stated is None or limit is None or not 0 < stated / 1e3 <= LONGEST_S:
        return None
    return stated / 1e3 if stated / 1e3 <= limit else None


def _siemens(header: FrameHeader) -> float | None:
    match = _SIEMENS_TA.search(private_text(header.dataset, "SIEMENS MR HEADER", 0x0051, 0x0A))
    if match is None:
        return None
    first, second, seconds, times = match.groups()
    hours, minutes = (first, second) if second is not None else ("0", first or "0")
    return (3600 * int(hours) + 60 * int(minutes) + float(seconds)) * int(times or 1)


def _ge(header: FrameHeader) -> float | None:
    text = private_text(header.dataset, "GEMS_ACQU_01", 0x0019, 0x5A)
    try:
        return float(text) / 1e6
    except ValueError:
        return None


def _seconds(date: str, time: str) -> float | None:
    """Join a date and a time of day (DICOM's DA and TM); None when either is missing, or when the time is exactly midnight."""
    day, clock = _DATE.match(date.strip()), _TIME.match(time.strip())
    if day is None or clock is None:
        return None
    year, month, number = (int(part) for part in day.groups())
    hours, minutes, seconds = (int(part or 0) for part in clock.groups()[:3])
    fraction = float(clock[4] or 0)
    if not (1 <= month <= 12 and 1 <= number <= 31 and hours < 24 and minutes < 60 and seconds <= 60) or hours + minutes + seconds + fraction == 0:
        return None
    return calendar.timegm((year, month, number, hours, minutes, seconds)) + fraction
