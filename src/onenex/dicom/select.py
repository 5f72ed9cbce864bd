"""Which images must not be denoised, and why: one plain sentence each, naming the attribute that says so.

DERIVED in ImageType alone is no reason (Hitachi writes it in ordinary images), nor is a resampled plane (MPR) or an earlier
lossy compression (its history is kept); projections, maps and whatever is no plain magnitude image are.
"""

from __future__ import annotations

from collections.abc import Callable

from pydicom.dataset import Dataset
from pydicom.uid import EnhancedMRImageStorage, LegacyConvertedEnhancedMRImageStorage, MRImageStorage

from onenex.dicom import phrases
from onenex.dicom.frames import FrameHeader, cite
from onenex.dicom.traits import image_type, private_text

SMALLEST_SIDE = 16
"""Pixels; a smaller image has too little around each pixel to tell noise from anatomy."""

_MR_CLASSES = (MRImageStorage, EnhancedMRImageStorage, LegacyConvertedEnhancedMRImageStorage)
_MAPS = {
    "ADC": "an ADC map", "EADC": "an exponential ADC map", "EXP": "an exponential ADC map", "EXPONENTIAL": "an exponential ADC map",
    "ADC_UNSPECIFIED": "an ADC map", "FA": "a fractional anisotropy map", "FAC": "a fractional anisotropy map",
    "ANISOTROPY": "a fractional anisotropy map", "FRACT_ANISO": "a fractional anisotropy map", "TENSOR": "a diffusion tensor",
    "T1 MAP": "a T1 map", "T1_MAP": "a T1 map", "T1MAP": "a T1 map", "T2 MAP": "a T2 map", "T2_MAP": "a T2 map", "T2MAP": "a T2 map",
    "T2_STAR MAP": "a T2* map", "T2STAR MAP": "a T2* map", "T2_STAR_MAP": "a T2* map", "R2 MAP": "an R2 map", "R2_MAP": "an R2 map",
    "R2_STAR MAP": "an R2* map", "R2_STAR_MAP": "an R2* map", "R1 MAP": "an R1 map", "PD MAP": "a proton density map",
    "B0": "a B0 map", "B0 MAP": "a B0 map", "B0_MAP": "a B0 map", "B1": "a B1 map", "B1 MAP": "a B1 map", "FIELD_MAP": "a field map",
    "FAT_FRACTION": "a fat fraction map", "FATFRACTION": "a fat fraction map", "FF": "a fat fraction map", "WATER_FRACTION": "a water fraction map",
    "CBF": "a perfusion map", "CBV": "a perfusion map", "RCBF": "a perfusion map", "RCBV": "a perfusion map", "RELCBF": "a perfusion map",
    "RELCBV": "a perfusion map", "RELMTT": "a perfusion map", "MTT": "a perfusion map", "TTP": "a perfusion map", "PBP": "a perfusion map",
    "KTRANS": "a perfusion map", "TTEST": "a statistical map", "T_TEST": "a statistical map", "Z_SCORE": "a statistical map",
    "SUBTRACT": "a subtraction", "SUBTRACTION": "a subtraction", "SUB": "a subtraction", "MIP": "a projection", "MINIP": "a projection",
    "MNIP": "a projection", "MAX_IP": "a projection", "MIN_IP": "a projection", "PROJECTION IMAGE": "a projection",
    "VOLUME RENDERING": "a rendering", "VRT": "a rendering", "SSD": "a rendering", "VELOCITY": "a velocity map", "VELOCITY MAP": "a velocity map",
    "METABOLITE_MAP": "a metabolite map", "QSM": "a susceptibility map", "PARAMETRIC": "a parametric map", "STIFFNESS": "a stiffness map",
}  # fmt: skip
_COMPONENTS = {"P": "phase", "PHASE": "phase", "PHASE MAP": "phase", "R": "real", "REAL": "real", "I": "imaginary", "IMAGINARY": "imaginary"}
_GE_COMPONENTS = {1: "phase", 2: "real", 3: "imaginary"}
_RENDERINGS = {"MAX_IP": "a maximum projection", "MIN_IP": "a minimum projection", "VOLUME_RENDER": "a rendering", "SURFACE_RENDER": "a rendering"}


