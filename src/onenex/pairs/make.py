"""One candidate made into rows of the manifest and a shard: pixels read, brought to one grid, registered, judged, packed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from onenex.dicom.source import DicomSource
from onenex.errors import DataError, DicomError, OutOfDomain
from onenex.model.weights import Weights, load_weights
from onenex.pairs import augment
from onenex.pairs.find import settings_of
from onenex.pairs.geometry.space import Rigid
from onenex.pairs.manifest import Row
from onenex.pairs.match import resample
from onenex.pairs.packing import shards
from onenex.pairs.quality import Limits, Quality, Scores, assess
from onenex.pairs.records import Candidate, Geometry, Kind, Volume
from onenex.pairs.register import Motion, register
from onenex.series import FloatImages

LEAST_SIDE = 48
"""Pixels: what the reference covers of the fast scan must be no smaller."""
ACCELERATIONS = (3.0, 2.0, 1.5)


@dataclass(frozen=True, kw_only=True)
class Making:
    """What is asked of a pair."""

    motion: Motion = field(default_factory=Motion)
    limits: Limits = field(default_factory=Limits)
    accelerations: tuple[float, ...] = ACCELERATIONS
    """Settings made from repeats, and drawn for synthetic scans."""
    source: str = ""
    """Whose scans these are, and …"""
    licence: str = ""
    """… what may be done with them: goes into the rows, and from there into the card of weights trained on them."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One candidate, or a reference to simulate a fast scan of, and how it is called outside: keyed hashes."""

    candidate: Candidate | Volume
    folder: Path
    """The built folder."""
    id: str
    patient: str
    study: str
    series: tuple[str, ...]
    making: Making

    @property
    def volumes(self) -> tuple[Volume, ...]:
        """The volumes that it is made of."""
        return (self.candidate,) if isinstance(self.candidate, Volume) else self.candidate.volumes

    @property
    def kind(self) -> str:
        """As the manifest calls it."""
        if isinstance(self.candidate, Volume):
            return "synthetic"
        return "pairs" if self.candidate.kind is Kind.PAIR else "repeats"


class _GivenUp(Exception):
    """Nothing can be made of the candidate; the text has no word of the source."""


def make(job: Job) -> list[Row]:
    """Make a candidate's shard below the built folder and return its rows, all of split "train": the caller decides.

    A candidate of which nothing can be made has a row a slice too, not accepted, with the reason.
    """
    makers = {"pairs": _pair, "repeats": _repeats, "synthetic": _synthetic}
    try:
        return list(makers[job.kind](job))
    except _GivenUp as reason:
        return [_row(job, k, {"accepted": False, "reason": str(reason)}) for k in range(len(job.volumes[0].stack.frames))]


def _pair(job: Job) -> Iterator[Row]:
    """Bring the reference to the fast scan, and judge."""
    (fast, reference), (grid, other) = ([_images(volume) for volume in job.volumes], [_geometry(volume) for volume in job.volumes])
    try:
        rigid = register(fast, grid, reference, other, motion=job.making.motion)
        matched = resample(reference, other, grid, rigid)
    except DataError as error:
        raise _GivenUp(str(error)) from None
    window = matched.window
    if min(part.stop - part.start for part in window) < LEAST_SIDE:
        raise _GivenUp("the reference covers too little of the fast scan in the plane")
    kept = fast[list(matched.slices)]
    quality = assess(kept, matched.images, inside=matched.inside, source=reference, limits=job.making.limits)
    packed = shards.write(job.folder, job.id, (np.stack([a, b])[:, window[0], window[1]] for a, b in zip(kept, matched.images, strict=True)))
    told: dict[str, Any] = {"rows": packed.shape[2], "columns": packed.shape[3], "n_repeats": 2, **_rigid(rigid), **_of_pair(job, quality)}
    for entry, k in enumerate(matched.slices):
        yield _row(job, k, told | _entry(packed, entry) | _verdict(quality, entry) | _scores(quality.slices[entry]))
    for k, reason in matched.dropped:
        yield _row(job, k, told | {"accepted": False, "reason": reason})


def _of_pair(job: Job, quality: Quality) -> dict[str, Any]:
    """Return what a pair's rows say of the two scans: how much more was measured for the reference."""
    nex = job.volumes[0].acquisition.nex or 1.0
    acceleration = job.candidate.acceleration if isinstance(job.candidate, Candidate) else None
    ratio = quality.scores.noise_ratio
    more = acceleration if acceleration is not None else 1 / ratio**2 if 0 < ratio < 1 else None
    return {"acceleration": acceleration, "nex": nex, "reference_nex": None if more is None or more <= 1 else nex * more}


def _repeats(job: Job) -> Iterator[Row]:
    """Stack the repeats, judge the first against the mean of all others."""
    n = len(job.volumes)
    stacks = [_images(volume) for volume in job.volumes]
    if len({one.shape for one in stacks}) > 1:
        raise _GivenUp("the repeats differ in their slices")
    limits = Limits(**{**vars(job.making.limits), "noise_ratio": math.inf})
    quality = assess(stacks[0], np.mean(stacks[1:], axis=0, dtype=np.float32), limits=limits)
    packed = shards.write(job.folder, job.id, (np.stack(images) for images in zip(*stacks, strict=True)))
    nex = job.volumes[0].acquisition.nex or 1.0
    for acceleration, k in settings_of(n, job.making.accelerations) or [(float(n), 1)]:
        subsets = {"fast_repeats": tuple(range(k)), "reference_repeats": tuple(range(k, n))}
        told: dict[str, Any] = {"n_repeats": n, "acceleration": acceleration, "nex": nex, "reference_nex": nex * (n - k), **subsets}
        for entry in range(len(stacks[0])):
            yield _row(job, entry, told | _entry(packed, entry) | _verdict(quality, entry) | _scores(quality.slices[entry]))


