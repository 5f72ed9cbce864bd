"""Measurements brought together: pooled errors, groups in which every scan weighs the same, order."""

import math

import numpy as np
import pytest

from onenex.evaluate.cohort.methods import FAST, INPUT
from onenex.evaluate.reporting.groups import LPIPS, PSNR, cells, groups
from tests.evaluate.reporting.frames import frame, rows


def test_psnr_comes_of_errors_pooled_over_pixels() -> None:
    images = rows({FAST: 0.01}, n=2)
    images[0]["foreground_mse"], images[0]["foreground_n_pixels"] = 0.04, 300
    (cell,) = cells(frame(images), "foreground").to_dict("records")
    assert cell["psnr"] == pytest.approx(-10 * math.log10((300 * 0.04 + 100 * 0.01) / 400))
    assert cell["n_images"] == 2


def test_an_unbiased_error_below_zero_is_infinitely_good_and_single_ones_do_not_matter() -> None:
    images = rows({FAST: 0.01}, n=2)
    images[0]["foreground_mse"] = -0.002
    assert np.isfinite(cells(frame(images), "foreground")["psnr"]).all()
    images[1]["foreground_mse"] = -0.002
    assert np.isinf(cells(frame(images), "foreground")["psnr"]).all()


def test_every_scan_weighs_the_same() -> None:
    found = cells(frame(rows({FAST: 0.1}, file="a", n=50), rows({FAST: 0.001}, file="b", n=1)), "foreground")
    (group,) = groups(found, ())
    assert group.values["psnr"][FAST] == pytest.approx((10 + 30) / 2)
    assert (group.n_files, group.n_patients, group.n_images) == (2, 2, 51)


def test_groups_are_named_by_their_columns() -> None:
    found = cells(frame(rows({FAST: 0.1}), rows({FAST: 0.1}, file="b", acceleration=float("nan"), organ="knee")), "foreground")
    assert [group.names for group in groups(found, ("organ", "acceleration"))] == [("head", "2×"), ("knee", "simulated noise")]


def test_the_best_comes_first_whichever_way_is_better() -> None:
    images = rows({INPUT: 0.1, FAST: 0.01, "TV": 0.05})
    for row, value in zip(images, (0.4, 0.4, 0.1, 0.1, 0.2, 0.2), strict=True):
        row["foreground_lpips"] = value
    (group,) = groups(cells(frame(images), "foreground"), ())
    assert [name for name, _ in group.order(PSNR)] == [FAST, "TV", INPUT]
    assert [name for name, _ in group.order(LPIPS)] == [FAST, "TV", INPUT]


def test_what_does_not_exist_is_left_out_of_means() -> None:
    images = rows({FAST: 0.1}, n=2)
    images[0]["foreground_cnr"], images[1]["foreground_cnr"] = math.inf, 3.0
    (group,) = groups(cells(frame(images), "foreground"), ())
    assert group.values["cnr"][FAST] == 3.0
