"""What the name of a NIfTI file and its JSON sidecar (as dcm2niix and BIDS write it) say about the scan."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onenex.series import MAP_MEANING, UNKNOWN, Acquisition, Provenance

_VENDORS = {"siemens": "Siemens", "ge": "GE", "philips": "Philips", "uih": "UIH", "united": "UIH", "hitachi": "Hitachi", "canon": "Canon"}
_ORGANS = {"brain": "head", "head": "head", "knee": "knee", "cspine": "C-spine", "tspine": "T-spine", "lspine": "L-spine", "shoulder": "shoulder"}
_BIDS = {"T1w": "T1w", "T2w": "T2w", "PDw": "PDw", "T2starw": "T2*w", "FLAIR": "T2-FLAIR", "dwi": "DWI", "bold": "T2*w"}
"""BIDS suffix → sequence (BIDS 1.9, "Magnetic Resonance Imaging")."""


def stem(path: Path) -> str:
    """Return the file's name without `.nii` or `.nii.gz`."""
    return re.sub(r"\.nii(\.gz)?$", "", path.name, flags=re.IGNORECASE)


def free_name(folder: Path, source: Path, suffix: str) -> Path:
    """Return a path in `folder` for what is derived from `source`: its name, the suffix, and a number where that is taken."""
    ending = ".nii.gz" if source.name.lower().endswith(".gz") else ".nii"
    name = f"{stem(source)}_{re.sub(r'[^A-Za-z0-9+-]+', '_', suffix).strip('_') or 'OneNEX'}"
    tries = (folder / f"{name}{'' if number == 1 else f'_{number}'}{ending}" for number in itertools.count(1))
    return next(path for path in tries if not path.exists())


def sidecar(path: Path) -> dict[str, Any]:
    """Return the JSON file of the same name (as dcm2niix and BIDS write it); empty where there is none or it cannot be read."""
    try:
        loaded = json.loads(path.with_name(stem(path) + ".json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return loaded if isinstance(loaded, dict) else {}


def write_sidecar(path: Path, source: Path, provenance: Provenance, notes: Mapping[str, str]) -> list[Path]:
    """Copy the source's sidecar beside `path`, with what OneNEX did under the key "OneNEX"; return it, or [] where there is none.

    Parameters
    ----------
    path, source
        The derived file and the one it was made from.
    notes
        Name of a slice → what happened to it.
    """
    said = sidecar(source)
    if not said:
        return []
    made: dict[str, object] = {"Version": provenance.version, "Weights": provenance.weights_hash}
    made |= {name.capitalize(): value for name, value in provenance.settings().items()}
    if provenance.shows:
        made["Map"] = MAP_MEANING[provenance.shows]
    if notes:
        made["Slices"] = dict(notes)
    target = path.with_name(stem(path) + ".json")
    target.write_text(json.dumps({**said, "Sources": [source.name], "OneNEX": made}, indent=2) + "\n", encoding="utf-8")
    return [target]


def acquisition(path: Path, said: dict[str, Any]) -> Acquisition:
    """Return what the sidecar and the BIDS suffix of the file's name say."""
    vendor = _first_word(_VENDORS, said.get("Manufacturer"))
    organ = _first_word(_ORGANS, said.get("BodyPartExamined") or said.get("BodyPart"))
    sequence = _BIDS.get(stem(path).rsplit("_", 1)[-1], UNKNOWN)
    field, nex, acceleration = (_number(said.get(key)) for key in ("MagneticFieldStrength", "NumberOfAverages", "ParallelReductionFactorInPlane"))
    known = {
        "vendor": (vendor != UNKNOWN, "Manufacturer (JSON sidecar)"),
        "organ": (organ != UNKNOWN, "BodyPartExamined (JSON sidecar)"),
        "sequence": (sequence != UNKNOWN, "BIDS suffix of the file name"),
        "field_strength_T": (field is not None, "MagneticFieldStrength (JSON sidecar)"),
        "nex": (nex is not None, "NumberOfAverages (JSON sidecar)"),
        "acceleration": (acceleration is not None, "ParallelReductionFactorInPlane (JSON sidecar)"),
    }
    evidence = {name: origin for name, (found, origin) in known.items() if found}
    return Acquisition(vendor=vendor, organ=organ, sequence=sequence, field_strength_T=field, nex=nex, acceleration=acceleration, evidence=evidence)


def _first_word(table: dict[str, str], text: object) -> str:
    """Return the entry of the first word of `text` that the table knows ("C-SPINE" counts as one word)."""
    words = re.findall(r"[a-z]+", str(text or "").lower().replace("-", ""))
    return next((table[word] for word in words if word in table), UNKNOWN)


def _number(value: object) -> float | None:
    """Return a positive number, or None for anything else."""
    return float(value) if isinstance(value, int | float) and value > 0 else None


def skip_reason(path: Path, said: dict[str, Any]) -> str | None:
    """Refuse phase images, which are no magnitudes (BIDS `part-phase`, `_phase`; DICOM ImageType P in the sidecar)."""
    image_type = said.get("ImageType")
    kinds = {str(value).upper() for value in image_type} if isinstance(image_type, list) else set()
    if re.search(r"(^|_)(part-phase|phase\d?|phasediff)(_|$)", stem(path)) or kinds & {"P", "PHASE", "PHASE MAP"}:
        return "phase image: OneNEX denoises magnitudes"
    if kinds & {"ADC", "FA", "TRACE_FA"}:
        return "derived map, no measured image"
    return None
