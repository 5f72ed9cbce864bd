"""Which of the product's sequences a frame is: technique, then contrast; by attributes where they are clear, else by name."""

from __future__ import annotations

from dataclasses import dataclass

from onenex.dicom import phrases
from onenex.dicom.frames import FrameHeader, cite
from onenex.dicom.traits import diffusion_b_value, image_type

Finding = tuple[str, str]
"""(sequence, evidence)."""

_STANDARD_CONTRASTS = {"T1": "T1w", "T2": "T2w", "T2_STAR": "T2*w", "PROTON_DENSITY": "PDw", "DIFFUSION": "DWI", "STIR": "STIR"}
_DIXON_TOKENS = {"W", "F", "IP", "OP", "WATER", "FAT", "IN_PHASE", "OUT_PHASE", "OPP_PHASE", "OPPOSED_PHASE", "DIXON"}
_NAME_ATTRIBUTES = ("SeriesDescription", "ProtocolName", "SequenceName", "PulseSequenceName")


@dataclass(frozen=True)
class _Timing:
    """Times in ms, angle in degrees; 0 where the header is silent."""

    echo: float
    repetition: float
    inversion: float
    flip: float


def sequence_of(header: FrameHeader) -> tuple[str, str] | None:
    """Return (sequence as in `onenex.series.SEQUENCES`, evidence), None when nothing tells.

    Diffusion, magnetisation transfer and Dixon come first, as techniques that change the image more than its weighting does. The
    weighting follows from the timing where that is clear (Bernstein, King, Zhou, *Handbook of MRI Pulse Sequences*, 2004,
    ch. 14), from the series' name where it is not.
    """
    timing = _Timing(
        echo=_echo_time(header),
        repetition=header.number("RepetitionTime") or 0.0,
        inversion=header.number("InversionTime") or header.number("InversionTimes") or 0.0,
        flip=header.number("FlipAngle") or 0.0,
    )
    return _technique(header) or _standard_contrast(header, timing) or _weighting(header, timing) or _named(header, timing)


def _cite_timing(header: FrameHeader, *keywords: str) -> str:
    """Cite timing attributes by the names that this header gives them, classic or enhanced."""
    enhanced = {"ScanningSequence": "EchoPulseSequence", "EchoTime": "EffectiveEchoTime", "InversionTime": "InversionTimes"}
    names = ("ScanningSequence", *keywords)
    return cite(*(enhanced[name] if name in enhanced and header.raw(name) is None else name for name in names))


def _echo_time(header: FrameHeader) -> float:
    return header.number("EffectiveEchoTime") or header.number("EchoTime") or 0.0


def kinds_of(header: FrameHeader) -> set[str]:
    """ScanningSequence (PS3.3 C.8.3.1), rebuilt from the enhanced attributes where the frame has only those."""
    kinds = set(header.tokens("ScanningSequence"))
    echo = header.text("EchoPulseSequence").upper()
    kinds |= {"GR"} if echo == "GRADIENT" else {"SE"} if echo == "SPIN" else {"SE", "GR"} if echo == "BOTH" else set()
    if header.text("EchoPlanarPulseSequence").upper() == "YES":
        kinds.add("EP")
    if header.text("InversionRecovery").upper() == "YES":
        kinds.add("IR")
    return kinds


def _technique(header: FrameHeader) -> Finding | None:
    kind = set(image_type(header)[2:])
    if (diffusion_b_value(header) or 0) > 0:
        return "DWI", cite("DiffusionBValue")
    if {"DIFFUSION", "TRACEW"} & kind:
        return "DWI", cite("ImageType")
    if "MTC" in header.tokens("SequenceVariant"):
        return "MT", cite("SequenceVariant")
    if header.text("MagnetizationTransfer").upper() in ("ON_RESONANCE", "OFF_RESONANCE"):
        return "MT", cite("MagnetizationTransfer")
    if _DIXON_TOKENS & kind:
        return "Dixon", cite("ImageType")
    for keyword in _NAME_ATTRIBUTES:
        plain = phrases.normalise(header.text(keyword))
        if phrases.DIFFUSION.search(plain):
            return "DWI", cite(keyword)
        if phrases.MAGNETIZATION_TRANSFER.search(plain) and not phrases.NO_MAGNETIZATION_TRANSFER.search(plain):
            return "MT", cite(keyword)
        if phrases.DIXON.search(plain):
            return "Dixon", cite(keyword)
    return None