def skip_reason(dataset: Dataset, frame: int = 0) -> str | None:
    """Return why a frame must not be denoised, None when it may.

    Parameters
    ----------
    dataset
        Header of one instance.
    frame
        0-based frame of a multi-frame one.

    Returns
    -------
    str or None
        A sentence without a full stop. The first reason that holds, from the coarse to the fine.
    """
    header = FrameHeader(dataset, frame)
    checks: tuple[Callable[[FrameHeader], str | None], ...] = (
        _not_mr, _not_monochrome, _screen_save, _own, _localiser, _mosaic, _component, _map, _vendor_ai, _not_rescalable, _too_small,
    )  # fmt: skip
    return next((reason for check in checks if (reason := check(header)) is not None), None)


def _not_mr(header: FrameHeader) -> str | None:
    modality = header.text("Modality").upper()
    if modality not in ("MR", ""):
        return f"not MR: {cite('Modality')} is {modality}"
    if header.integer("Rows") is None or header.integer("Columns") is None:
        return f"not an image: {cite('Rows', 'Columns')} are absent"
    sop_class = header.raw("SOPClassUID")
    if sop_class not in _MR_CLASSES:
        return f"not an MR image: {cite('SOPClassUID')} is {getattr(sop_class, 'name', sop_class) or 'absent'}"
    return None


def _not_monochrome(header: FrameHeader) -> str | None:
    samples = header.integer("SamplesPerPixel")
    photometric = header.text("PhotometricInterpretation").upper() or "MONOCHROME2"
    if samples not in (None, 1) or photometric in ("RGB", "PALETTE COLOR") or photometric.startswith("YBR"):
        return f"a colour image: {cite('PhotometricInterpretation')} is {photometric}, {cite('SamplesPerPixel')} is {samples}"
    if photometric != "MONOCHROME2":
        return f"inverted grey: {cite('PhotometricInterpretation')} is {photometric}, which no MR magnitude image has"
    return None


def _screen_save(header: FrameHeader) -> str | None:
    kinds = {"SCREEN SAVE", "SCREENSAVE", "SCREEN_SAVE", "CSA REPORT", "CSAPARALLEL_REPORT", "REPORT"} & set(image_type(header))
    if kinds:
        return f"a screen save: {cite('ImageType')} says {min(kinds)}"
    if header.text("ConversionType").upper() in ("WSD", "DV", "DI", "DF", "SD", "SI", "SYN"):
        return f"a secondary capture: {cite('ConversionType')} is {header.text('ConversionType')}"
    if header.text("BurnedInAnnotation").upper() == "YES":
        return f"text is burned into the image: {cite('BurnedInAnnotation')} is YES"
    return None


def _own(header: FrameHeader) -> str | None:
    for item in header.items("ContributingEquipmentSequence"):
        if phrases.OWN.search(phrases.normalise(_maker(item))):
            return f"already denoised by OneNEX: {cite('ContributingEquipmentSequence')} says so"
    for keyword in ("DerivationDescription", "SeriesDescription"):
        if phrases.OWN.search(phrases.normalise(header.text(keyword))):
            return f"already denoised by OneNEX: {cite(keyword)} says so"
    return None


def _localiser(header: FrameHeader) -> str | None:
    if {"LOCALIZER", "LOCALISER", "SCOUT"} & set(image_type(header)):
        return f"a localiser: {cite('ImageType')} says so"
    for keyword in ("SeriesDescription", "ProtocolName"):
        match = phrases.LOCALISER.search(phrases.normalise(header.text(keyword)))
        if match:
            return f'a localiser: {cite(keyword)} says "{match[0]}"'
    return None


def _mosaic(header: FrameHeader) -> str | None:
    advice = "export the series as single images or as enhanced DICOM"
    if "MOSAIC" in image_type(header):
        return f"a mosaic of many slices in one image: {cite('ImageType')} says MOSAIC; {advice}"
    tiles = private_text(header.dataset, "SIEMENS MR HEADER", 0x0019, 0x0A)
    if tiles.isdigit() and int(tiles) > 1:
        return f"a mosaic of {tiles} slices in one image: Siemens private (0019,100A) says so; {advice}"
    return None


