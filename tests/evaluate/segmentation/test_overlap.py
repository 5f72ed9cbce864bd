"""Dice, sizes and volumes by hand."""

import numpy as np
import pytest

from onenex.errors import DataError
from onenex.evaluate.segmentation import dice, sizes, volumes_ml


def test_dice_by_hand() -> None:
    ours = np.array([[[1, 1, 2, 0, 3]]], dtype=np.int32)
    theirs = np.array([[[1, 2, 2, 2, 0]]], dtype=np.int32)
    assert dice(ours, theirs) == {"label 1": pytest.approx(2 / 3), "label 2": pytest.approx(2 / 4), "label 3": 0}
    assert dice(ours, theirs, {"a": 1, "nowhere": 9}) == {"a": pytest.approx(2 / 3)}
    with pytest.raises(DataError, match="cannot be compared"):
        dice(ours, theirs[..., :3])


def test_sizes_and_volumes_by_hand() -> None:
    labels = np.zeros((2, 10, 10), dtype=np.int32)
    labels[0, :5], labels[1, :2, :5] = 1, 4
    assert sizes(labels) == {"label 1": 50, "label 4": 10}
    assert volumes_ml(labels, (5.0, 2.0, 2.0), {"grey": 1, "white": 2}) == {"grey": pytest.approx(1.0), "white": 0}