def _standard_contrast(header: FrameHeader, timing: _Timing) -> Finding | None:
    contrast = header.text("AcquisitionContrast").upper()
    if contrast == "FLUID_ATTENUATED":
        return ("T1-FLAIR" if 0 < timing.echo < 40 else "T2-FLAIR"), cite("AcquisitionContrast")
    name = _STANDARD_CONTRASTS.get(contrast)
    return (name, cite("AcquisitionContrast")) if name else None


def _weighting(header: FrameHeader, timing: _Timing) -> Finding | None:
    kinds = kinds_of(header)
    if not kinds or timing.echo <= 0:
        return None
    if "GR" in kinds:
        name, basis = _gradient_echo(kinds, header, timing), ("EchoTime", "FlipAngle")
    elif "IR" in kinds:
        name, basis = _inversion_recovery(timing), ("InversionTime", "EchoTime")
    elif "EP" in kinds:
        name, basis = ("T2w" if timing.echo >= 40 else None), ("EchoTime", "RepetitionTime")
    else:
        name, basis = _spin_echo(timing), ("EchoTime", "RepetitionTime")
    return (name, _cite_timing(header, *basis)) if name else None


def _gradient_echo(kinds: set[str], header: FrameHeader, timing: _Timing) -> str | None:
    variants = header.tokens("SequenceVariant")
    if "EP" in kinds:
        return "T2*w"
    if "IR" in kinds or timing.inversion > 300 or "MP" in variants:
        return "T1w"
    if timing.echo >= 12 and timing.flip <= 45:
        return "T2*w"
    balanced = "SS" in variants or header.text("SteadyStatePulseSequence").upper() not in ("", "NONE")
    short = timing.echo < 9 and ((timing.repetition < 50 and timing.flip >= 8) or (timing.repetition < 500 and timing.flip >= 50))
    return "T1w" if short and not balanced else None


def _inversion_recovery(timing: _Timing) -> str | None:
    if 60 <= timing.inversion <= 350:
        return "STIR"
    if timing.inversion >= 1500 and timing.echo >= 60:
        return "T2-FLAIR"
    return "T1-FLAIR" if 500 <= timing.inversion <= 1400 and timing.echo < 50 else None


def _spin_echo(timing: _Timing) -> str | None:
    if timing.repetition <= 0:
        return None
    if timing.echo >= 60 and timing.repetition >= 1000:
        return "T2w"
    if timing.repetition <= 1100:
        return "T1w" if timing.echo <= 35 else None
    return "PDw" if timing.echo <= 40 and timing.repetition >= 1500 else None


def _named(header: FrameHeader, timing: _Timing) -> Finding | None:
    """The weighting that a series' name gives; two of them in one name give none."""
    for keyword in _NAME_ATTRIBUTES:
        plain = phrases.normalise(header.text(keyword))
        if phrases.FLAIR.search(plain):
            return ("T1-FLAIR" if phrases.T1.search(plain) else "T2-FLAIR"), cite(keyword)
        if phrases.STIR.search(plain):
            return "STIR", cite(keyword)
        if phrases.T2_STAR.search(plain):
            return "T2*w", cite(keyword)
        patterns = (("PDw", phrases.PROTON_DENSITY), ("T1w", phrases.T1), ("T2w", phrases.T2))
        names = [name for name, pattern in patterns if pattern.search(plain)]
        if len(names) == 1:
            return names[0], cite(keyword)
    if "SE" in kinds_of(header) and timing.repetition >= 1500 and 40 < timing.echo < 60:
        return "T2w", _cite_timing(header, "EchoTime", "RepetitionTime")
    return None
