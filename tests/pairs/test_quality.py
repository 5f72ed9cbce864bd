"""True pairs pass whatever their noise; what is misaligned, of another slice or patient, or no better than the fast scan does not."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from onenex.errors import DataError
from onenex.pairs.quality import Limits, Quality, assess
from onenex.pairs.scoring import figure, scores
from onenex.physics import noise

Images = NDArray[np.float32]


@pytest.fixture(scope="module")
def stacks() -> list[figure.Stack]:
    return figure.phantom_stacks(2, (6, 96, 96))


@pytest.fixture(scope="module")
def clean(stacks: list[figure.Stack]) -> Images:
    return stacks[0].images


@pytest.fixture(scope="module")
def found(stacks: list[figure.Stack]) -> dict[str, list[Quality]]:
    return figure.judged(stacks[:4:2])


def scan(images: Images, sigma: float, seed: int = 0) -> Images:
    return noise.rician(images, sigma, np.random.default_rng(seed))


@pytest.mark.parametrize("group", figure.PAIRS)
def test_pairs_pass(found: dict[str, list[Quality]], group: str) -> None:
    assert all(one.accepted for one in found[group])
    slices = [reasons for one in found[group] for reasons in one.slice_reasons]
    assert sum(not reasons for reasons in slices) >= 0.98 * len(slices)


@pytest.mark.parametrize("group", figure.WRONG)
def test_wrong_ones_are_rejected_with_a_reason(found: dict[str, list[Quality]], group: str) -> None:
    assert found[group]
    assert not any(one.accepted for one in found[group])
    assert not any(one.accepted_slices for one in found[group])
    expected = {"1 pixel off": "not aligned", "2 pixels off": "not aligned", "no less noisy": "no less noisy", "clipped": "saturated"}
    if group in expected:
        assert all(expected[group] in " ".join(one.reasons) for one in found[group])


def test_every_limit_alone_rejects(clean: Images) -> None:
    fast, reference = scan(clean, 0.05), scan(clean, 0.02, 1)
    assert assess(fast, reference).accepted
    strict = {
        "correlation": 1.1,
        "structure": 1.1,
        "nmi": 2.1,
        "motion_px": 0.0,
        "noise_ratio": 0.01,
        "clipped": -1.0,
        "offset": 0.0,
        "snr": 1e3,
        "foreground": 1.0,
    }
    for name, value in strict.items():
        assert len(assess(fast, reference, limits=replace(Limits(), **{name: value})).reasons) == 1, name


def test_scores_are_what_was_made(clean: Images) -> None:
    shifted = np.roll(clean, (1, 1), axis=(1, 2))
    found = assess(300 * scan(clean, 0.05), 800 * scan(shifted, 0.025, 1)).scores
    assert found.motion_px == pytest.approx(math.sqrt(2), abs=0.1)
    found = assess(300 * scan(clean, 0.05), 800 * scan(clean, 0.025, 1)).scores
    assert found.motion_px < 0.15
    assert found.gain == pytest.approx(300 / 800, rel=0.01)
    assert found.noise_ratio == pytest.approx(0.5, abs=0.06)
    assert found.correlation == pytest.approx(1, abs=0.01)
    assert found.structure == pytest.approx(1, abs=0.02)
    assert found.reference_snr == pytest.approx(2 * found.snr, rel=0.15)
    assert abs(found.offset) < 0.03 * 300
    told = assess(300 * scan(clean, 0.05), 800 * scan(clean, 0.025, 1), sigma=np.full(clean.shape, 30, np.float32)).scores
    assert told.snr == pytest.approx(found.snr / 2, rel=0.15)


def test_one_bad_slice_does_not_spoil_the_stack(clean: Images) -> None:
    reference = scan(clean, 0.02, 1)
    reference[2] = np.roll(reference[2], 3, axis=0)
    reference[4] *= 1.6
    found = assess(scan(clean, 0.05), reference)
    assert found.accepted
    assert found.accepted_slices == (0, 1, 3, 5)
    assert any("not aligned" in reason for reason in found.slice_reasons[2])
    assert any("as bright as the stack" in reason for reason in found.slice_reasons[4])


def test_half_a_stack_of_bad_slices_does(clean: Images) -> None:
    reference = scan(clean, 0.02, 1)
    reference[:4] *= np.float32(np.array([0.6, 1.5, 0.6, 1.5]))[:, None, None]
    found = assess(scan(clean, 0.05), reference)
    assert not found.accepted
    assert found.accepted_slices == ()


def test_swapped_scans_are_noticed(clean: Images) -> None:
    fast, reference = scan(clean, 0.06), scan(clean, 0.03, 1)
    assert assess(fast, reference).accepted
    swapped = assess(reference, fast)
    assert swapped.scores.noise_ratio == pytest.approx(2, abs=0.25)
    assert "no less noisy" in " ".join(swapped.reasons)
    assert "no less noisy (" in " ".join(assess(fast, fast).reasons)
    assert assess(reference, fast, limits=Limits(noise_ratio=math.inf)).accepted


def test_k_space_filled_with_zeros_hides_no_noise(clean: Images) -> None:
    """A fast scan shown on a larger matrix than it was measured on has no noise at all in its finest detail."""
    cut = np.fft.fftshift(np.fft.fft2(scan(clean, 0.06)), axes=2)
    cut[..., :14] = cut[..., -14:] = 0
    fast = np.abs(np.fft.ifft2(np.fft.ifftshift(cut, axes=2))).astype(np.float32)
    assert assess(fast, scan(clean, 0.03, 1)).scores.noise_ratio < 0.75


def test_clipping_is_looked_for_before_interpolation(clean: Images) -> None:
    reference = scan(clean, 0.02, 1)
    source = np.minimum(reference, np.float32(0.6))
    assert assess(scan(clean, 0.05), reference).scores.clipped == 0
    found = assess(scan(clean, 0.05), reference, source=source)
    assert found.scores.clipped > 0.05
    assert "clipped" in found.reasons[0]
    assert scores.clipped(np.zeros((1, 4, 4), np.float32)) == 0


def test_pixels_beyond_the_reference_do_not_count(clean: Images) -> None:
    reference, inside = scan(clean, 0.02, 1), np.ones(clean.shape, np.bool_)
    inside[:, :30] = False
    found = assess(scan(clean, 0.05), np.where(inside, reference, 0).astype(np.float32), inside=inside)
    assert found.accepted
    assert all(not reasons for reasons in found.slice_reasons)


def test_air_small_slices_and_nonsense() -> None:
    air = noise.rician(np.zeros((2, 40, 40), np.float32), 1.0, np.random.default_rng(0))
    assert not assess(air, air[::-1]).accepted
    assert "next to nothing" in assess(np.zeros((2, 40, 40), np.float32), np.zeros((2, 40, 40), np.float32)).reasons[0]
    assert not assess(np.ones((1, 8, 8), np.float32), np.ones((1, 8, 8), np.float32)).accepted
    with pytest.raises(DataError, match="one shape"):
        assess(air, air[:1])


def test_shifts_below_a_pixel(clean: Images) -> None:
    rows, columns = (np.fft.fftfreq(n) for n in clean.shape[1:])
    turn = np.exp(-2j * np.pi * (0.3 * rows[:, None] - 0.45 * columns[None, :]))
    moved = np.fft.ifft2(np.fft.fft2(clean) * turn).real.astype(np.float32)
    bands = scores.band(clean), scores.band(moved)
    found = np.median(np.concatenate([scores.shifts((a, b), image > 0.1) for a, b, image in zip(*bands, clean, strict=True)]), axis=0)
    np.testing.assert_allclose(found, [0.3, -0.45], atol=0.1)


def test_the_figure_is_drawn(tmp_path: Path, found: dict[str, list[Quality]]) -> None:
    counts = figure.figure(None, tmp_path / "new" / "quality.png", found=found)
    assert (tmp_path / "new" / "quality.png").read_bytes()[:4] == b"\x89PNG"
    assert counts["pair, 2 averages"] == (6, 6)
    assert counts["2 pixels off"] == (0, 6)


@pytest.mark.data
def test_real_scans_part_as_the_phantom_does(data_dir: Path) -> None:
    stacks = [one for one in figure.real_stacks(data_dir) if one.images.shape[1] <= 200][:3]
    found = figure.judged(stacks, sigmas=(0.05,))
    assert all(one.accepted for group in figure.PAIRS for one in found[group])
    for group in ("2 pixels off", "next slice", "other patient"):
        assert not any(one.accepted for one in found[group]), group
