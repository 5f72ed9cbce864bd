"""`read_volumes`: the files of one series in, its stacks out as `Volume` records, from headers alone and file by file."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from pydicom.dataset import Dataset

from onenex.dicom import phrases
from onenex.dicom.acquisition import acquisition_of
from onenex.dicom.contrast import kinds_of
from onenex.dicom.files import HEADER_ERRORS, read_header
from onenex.dicom.files import quiet as quietly
from onenex.dicom.frames import FrameHeader, cite
from onenex.dicom.read import coding_problem, frame_at, n_frames
from onenex.dicom.select import skip_reason
from onenex.dicom.stacks import Frame, by_geometry, stacks_of
from onenex.dicom.times import duration_s, started_s
from onenex.dicom.traits import diffusion_b_value, diffusion_direction, image_type
from onenex.series import FrameRef, SliceStack
from onenex.volume import Geometry, Volume

logger = logging.getLogger(__name__)

_RESAMPLED = {"MPR", "REFORMATTED", "RESAMPLED", "CSA RESAMPLED", "COMPOSED", "COMP_SP", "COMP_AD", "MOCO", "PROJECTION IMAGE"}
"""Words of ImageType that say: these pixels were computed from those of other images."""
_AGENT = re.compile(
    r"(?<![a-z])(?:gd|gado\w*|km|post ?(?:gd|km|con\w*|contrast)?|ce|contrast|dotarem|gadovist|magnevist|prohance|omniscan)(?![a-z])"
    r"|\+ ?(?:c|km|gd)(?![a-z])|(?<![a-z])c ?\+|增强"
)
_NO_AGENT = re.compile(r"(?<![a-z])(?:pre|non|no|without|w o|ohne|nativ\w*|vor)(?![a-z])|平扫")
_NOT_GIVEN = {"", "OFF", "NO", "NONE", "N", "NEIN", "WITHOUT", "OHNE", "0", "NATIVE", "NATIV", "NULL", "UNKNOWN"}
"""What scanners write into ContrastBolusAgent when there was none."""
_PERFUSION = re.compile(r"(?<![a-z])(?:p?c?asl|pcasl|dsc|dce|perf\w*|dyn\w*|bolus|twist|tricks|灌注)(?![a-z])")


@dataclass(frozen=True, kw_only=True)
class SeriesVolumes:
    """What the files of one series hold."""

    volumes: tuple[Volume, ...]
    """In the order of the stacks; of what is refused one for each reason."""
    problems: Mapping[Path, str]
    """File → what is wrong with it, of damaged files."""


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """One frame."""

    frame: Frame
    refusal: str | None
    started_s: float | None
    is_3d: bool | None


@dataclass(frozen=True, kw_only=True)
class _File:
    path: Path
    sop_uid: str = ""
    patient: str = ""
    problem: str = ""
    seen: tuple[_Seen, ...] = field(default=())


def read_volumes(paths: Iterable[Path]) -> SeriesVolumes:
    """Read the headers of one series, each once, and sort its frames into stacks as `read_series` does.

    Memory holds a few facts a frame, never all headers. A further copy of an instance is ignored, whichever is whole being
    taken; so are frames that repeat another to the last attribute under a new SOPInstanceUID.

    Parameters
    ----------
    paths
        All files of one SeriesInstanceUID, in any order: the result doesn't depend on it.

    Returns
    -------
    SeriesVolumes
        Without volumes when no header could be read.
    """
    with quietly():
        files = _without_copies([file for path in sorted(paths) if (file := _read(path)) is not None])
        problems = {file.path: file.problem for file in files if file.problem}
        try:
            volumes = _sorted_out(files)
        except HEADER_ERRORS as error:  # one odd series must not end the scan of an archive
            logger.warning("series cannot be sorted error=%s", type(error).__name__)
            volumes, problems = [], {files[0].path: f"belongs to a series that cannot be understood ({type(error).__name__})"}
    return SeriesVolumes(volumes=tuple(volumes), problems=problems)


def _sorted_out(files: Sequence[_File]) -> list[Volume]:
    general = _damage(files) or _several_patients(files)
    by_reason: dict[str | None, list[_Seen]] = {}
    for file in files:
        for seen in file.seen:
            by_reason.setdefault(seen.refusal or general, []).append(seen)
    patient = next((file.patient for file in files if file.patient), "")
    volumes: list[Volume] = []
    for reason, group in by_reason.items():
        stacks = _stacks(_without_twins(group) if reason is None else group)
        volumes += _volumes(stacks if reason is None else stacks[:1], group, patient, len(stacks), reason)
    return volumes


def _read(path: Path) -> _File | None:
    """Read one file's facts; None when it is gone or no DICOM."""
    try:
        header = read_header(path)
    except OSError as error:
        return None if isinstance(error, FileNotFoundError) else _File(path=path, problem="cannot be opened")
    if header is None or header.dataset is None:
        return None if header is None else _File(path=path, problem=header.problem)
    dataset = header.dataset
    try:
        seen = tuple(_seen(path, dataset, frame) for frame in range(n_frames(dataset)))
    except HEADER_ERRORS as error:
        return _File(path=path, problem=f"has a damaged header ({type(error).__name__})")
    whole = FrameHeader(dataset)
    return _File(path=path, sop_uid=whole.text("SOPInstanceUID"), patient=_patient(whole), problem=header.problem, seen=seen)


