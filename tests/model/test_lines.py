"""Lines of interference are found wherever they run, and nothing honest is taken for one."""

import numpy as np
import pytest
from scipy import ndimage

from onenex.model import lines
from onenex.model.guard import LIMITS, guard, rician_model
from onenex.model.lines import line_scores
from onenex.physics import noise

SIDE, SIGMA = 128, 0.05
NONE = np.zeros((SIDE, SIDE), dtype=bool)


def scan(seed: int, line: tuple[int, int] | None = None, over_sigma: float = 4.0) -> np.ndarray:
    """A disc in air, scanned; with a line of interference along an axis (0 rows, 1 columns) at a place."""
    generator = np.random.default_rng(seed)
    rows, columns = np.indices((SIDE, SIDE)) - SIDE / 2
    clean = ndimage.gaussian_filter(0.7 * (np.hypot(rows, columns) < 45), 0.7).astype(np.complex64)
    if line is not None:
        axis, place = line
        drawn = generator.normal(size=(SIDE, 2)) @ np.array([1, 1j]) / np.sqrt(2) * over_sigma * SIGMA
        (clean if axis == 0 else clean.T)[place] += drawn
    noisy = clean + SIGMA * (generator.normal(size=clean.shape) + 1j * generator.normal(size=clean.shape))
    return np.abs(noisy).astype(np.float32)


@pytest.mark.parametrize("line", [(0, 60), (1, 60), (0, 8), (1, 119), (1, 30)])
@pytest.mark.parametrize("over_sigma", [4.0, 12.0])
def test_a_line_is_found_where_it_runs(line: tuple[int, int], over_sigma: float) -> None:
    axis, place = line
    scores = line_scores(scan(1, line, over_sigma), np.full((SIDE, SIDE), SIGMA, dtype=np.float32), NONE)
    assert int(scores[axis].argmax()) == place
    assert scores[axis][place] > LIMITS.line
    assert np.delete(scores[axis], place).max() < 6
    assert scores[1 - axis].max() < 6


@pytest.mark.parametrize("seed", range(6))
def test_an_honest_scan_has_none(seed: int) -> None:
    rows, columns = line_scores(scan(seed), np.full((SIDE, SIDE), SIGMA, dtype=np.float32), NONE)
    assert max(rows.max(), columns.max()) < 6.5


def test_the_border_of_a_mask_is_no_line() -> None:
    image = scan(0)
    image[:, :40] = 0
    rows, columns = line_scores(image, np.full((SIDE, SIDE), SIGMA, dtype=np.float32), NONE)
    assert max(rows.max(), columns.max()) < 6.5
    assert not columns[:44].any()


def test_a_line_that_was_given_back_does_not_count() -> None:
    image, given_up = scan(1, (1, 60), 12.0), NONE.copy()
    given_up[:, 58:63] = True
    _, columns = line_scores(image, np.full((SIDE, SIDE), SIGMA, dtype=np.float32), given_up)
    assert columns.max() < 6.5


def test_small_images_have_too_little_to_judge() -> None:
    rows, columns = line_scores(scan(0)[:16, :16], np.full((16, 16), SIGMA, dtype=np.float32), NONE[:16, :16])
    assert rows.shape == columns.shape == (16,)
    assert not rows.any()
    assert not columns.any()


def test_the_guard_gives_a_line_back_and_names_it() -> None:
    """In air and tissue alike the line stays as it was scanned; away from it the result stays."""
    measured, clean = scan(3, (1, 60)), scan(3)
    restored = ndimage.gaussian_filter(np.sqrt(np.maximum(np.square(clean) - 2 * SIGMA**2, 0)), 1.0)
    restored[:, 60] = (measured[:, 60] + restored[:, 60]) / 2
    sigma = np.full((SIDE, SIDE), SIGMA, dtype=np.float32)
    found = guard(measured, restored, rician_model(sigma))
    assert not found.verdict.passed
    assert any("interference along the column" in reason and "column 60" in reason for reason in found.verdict.reasons)
    assert np.array_equal(found.image[:, 59:62], measured[:, 59:62])
    assert found.verdict.flagged[:, 60].all()


def test_noise_has_the_spread_that_scores_are_counted_in() -> None:
    """Rician noise alone, no disc: scores of a large slice are those of chance."""
    image = noise.rician(np.full((256, 256), 0.5, dtype=np.float32), SIGMA, np.random.default_rng(0))
    rows, columns = line_scores(image, np.full((256, 256), SIGMA, dtype=np.float32), np.zeros((256, 256), dtype=bool))
    assert max(rows.max(), columns.max()) < 4.5


def test_medians_of_all_lines_at_once_are_those_one_by_one() -> None:
    """Windows with gaps, of any number of lines, none among them."""
    windows = np.random.default_rng(0).normal(size=(60, 7))
    windows[np.random.default_rng(1).random(windows.shape) < np.linspace(0, 1, 60)[:, None]] = np.nan
    n_known, medians = lines._medians(windows)
    for window, n, median in zip(windows, n_known, medians, strict=True):
        known = window[np.isfinite(window)]
        assert n == len(known)
        assert median == (np.median(known) if n else 0)
