"""The generated hospital is what its truth says: headers are read as they were meant, and the patients moved as stated."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from scipy import ndimage

from onenex.dicom.read import read_series
from onenex.series import Series
from tests.pairs.hospital.make import VARIANTS, VENDORS, TruePair, Truth, make_hospital
from tests.pairs.hospital.scan import Matrix, rigid
from tests.pairs.hospital.traps import TRAPS

Read = dict[str, Series]
Volume = tuple[NDArray[np.float32], Matrix]
"""(slice, row, column) and index → LPS mm."""


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    return make_hospital(tmp_path_factory.mktemp("hospital"), data=None, n_patients=6, seed=1)


@pytest.fixture(scope="module")
def series(hospital: Truth) -> Read:
    return {one.uid: one for one in read_series(hospital.folder)}


def volume(one: Series) -> Volume:
    """Pixels, and their place as the headers of the files have it."""
    images = one.source.images(one.stacks[0])
    headers = [dcmread(frame.path, stop_before_pixels=True) for frame in one.stacks[0].frames]
    frames = [frame.frame for frame in one.stacks[0].frames]

    def group(header: Dataset, frame: int, name: str) -> Dataset:
        if "PerFrameFunctionalGroupsSequence" not in header:
            return header
        own: Dataset = header.PerFrameFunctionalGroupsSequence[frame]
        shared: Dataset = header.SharedFunctionalGroupsSequence[0]
        return own[name][0] if name in own else shared[name][0]

    places = [
        np.array(group(header, frame, "PlanePositionSequence").ImagePositionPatient, float) for header, frame in zip(headers, frames, strict=True)
    ]
    cosines = np.array(group(headers[0], 0, "PlaneOrientationSequence").ImageOrientationPatient, float)
    rows_mm, columns_mm = (float(mm) for mm in group(headers[0], 0, "PixelMeasuresSequence").PixelSpacing)
    matrix = np.eye(4)
    matrix[:3, 1], matrix[:3, 2], matrix[:3, 3] = cosines[3:] * rows_mm, cosines[:3] * columns_mm, places[0]
    matrix[:3, 0] = (places[-1] - places[0]) / (len(places) - 1)
    return images, matrix


def agreement(fast: Volume, reference: Volume, motion: Matrix, brighter_than: float = -1.0) -> float:
    """Correlation of the fast scan, brought onto the reference's grid, with the reference; `motion` as in `TruePair.fast_to_reference`.

    Pixels count where the reference exceeds `brighter_than` of its 99th percentile.
    """
    to_fast = np.linalg.inv(fast[1]) @ np.linalg.inv(motion) @ reference[1]
    to_fast[0] = np.where(np.abs(to_fast[0] - np.rint(to_fast[0])) < 1e-3, np.rint(to_fast[0]), to_fast[0])
    shape = reference[0].shape
    moved = ndimage.affine_transform(fast[0], to_fast[:3, :3], to_fast[:3, 3], shape, order=1, cval=np.nan)
    inside = np.isfinite(moved) & (reference[0] > brighter_than * np.percentile(reference[0], 99))
    assert inside.mean() > 0.3
    smooth = [ndimage.gaussian_filter(np.where(inside, image, 0), (0, 1.0, 1.0))[inside] for image in (moved, reference[0])]
    return float(np.corrcoef(*smooth)[0, 1])


def nudges(pair: TruePair, reference: Volume) -> dict[str, Matrix]:
    """Motions that are a little wrong: half a pixel along either axis, 0.7° about the normal."""
    step = reference[1][:3, 1:3] * 0.6
    centre, normal = np.array(pair.centre_mm), reference[1][:3, 0] / np.linalg.norm(reference[1][:3, 0])
    found = {f"{sign:+d} along {axis}": rigid(np.zeros(3), sign * step[:, axis], centre) for sign in (1, -1) for axis in (0, 1)}
    return found | {f"{sign:+d} turned": rigid(sign * np.radians(0.7) * normal, np.zeros(3), centre) for sign in (1, -1)}


def test_series_are_read_as_they_were_meant(hospital: Truth, series: Read) -> None:
    for pair in hospital.pairs:
        settings = dict(zip((pair.fast_uid, pair.reference_uid), pair.setting.split(" against "), strict=True))
        for uid, setting in settings.items():
            one, (nex, factor) = series[uid], (float(part) for part in setting.split()[1::2])
            assert one.skip_reason is None
            found = one.acquisition
            assert (found.vendor, found.organ, found.sequence) == (pair.vendor, pair.organ, pair.sequence)
            assert found.nex == (None if pair.variant == "named" else nex)
            assert (found.acceleration or 1) == factor
            assert len(one.stacks) == 1
        n_fast = len(series[pair.fast_uid].stacks[0].frames)
        assert 2 <= pair.n_slices <= n_fast


def test_every_kind_of_pair_and_trap_is_there(hospital: Truth, series: Read) -> None:
    variants = Counter(pair.variant for pair in (*hospital.pairs, *hospital.optional))
    assert set(variants) == set(VARIANTS)
    assert {pair.vendor for pair in hospital.pairs} == set(VENDORS)
    assert {pair.thin for pair in hospital.pairs} == {True, False}
    assert len(set(hospital.lone.values())) == len(TRAPS) - len(("copied", "litter")) - 3 + len(("localiser", "time series"))
    assert len(hospital.doomed) == len(set(hospital.doomed.values())) == 3
    skipped = {"localiser", "phase images", "a derived map", "damaged"}
    for uid, trap in hospital.lone.items():
        assert (series[uid].skip_reason is not None) == (trap in skipped) or trap == "denoised by the vendor", trap
    assert sum(series[uid].skip_reason is not None for uid, trap in hospital.lone.items() if trap == "denoised by the vendor") == 1
    assert any(series[pair.fast_uid].damaged for pair in hospital.optional)


def test_repeats_and_time_series_have_their_volumes(hospital: Truth, series: Read) -> None:
    assert {repeats.n_repeats for repeats in hospital.repeats} == {3, 6}
    for repeats in hospital.repeats:
        assert [len(stack.frames) for stack in series[repeats.series_uid].stacks] == [repeats.n_slices] * repeats.n_repeats
    times = [uid for uid, trap in hospital.lone.items() if trap == "a time series"]
    assert [len(series[uid].stacks) for uid in times] == [60] * len(times) != []


def test_the_patients_moved_as_stated(hospital: Truth, series: Read) -> None:
    chosen = {(pair.vendor, pair.thin): pair for pair in hospital.pairs if pair.reference_uid not in hospital.holes}
    for pair in chosen.values():
        fast, reference = volume(series[pair.fast_uid]), volume(series[pair.reference_uid])
        best = agreement(fast, reference, pair.fast_to_reference)
        assert best > 0.85
        assert best > agreement(fast, reference, np.linalg.inv(pair.fast_to_reference))
        for name, nudge in nudges(pair, reference).items():
            assert best > agreement(fast, reference, nudge @ pair.fast_to_reference), (pair.vendor, name)


def test_pairs_that_only_their_headers_make_do_not_fit(hospital: Truth, series: Read) -> None:
    for (fast_uid, reference_uid), why in hospital.doomed.items():
        fast, reference = series[fast_uid], series[reference_uid]
        assert (fast.acquisition.sequence, fast.acquisition.nex, reference.acquisition.nex) == (reference.acquisition.sequence, 1, 4)
        assert agreement(volume(fast), volume(reference), np.eye(4), brighter_than=0.1) < 0.6, why


def test_motions_stay_inside_what_is_promised(hospital: Truth) -> None:
    for pair in hospital.pairs:
        motion = pair.fast_to_reference
        angle = np.degrees(np.arccos(np.clip((np.trace(motion[:3, :3]) - 1) / 2, -1, 1)))
        centre = np.array(pair.centre_mm)
        assert 0 < angle < 6.1 if pair.variant == "triple" else 0 < angle < 3.01
        assert np.linalg.norm(motion[:3, :3] @ motion[:3, :3].T - np.eye(3)) < 1e-9
        assert np.linalg.norm(motion[:3, :3] @ centre + motion[:3, 3] - centre) < 6 * pair.pixel_mm


def test_errors_of_registration_are_counted_in_pixels(hospital: Truth) -> None:
    pair = next(pair for pair in hospital.pairs if not pair.thin)
    centre, normal = np.array(pair.centre_mm), pair.axes[0]
    assert pair.error_px(pair.fast_to_reference) == pytest.approx(0, abs=1e-9)
    shifted = rigid(np.zeros(3), 2 * pair.pixel_mm * pair.axes[2] + 5 * normal, centre) @ pair.fast_to_reference
    assert pair.error_px(shifted) == pytest.approx(2, rel=0.01)  # what is out of the plane of a thick slice doesn't count
    turned = pair.fast_to_reference @ rigid(np.radians(1.0) * normal, np.zeros(3), centre)
    assert pair.error_px(turned) == pytest.approx(np.radians(1.0) * 0.35 * pair.radius_mm / pair.pixel_mm, rel=0.02)


def test_what_must_not_leak_is_in_the_archive(hospital: Truth) -> None:
    """Else the search for it in what is made of the archive would find nothing, whatever leaked."""
    everything = b"".join(path.read_bytes() + str(path).encode() for path in hospital.folder.rglob("*") if path.is_file())
    for kind in ("names", "ids", "uids", "others"):
        assert not {text for text in hospital.planted[kind] if text.encode() not in everything}, kind
    assert sum(text.encode() in everything for text in hospital.planted["dates"]) >= 12


def test_the_same_seed_makes_the_same_hospital(tmp_path: Path) -> None:
    first, again, other = (make_hospital(tmp_path / name, data=None, n_patients=1, seed=seed) for name, seed in (("a", 3), ("b", 3), ("c", 4)))
    assert [pair.fast_uid for pair in first.pairs] == [pair.fast_uid for pair in again.pairs] != [pair.fast_uid for pair in other.pairs]
    np.testing.assert_array_equal(first.pairs[0].fast_to_reference, again.pairs[0].fast_to_reference)
    files = sorted(path.relative_to(first.folder) for path in first.folder.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(again.folder) for path in again.folder.rglob("*") if path.is_file())
    assert all((first.folder / path).read_bytes() == (again.folder / path).read_bytes() for path in files if path.suffix != ".zip")


@pytest.mark.data
def test_the_whole_hospital_of_real_pixels(data_dir: Path, tmp_path: Path) -> None:
    """Six patients here; forty, by hand, are 360 MB and some 75 s of one core."""
    truth = make_hospital(tmp_path, data=data_dir, n_patients=6, seed=2)
    found = {one.uid: one for one in read_series(tmp_path)}
    assert len(truth.pairs) >= 12
    for pair in [pair for pair in truth.pairs if pair.reference_uid not in truth.holes][::3]:
        assert (found[pair.fast_uid].acquisition.organ, found[pair.fast_uid].acquisition.sequence) == (pair.organ, pair.sequence)
        fast, reference = volume(found[pair.fast_uid]), volume(found[pair.reference_uid])
        best = agreement(fast, reference, pair.fast_to_reference)
        for name, nudge in nudges(pair, reference).items():
            assert best > agreement(fast, reference, nudge @ pair.fast_to_reference), (pair.vendor, pair.organ, name)