def _seen(path: Path, dataset: Dataset, frame: int) -> _Seen:
    header = FrameHeader(dataset, frame)
    kind = header.text("MRAcquisitionType").upper()
    refusal = skip_reason(dataset, frame) or _computed(header) or coding_problem(dataset, frame)
    return _Seen(
        frame=frame_at(path, dataset, frame), refusal=refusal, started_s=started_s(header), is_3d=kind == "3D" if kind in ("2D", "3D") else None
    )


def _computed(header: FrameHeader) -> str | None:
    words = sorted(_RESAMPLED & set(image_type(header)))
    return f"computed from other images: {cite('ImageType')} says {words[0]}" if words else None


def _patient(header: FrameHeader) -> str:
    """PatientID and its issuer, else name and birth date; empty when neither tells a person apart."""
    number, issuer = header.text("PatientID"), header.text("IssuerOfPatientID")
    if number:
        return f"{number}^^^{issuer}" if issuer else number
    name, born = " ".join(header.text("PatientName").upper().split()), header.text("PatientBirthDate")
    return f"{name}\\{born}" if name and born else ""


def _without_copies(files: Sequence[_File]) -> list[_File]:
    """Drop further files of an instance; a whole one replaces a damaged one."""
    kept: dict[str, _File] = {}
    for file in files:
        uid = file.sop_uid or str(file.path)
        if uid in kept and kept[uid].problem and not file.problem:
            kept[uid] = file
        kept.setdefault(uid, file)
    return list(kept.values())


def _damage(files: Sequence[_File]) -> str | None:
    """Say how many files are damaged, without their names: people name files after patients."""
    bad = [file for file in files if file.problem]
    if not bad:
        return None
    return f"{len(bad)} of its {len(files)} files damaged (the first {bad[0].problem}): send the series again from the scanner or PACS"


def _several_patients(files: Sequence[_File]) -> str | None:
    n = len({file.patient for file in files if file.seen})
    return f"its files name {n} patients: one SeriesInstanceUID must belong to one" if n > 1 else None


def _without_twins(group: Sequence[_Seen]) -> list[_Seen]:
    """Drop frames that tell themselves apart from an earlier one by nothing: position, number, time and every trait are the same."""
    kept: dict[object, _Seen] = {}
    for seen in group:
        frame = seen.frame
        known = None if frame.position is None else (frame.position, frame.orientation, frame.rows, frame.columns, frame.spacing_mm)
        kept.setdefault((known or frame.ref, frame.order, seen.started_s, tuple(trait.value for trait in frame.traits)), seen)
    if len(kept) < len(group):
        logger.info("frames repeated under other UIDs ignored n_frames=%d", len(group) - len(kept))
    return list(kept.values())


def _stacks(group: Sequence[_Seen]) -> list[SliceStack]:
    return [stack for part in by_geometry([seen.frame for seen in group]) for stack in stacks_of(part)]


def _volumes(stacks: Sequence[SliceStack], group: Sequence[_Seen], patient: str, n_stacks: int, reason: str | None) -> list[Volume]:
    seen = {one.frame.ref: one for one in group}

    @lru_cache(maxsize=2)
    def dataset_of(path: Path) -> Dataset | None:
        header = read_header(path) if path.is_file() else None
        return None if header is None else header.dataset

    made = []
    for stack in stacks:
        members = [seen[ref] for ref in stack.frames]
        first = min(members, key=lambda one: (one.frame.order, one.frame.ref.path)).frame.ref
        dataset = dataset_of(first.path)
        if dataset is not None:  # gone since: the next scan sees that
            made.append(_volume(stack, members, (dataset, first), patient, (n_stacks, reason)))
    return made


