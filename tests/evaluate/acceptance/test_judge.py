"""Every test of the acceptance phantom passes what is right, and fails the damage that it is there to catch, and no other."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from scipy import ndimage

from onenex.evaluate.acceptance import Check, judge, layouts
from onenex.evaluate.acceptance.layouts import Scan
from onenex.evaluate.acceptance.records import Stack
from onenex.series import FloatImages

NAMES = (
    "signal-to-noise ratio", "edges, high contrast", "edges, low contrast", "edges, whole matrix", "low-contrast discs",
    "low-contrast detectability", "geometry", "uniformity", "ghosts", "zippers", "artefacts visible", "intensity",
)  # fmt: skip
Change = Callable[[Scan], FloatImages]
QUIET = 0.2
"""Noise that the perfect denoiser leaves, of the scan's."""


@pytest.fixture(scope="module")
def scans() -> list[Scan]:
    return layouts.all_scans(seeds=2, contrast_slices=8, sigmas=(0.06,))


def judged(scans: Sequence[Scan], change: Change) -> dict[str, Check]:
    made = iter([change(scan) for scan in scans])
    stacks: list[Stack] = judge.denoised(scans, lambda images: np.stack([next(made) for _ in images]).astype(np.float32))
    return {check.name: check for check in judge.checks(stacks, np.random.default_rng(0))}


def perfect(scan: Scan) -> FloatImages:
    """A fifth of the noise, and nothing else changed: what a denoiser should be."""
    return scan.clean + np.float32(QUIET) * (scan.image - scan.clean)


def failed(checks: dict[str, Check]) -> set[str]:
    return {name for name, check in checks.items() if not check.passed}


def test_a_perfect_denoiser_passes_every_test(scans: list[Scan]) -> None:
    checks = judged(scans, perfect)
    assert tuple(checks) == NAMES
    assert failed(checks) == set()
    assert checks["signal-to-noise ratio"].worst.value == pytest.approx(4.0, abs=0.5)


def test_doing_nothing_fails_only_the_gain(scans: list[Scan]) -> None:
    checks = judged(scans, lambda scan: scan.image)
    assert failed(checks) - {"edges, low contrast", "edges, whole matrix"} == {"signal-to-noise ratio"}  # with two scans noisy edges tell little
    assert all(one.value == pytest.approx(0, abs=1e-9) for one in checks["geometry"].measured)
    assert all(one.value == pytest.approx(1, abs=1e-6) for one in checks["zippers"].measured)


def blurred(scan: Scan) -> FloatImages:
    return ndimage.gaussian_filter(perfect(scan), 0.6)


def moved(scan: Scan) -> FloatImages:
    return ndimage.shift(scan.clean, (0.15, 0.0), order=3, mode="nearest") + np.float32(QUIET) * (scan.image - scan.clean)


def brighter(scan: Scan) -> FloatImages:
    return np.float32(1.025) * perfect(scan)


def shaded(scan: Scan) -> FloatImages:
    return perfect(scan) * np.linspace(0.9, 1.1, scan.image.shape[0], dtype=np.float32)[:, None]


def without_ghosts(scan: Scan) -> FloatImages:
    if scan.without_zippers is None:
        return perfect(scan)
    uniform = layouts.all_scans(seeds=1, contrast_slices=0, sigmas=(0.06,))[0]
    return perfect(scan) - np.float32(0.3) * (scan.without_zippers - uniform.clean)


def without_zippers(scan: Scan) -> FloatImages:
    return perfect(scan) - (0 if scan.without_zippers is None else scan.clean - scan.without_zippers)


def without_small_discs(scan: Scan) -> FloatImages:
    image = perfect(scan).copy()
    for site in scan.sites:
        if 0 < site.radius < 3 and abs(site.rose) < 4:
            rows, columns = np.ogrid[: image.shape[0], : image.shape[1]]
            near = np.hypot(rows - site.row, columns - site.column) < 5
            image[near] = image[~near & (np.hypot(rows - site.row, columns - site.column) < 9)].mean()
    return image


@pytest.mark.parametrize(
    ("damage", "caught"),
    [
        (blurred, {"edges, high contrast", "edges, low contrast", "edges, whole matrix"}),
        (moved, {"geometry"}),
        (brighter, {"intensity"}),
        (shaded, {"uniformity"}),
        (without_ghosts, {"ghosts"}),
        (without_zippers, {"zippers", "artefacts visible"}),
        (without_small_discs, {"low-contrast discs", "low-contrast detectability"}),
    ],
)
def test_damage_is_caught_by_its_own_test(scans: list[Scan], damage: Change, caught: set[str]) -> None:
    found = failed(judged(scans, damage))
    assert caught <= found
    unrelated = set(NAMES) - caught
    also = {
        blurred: {"zippers", "ghosts", "low-contrast detectability"}, moved: {"zippers"}, shaded: {"intensity", "ghosts"},
    }.get(damage, set())  # fmt: skip
    assert found & unrelated <= also
