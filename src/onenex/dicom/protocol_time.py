"""`scan_time`: how long a series' scan took, as the header states it or as its protocol implies it; None, with the reason, where neither tells.

MR Image module: PS3.3 C.8.3.1. Enhanced MR: C.8.13.1 (AcquisitionDuration) and the functional groups of C.8.13.5 (timing, field of view, modifier).
"""

from __future__ import annotations

import math
from pathlib import Path

from onenex.dicom.acquisition import acquisition_of
from onenex.dicom.contrast import kinds_of
from onenex.dicom.files import quiet, read_header
from onenex.dicom.frames import FrameHeader
from onenex.dicom.times import LONGEST_S, made_after_s, started_s, stated_duration
from onenex.scan_time import ScanTime, clock
from onenex.series import Acquisition

TOLERANCE = 1.1
"""An estimate may be this much longer than the time from acquisition to image: shots are whole, and clocks of console and reconstruction differ."""
SLICE_TIME = 1.2
"""Time that a slice takes of each repetition, in echo times: the echo of least phase encoding lies before the end of the train."""
_PARALLEL_WORDS = {"ACC_GEMS", "ARC_GEMS", "PPI", "PPA", "SENSE", "GRAPPA"}
"""Words of ScanOptions that say parallel imaging without saying how much."""


class _Unknown(Exception):
    """Why there is no estimate."""


def scan_time(header: FrameHeader, acquisition: Acquisition, n_slices: int) -> ScanTime:
    """Return how long the scan of a frame's series took.

    Parameters
    ----------
    header
        Of any frame of the series.
    acquisition
        Its NEX and acceleration.
    n_slices
        Slices of one stack.

    Returns
    -------
    ScanTime
        As stated (`times.stated_duration`); else TR × NEX × lines / (echo train length × acceleration), times partitions for 3-D scans,
        times slices for 2-D scans whose TR holds a single slice. That all slices of a 2-D scan are measured in one pass is presumed
        where TR has room for them, for no attribute tells of concatenations: a scan in several passes took that many times as long.

        RepetitionTime (0018,0080), NumberOfAverages (0018,0083), NumberOfPhaseEncodingSteps (0018,0089), EchoTrainLength (0018,0091),
        AcquisitionMatrix (0018,1310); MRAcquisitionPhaseEncodingStepsInPlane (0018,9231) and …OutOfPlane (0018,9232),
        NumberOfKSpaceTrajectories (0018,9093), ParallelReductionFactorInPlane (0018,9069).
    """
    began = started_s(header)
    stated = stated_duration(header)
    if stated is not None:
        return ScanTime(seconds=stated[0], source=stated[1], began_s=began)
    try:
        seconds, source = _estimated(header, acquisition, n_slices)
    except _Unknown as unknown:
        return ScanTime(seconds=None, source=f"no duration stated; {unknown}", began_s=began)
    return ScanTime(seconds=seconds, source=source, began_s=began)


def scan_time_at(path: Path, frame: int, n_slices: int) -> ScanTime:
    """Return `scan_time` of a frame of a file."""
    with quiet():
        found = read_header(path)
        if found is None or found.dataset is None:
            return ScanTime(seconds=None, source="the header cannot be read")
        return scan_time(FrameHeader(found.dataset, frame), acquisition_of(found.dataset, frame), n_slices)


