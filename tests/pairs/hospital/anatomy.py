"""What the patients of the generated hospital are made of: real slices of ../shared/data, or the numerical phantom.

Nobody gave us scans of shoulders and thoracic spines: these patients have the pixels of knees and lumbar spines. Without the data
every patient is the phantom's head, whatever its headers call it. Both are enough to judge software, and no more. Contrasts that an
anatomy has no scan of are made from one it has, by a curve of intensities that is not monotonic.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import numpy as np

from onenex.physics import phantom
from onenex.scans import load_images, read_manifest
from onenex.series import FloatImages
from tests.pairs.hospital.scan import resized

MAX_SIDE, MAX_THICK, MAX_THIN = 208, 12, 28
SEQUENCES = ("MT", "STIR", "T2*w", "T2-FLAIR", "PDw", "T2w", "T1w")
"""What a patient can be scanned with."""
THIN_MM = 2.5
"""Slices closer than this are cut anew when the patient moves through them."""

_SPINE = ({"T1w": "lspine_hitachi_t1w_sag", "STIR": "lspine_hitachi_stir_sag", "T2w": "lspine_hitachi_t2w_sag"},
          {"T1w": "lspine_hitachi_t1w_axi", "T2w": "lspine_hitachi_t2w_axi"}, {"T2w": "lspine_siemens_t2_sag"})  # fmt: skip
_KNEE = ({"PDw": "knee_ge_mese_te13", "T2w": "knee_ge_mese_te50"}, {"PDw": "knee_ge_mese_te6", "T2w": "knee_ge_mese_te44"})
REAL: Mapping[str, tuple[Mapping[str, str], ...]] = {
    "head": (
        {"T1w": "head_philips_t1_mprage"}, {"T2-FLAIR": "head_siemens_t2flair_ax"}, {"T1w": "head_patient1_t1w", "T2w": "head_patient1_t2w"},
        {"T1w": "head_philips_t1_ax"}, {"T2*w": "head_siemens_t2star_ax"}, {"T1w": "head_patient5_t1w", "T2w": "head_patient5_t2w"},
        {"T1w": "head_siemens_t1_mprage_child"}, {"T2w": "head_unknown_t2_ax"}, {"T1w": "head_siemens_t1_sag"},
    ),
    "knee": _KNEE,
    "C-spine": (
        {"T2*w": "cspine_siemens_sub-01_mtoff", "MT": "cspine_siemens_sub-01_mton"}, {"T2w": "cspine_t2_ms_ax"}, {"T2*w": "cspine_t2star_ax"},
        {"T2*w": "cspine_siemens_sub-05_mtoff", "MT": "cspine_siemens_sub-05_mton"}, {"T2*w": "cspine_siemens_sub-03_mtoff"},
    ),
    "T-spine": _SPINE[::-1],
    "L-spine": _SPINE,
    "shoulder": _KNEE[::-1],
}  # fmt: skip
"""Organ → subjects: sequence → id in the manifest; the scans of a subject share their matrix."""
OWN = {"T-spine": "L-spine", "shoulder": "knee"}
"""Organ without scans → the organ that its pixels are of."""
_NO_SPACING = {"head": 0.45, "C-spine": 0.5, "L-spine": 1.0}
"""mm, where the manifest doesn't say."""


@dataclass(frozen=True, kw_only=True)
class Anatomy:
    """One subject, as the scanner would see it without noise (real ones: with what noise they have)."""

    plane: str
    spacing_mm: tuple[float, float, float]
    contrasts: Mapping[str, FloatImages]
    """Sequence → (slice, row, column), bright foreground about 1; one shape for all."""

    @property
    def thin(self) -> bool:
        return self.spacing_mm[0] <= THIN_MM and len(next(iter(self.contrasts.values()))) >= 10

    def contrast(self, sequence: str) -> FloatImages:
        """The subject in any contrast: its own scan, or one made up."""
        if sequence in self.contrasts:
            return self.contrasts[sequence]
        knots = np.random.default_rng(zlib.crc32(sequence.encode())).uniform(0.15, 1.0, 7)
        source = next(iter(self.contrasts.values()))
        return np.interp(source, [0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.1, 2.0], [0.0, *knots]).astype(np.float32)


@lru_cache(maxsize=32)
def real_anatomy(data: Path, organ: str, number: int) -> Anatomy:
    """Subject `number` of an organ (they come round again), from the packed scans in `data`."""
    infos = {info.id: info for info in read_manifest(data)[::-1]}  # the train file where both splits have one
    files = REAL[organ][number % len(REAL[organ])]
    contrasts = {}
    for sequence, name in files.items():
        images = load_images(infos[name])
        most = MAX_THIN if (infos[name].slice_thickness_mm or 9) <= THIN_MM else MAX_THICK
        first = max(0, (len(images) - most) // 2)
        images = images[first : first + most]
        shrink = min(1.0, MAX_SIDE / max(images.shape[1:]))
        shape = tuple(round(n * shrink) for n in images.shape[1:])
        small = np.abs(resized(images, shape)).astype(np.float32) if shrink < 1 else images.astype(np.float32)
        contrasts[sequence] = small / np.percentile(small[small > 0.1 * small.max()], 99)
    info = infos[next(iter(files.values()))]
    pixel = (info.pixel_spacing_mm or _NO_SPACING[OWN.get(organ, organ)]) / shrink
    step = info.slice_thickness_mm or 4.0
    return Anatomy(plane=info.plane, spacing_mm=(step, pixel, pixel), contrasts=contrasts)


@cache
def _phantom(shape: tuple[int, int, int]) -> FloatImages:
    images = phantom.head_phantom(shape, sequence="T1w", supersampling=1)
    return np.asarray(images / np.percentile(images[images > 0.1 * images.max()], 99), np.float32)


def phantom_anatomy(number: int) -> Anatomy:
    """Phantom head `number`: every other one in thin slices, mirrored one way or another."""
    shape = (20, 96, 96) if number % 2 else (6, 128, 128)
    mirrored = _phantom(shape)[:, :: (1, -1)[number // 2 % 2], :: (1, -1)[number // 4 % 2]]
    images = np.clip(mirrored, 0, None) ** np.float32(1 - 0.08 * (number % 5))
    step = (phantom.HIGHEST_MM - phantom.LOWEST_MM) / (shape[0] - 1)
    pixel = phantom.FOV_MM / shape[1]
    return Anatomy(plane="axial", spacing_mm=(min(step, THIN_MM) if number % 2 else step, pixel, pixel), contrasts={"T1w": images})


def anatomy(data: Path | None, organ: str, number: int) -> Anatomy:
    """Subject `number` of an organ, real where there is data."""
    return phantom_anatomy(number) if data is None else real_anatomy(data, organ, number)