def _component(header: FrameHeader) -> str | None:
    stated = header.text("ComplexImageComponent").upper()
    if stated not in ("", "MAGNITUDE"):
        return f"{_article(stated.lower())} image: {cite('ComplexImageComponent')} is {stated}"
    for token in image_type(header)[2:4]:
        if token in _COMPONENTS:
            return f"{_article(_COMPONENTS[token])} image: {cite('ImageType')} says {token}"
    raw = private_text(header.dataset, "GEMS_PARM_01", 0x0043, 0x2F)
    if raw.isdigit() and int(raw) in _GE_COMPONENTS:
        return f"{_article(_GE_COMPONENTS[int(raw)])} image: GE private (0043,102F) is {raw}"
    return None


def _maker(item: Dataset) -> str:
    header = FrameHeader(item)
    return f"{header.text('Manufacturer')} {header.text('ManufacturerModelName')}"


def _article(word: str) -> str:
    return f"an {word}" if word.startswith("i") else f"a {word}"


def _map(header: FrameHeader) -> str | None:
    tokens = image_type(header)
    for token in tokens[2:]:
        if token in _MAPS:
            return f"{_MAPS[token]}: {cite('ImageType')} says {token}"
    technique = header.text("VolumeBasedCalculationTechnique").upper()
    if technique in _RENDERINGS:
        return f"{_RENDERINGS[technique]}: {cite('VolumeBasedCalculationTechnique')} is {technique}"
    derived = tokens[:1] == ("DERIVED",)
    plain = phrases.normalise(header.text("SeriesDescription"))
    for name, pattern in phrases.MAP_NAMES.items():
        match = pattern.search(plain)
        # A protocol that ends in an ADC map often names it in its first series too: the name counts for derived images,
        # or when it is the last word of the description.
        if match and (derived or not tokens or match.end() == len(plain)) and "TRACEW" not in tokens:
            return f'{name}: {cite("SeriesDescription")} says "{match[0]}"'
    return None


def _vendor_ai(header: FrameHeader) -> str | None:
    vendor = phrases.named(header.text("Manufacturer"), phrases.VENDORS)
    patterns = [phrases.VENDOR_AI]
    if vendor == "Siemens":
        patterns.append(phrases.VENDOR_AI_SIEMENS)
    if vendor == "UIH":
        patterns.append(phrases.VENDOR_AI_UIH)
    keywords = ("ImageType", "FrameType", "SeriesDescription", "ProtocolName", "DerivationDescription", "ImageComments")
    texts = [(cite(keyword), header.text(keyword)) for keyword in keywords]
    texts.append(("Siemens private (0021,1175)", private_text(header.dataset, "SIEMENS MR SDI 02", 0x0021, 0x75)))
    for item in header.items("ContributingEquipmentSequence"):
        texts.append((cite("ContributingEquipmentSequence"), _maker(item)))
    for where, text in texts:
        for pattern in patterns:
            match = pattern.search(phrases.normalise(text))
            if match:
                return f'already denoised by other software: {where} says "{match[0]}"'
    return None


def _not_rescalable(header: FrameHeader) -> str | None:
    if header.items("ModalityLUTSequence"):
        return f"its values pass through a table: {cite('ModalityLUTSequence')} is present"
    if "FloatPixelData" in header.dataset or "DoubleFloatPixelData" in header.dataset or header.integer("BitsAllocated") in (1, 64):
        return f"its pixels are not integers of 8, 16 or 32 bits: {cite('BitsAllocated')} is {header.integer('BitsAllocated')}"
    return None


def _too_small(header: FrameHeader) -> str | None:
    rows, columns = header.integer("Rows") or 0, header.integer("Columns") or 0
    if min(rows, columns) < SMALLEST_SIDE:
        return f"{rows} × {columns} pixels are too few to denoise: {cite('Rows', 'Columns')} must be {SMALLEST_SIDE} or more"
    return None