def _estimated(header: FrameHeader, acquisition: Acquisition, n_slices: int) -> tuple[float, str]:
    """Return seconds and what they are estimated from."""
    kinds = kinds_of(header)
    if "EP" in kinds:
        raise _Unknown("echo-planar scans don't say how many shots and volumes they have")
    if header.text("GeometryOfKSpaceTraversal").upper() in ("RADIAL", "SPIRAL"):
        raise _Unknown("k-space was not measured line by line")
    is_3d = header.text("MRAcquisitionType").upper() == "3D"
    if is_3d and "GR" in kinds and _prepared(header, kinds):
        raise _Unknown("RepetitionTime of prepared 3-D gradient echoes means a line to some vendors and a train to others")
    repetition_s = _needed(header.number("RepetitionTime"), "RepetitionTime") / 1e3
    nex = _needed(acquisition.nex, "NumberOfAverages")
    shots = _shots(header, acquisition)
    passes, words = (_partitions(header, n_slices), "partitions") if is_3d else _passes(header, repetition_s, n_slices)
    seconds = repetition_s * nex * shots * passes
    if not 0 < seconds <= LONGEST_S:
        raise _Unknown(f"what TR, lines, NEX and echo train imply, {seconds:.0f} s, is no scan time")
    limit = made_after_s(header)
    if limit is not None and (is_3d or passes == 1) and seconds > TOLERANCE * limit:
        raise _Unknown(f"what TR, lines, NEX and echo train imply, {clock(seconds)}, is longer than the time from AcquisitionTime to ContentTime")
    factor = "acceleration" if acquisition.acceleration is not None else "no acceleration stated"
    return seconds, f"estimated from TR, lines, NEX, ETL, {factor}, {words}"


def _shots(header: FrameHeader, acquisition: Acquisition) -> int:
    """Return the excitations that a slice, or a partition, takes for one average.

    NumberOfPhaseEncodingSteps and its enhanced successors count a partial Fourier's lines, but those that parallel imaging leaves out too.
    """
    parallel = bool(_PARALLEL_WORDS & set(header.tokens("ScanOptions"))) or header.text("ParallelAcquisition").upper() == "YES"
    if parallel and acquisition.acceleration is None:
        raise _Unknown("parallel imaging by an unknown factor")
    train = header.number("EchoTrainLength")
    if train is None and "GR" not in kinds_of(header):
        raise _Unknown("EchoTrainLength is missing")
    exact = _lines(header) / (max(1.0, train or 1.0) * max(1.0, acquisition.acceleration or 1.0))
    told = header.number("NumberOfKSpaceTrajectories")
    return int(told) if told is not None and told >= 1 and abs(told - exact) <= 1 else math.ceil(exact - 1e-9)


def _lines(header: FrameHeader) -> float:
    group = header.group("MRFOVGeometrySequence")
    steps = FrameHeader(group).number("MRAcquisitionPhaseEncodingStepsInPlane") if group is not None else None
    steps = steps or header.number("NumberOfPhaseEncodingSteps")
    if not steps:
        matrix = header.numbers("AcquisitionMatrix")  # frequency rows, frequency columns, phase rows, phase columns
        steps = max(matrix[2:]) if len(matrix) == 4 else None
    return _needed(steps, "NumberOfPhaseEncodingSteps")


def _partitions(header: FrameHeader, n_slices: int) -> int:
    group = header.group("MRFOVGeometrySequence")
    steps = FrameHeader(group).number("MRAcquisitionPhaseEncodingStepsOutOfPlane") if group is not None else None
    return int(steps) if steps else max(1, n_slices)


def _passes(header: FrameHeader, repetition_s: float, n_slices: int) -> tuple[int, str]:
    """Return how often the lines of a 2-D scan are gone through, and what is presumed for it."""
    echo_ms = header.number("EffectiveEchoTime") or header.number("EchoTime")
    room = 1e3 * repetition_s / (SLICE_TIME * _needed(echo_ms, "EchoTime"))
    if n_slices <= room:
        return 1, "all slices in one pass"
    if room < 2:
        return n_slices, "slice after slice"
    raise _Unknown(f"{n_slices} slices don't fit into one TR, and nothing says in how many passes they were measured")


def _prepared(header: FrameHeader, kinds: set[str]) -> bool:
    return bool(kinds & {"IR"} or {"MP"} & set(header.tokens("SequenceVariant")) or header.number("InversionTime"))


def _needed(value: float | None, what: str) -> float:
    if value is None or not math.isfinite(value) or value <= 0:
        raise _Unknown(f"{what} is missing")
    return value