def _synthetic(job: Job) -> Iterator[Row]:
    """Scan a reference once more, by the learnt scanner; which setting is drawn by the hash."""
    (volume,) = job.volumes
    images, seed = _images(volume), int(job.id[:8], 16)
    if min(images.shape[1:]) < LEAST_SIDE:
        raise _GivenUp("too small to simulate a scan of")
    drawn, acceleration = _drawn(images, volume, job.making.accelerations, seed)
    try:
        fast = augment.synthesise(images, drawn)
    except OutOfDomain as error:
        raise _GivenUp(str(error)) from None
    packed = shards.write(job.folder, job.id, (np.stack(both) for both in zip(fast, images, strict=True)))
    told = {"n_repeats": 2, "nex": 1.0, "reference_nex": None, "acceleration": acceleration}
    made = {"recipe": drawn.recipe, "weights": drawn.weights_hash}
    for k in range(len(images)):
        yield _row(job, k, told | made | _entry(packed, k) | {"accepted": True})


def _drawn(images: FloatImages, volume: Volume, accelerations: Sequence[float], seed: int) -> tuple[augment.Drawn, float]:
    """Draw a setting and how it is simulated; the next one where the reference's own noise is too much for the first."""
    first = seed % len(accelerations)
    for acceleration in (*accelerations[first:], *accelerations[:first]):
        setting = augment.Setting(nex=1.0, reference_nex=acceleration)
        try:
            return augment.draw(images, volume.acquisition, setting, seed=seed, weights=_weights()), acceleration
        except (DataError, OutOfDomain) as error:
            reason = str(error)
    raise _GivenUp(reason)


@lru_cache(maxsize=1)
def _weights() -> Weights:
    return load_weights()


def _images(volume: Volume) -> FloatImages:
    """Read magnitudes; what a rescale put below zero is zero."""
    try:
        return np.maximum(DicomSource().images(volume.stack), 0)
    except DicomError:
        raise _GivenUp("pixels that are missing, damaged or contradict their header") from None


def _geometry(volume: Volume) -> Geometry:
    if volume.geometry is None:
        raise _GivenUp("positions or spacings are missing")
    return volume.geometry


def _row(job: Job, k: int, told: Mapping[str, Any]) -> Row:
    """Return the row of slice `k`: what the first volume's header says, and what is `told` besides or instead."""
    volume = job.volumes[0]
    acquisition, geometry = volume.acquisition, volume.geometry
    values: dict[str, Any] = {
        **{name: getattr(acquisition, name) for name in ("organ", "vendor", "sequence", "plane", "field_strength_T", "fat_suppressed", "nex")},
        **{name: getattr(volume, name) for name in ("model", *_TIMES)},
        "rows": volume.stack.rows,
        "columns": volume.stack.columns,
        "row_spacing_mm": None if geometry is None else geometry.spacing_mm[0],
        "column_spacing_mm": None if geometry is None else geometry.spacing_mm[1],
        "slice_thickness_mm": None if geometry is None else geometry.slice_thickness_mm,
    }
    owned = {"source": job.making.source, "licence": job.making.licence}
    named = {"id": job.id, "kind": job.kind, "split": "train", "patient": job.patient, "study": job.study, "slice": k}
    ends = {"series": job.series[0], "reference_series": job.series[-1] if len(job.series) > 1 and job.kind == "pairs" else ""}
    return Row(**(values | owned | named | ends | dict(told)))


_TIMES = ("echo_time_ms", "repetition_time_ms", "inversion_time_ms", "flip_angle_deg", "b_value")


def _entry(packed: shards.Packed, entry: int) -> dict[str, Any]:
    return {"shard": packed.shard, "shard_sha256": packed.sha256, "index": entry, "scales": packed.scales[entry]}


def _verdict(quality: Quality, entry: int) -> dict[str, Any]:
    reasons: Sequence[str] = quality.reasons or quality.slice_reasons[entry]
    return {"accepted": not reasons, "reason": "; ".join(reasons)}


def _scores(found: Scores) -> dict[str, Any]:
    values = {
        "nmi": found.nmi,
        "residual_motion_px": found.motion_px,
        "correlation": found.correlation,
        "structure": found.structure,
        "noise_ratio": found.noise_ratio,
        "clipped": found.clipped,
        "gain": found.gain,
        "offset": found.offset,
        "snr": found.snr,
        "reference_snr": found.reference_snr,
    }
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def _rigid(rigid: Rigid) -> dict[str, Any]:
    """Return the transform from the reference to the fast scan; nothing where the scans lie as they are."""
    return {} if rigid == Rigid(centre_mm=rigid.centre_mm) else {"transform": tuple(rigid.inverse().numbers())}