def _volume(stack: SliceStack, members: Sequence[_Seen], first: tuple[Dataset, FrameRef], patient: str, whole: tuple[int, str | None]) -> Volume:
    dataset, ref = first
    header = FrameHeader(dataset, ref.frame)
    b_value = diffusion_b_value(header)
    acquisition = acquisition_of(dataset, ref.frame)
    return Volume(
        patient=patient,
        study_uid=header.text("StudyInstanceUID"),
        series_uid=header.text("SeriesInstanceUID"),
        frame_of_reference_uid=header.text("FrameOfReferenceUID"),
        series_number=header.integer("SeriesNumber"),
        description=header.text("SeriesDescription") or header.text("ProtocolName"),
        acquisition=acquisition,
        stack=stack,
        geometry=_geometry(stack, members, header),
        n_stacks=whole[0],
        model=header.text("ManufacturerModelName"),
        echo_time_ms=_positive(header, "EffectiveEchoTime", "EchoTime"),
        repetition_time_ms=_positive(header, "RepetitionTime"),
        inversion_time_ms=_positive(header, "InversionTime", "InversionTimes"),
        flip_angle_deg=_positive(header, "FlipAngle"),
        b_value=b_value,
        started_s=min((one.started_s for one in members if one.started_s is not None), default=None),
        duration_s=duration_s(header),
        contrast_agent=_contrast_agent(header),
        technique=_technique(header, members),
        image_type=image_type(header)[2:],
        direction=_direction(header, b_value, acquisition.sequence),
        phase_encoding=header.text("InPlanePhaseEncodingDirection").upper(),
        coil=header.text("ReceiveCoilName"),
        laterality=_laterality(header),
        perfusion=_says(_PERFUSION, header) or bool({"ASL", "PERFUSION"} & set(image_type(header))),
        refused=whole[1] or "",
    )


def _geometry(stack: SliceStack, members: Sequence[_Seen], header: FrameHeader) -> Geometry | None:
    first = members[0].frame
    positions = [one.frame.position for one in members if one.frame.position is not None]
    if first.spacing_mm is None or first.orientation is None or len(positions) < len(members):
        return None
    a, b, c, d, e, f = first.orientation
    return Geometry(
        rows=stack.rows,
        columns=stack.columns,
        spacing_mm=first.spacing_mm,
        orientation=(a, b, c, d, e, f),
        positions_mm=tuple((x, y, z) for x, y, z in positions),
        slice_thickness_mm=_positive(header, "SliceThickness"),
    )


def _positive(header: FrameHeader, *keywords: str) -> float | None:
    """First value above 0; scanners write 0 for "does not apply"."""
    return next((value for keyword in keywords if (value := header.number(keyword)) is not None and 0 < value < 1e7), None)


def _technique(header: FrameHeader, members: Sequence[_Seen]) -> tuple[str, ...]:
    kinds = kinds_of(header)
    if "MTC" in header.tokens("SequenceVariant") or header.text("MagnetizationTransfer").upper().endswith("ON_RESONANCE"):
        kinds = kinds | {"MT"}
    known = Counter(one.is_3d for one in members if one.is_3d is not None)
    if known:  # by majority: Philips was seen to call single frames of a 2-D stack 3D
        kinds = kinds | {"3D" if known[True] > known[False] else "2D"}
    return tuple(sorted(kinds))


def _direction(header: FrameHeader, b_value: float | None, sequence: str) -> tuple[float, ...] | None:
    if b_value == 0 or header.text("DiffusionDirectionality").upper() in ("ISOTROPIC", "NONE") or "TRACEW" in image_type(header):
        return ()
    if b_value is None:
        return None if sequence == "DWI" else ()
    return diffusion_direction(header, b_value) or None


def _contrast_agent(header: FrameHeader) -> bool:
    if header.text("ContrastBolusAgent").upper() not in _NOT_GIVEN or header.items("ContrastBolusAgentSequence"):
        return True
    return _says(_AGENT, header) and not _says(_NO_AGENT, header)


def _says(pattern: re.Pattern[str], header: FrameHeader) -> bool:
    return any(pattern.search(phrases.normalise(header.text(keyword))) for keyword in ("SeriesDescription", "ProtocolName"))


def _laterality(header: FrameHeader) -> str:
    group = header.group("FrameAnatomySequence")
    texts = [FrameHeader(group).text("FrameLaterality")] if group is not None else []
    texts += [header.text("ImageLaterality"), header.text("Laterality")]
    return next((text for text in (text.upper() for text in texts) if text in ("L", "R")), "")
