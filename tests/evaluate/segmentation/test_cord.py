"""Grey matter of the cord: a drawn one and a real one."""

from pathlib import Path

import numpy as np
import pytest

from onenex.errors import DataError
from onenex.evaluate.segmentation.cord import cord_task
from onenex.physics import noise
from onenex.physics.scale import series_scale
from onenex.scans import load_array, load_images, read_manifest


def butterfly() -> tuple[np.ndarray, np.ndarray]:
    """Two slices of a cord: grey matter 0.8 in white matter 0.7 in fluid 1.0, and where the grey matter is; the third is empty."""
    rows, columns = np.mgrid[:60, :60] - 29.5
    cord = (rows / 14) ** 2 + (columns / 18) ** 2 < 1
    grey = (np.abs(np.abs(columns) - 5) < 2.5) & (np.abs(rows) < 8) | (np.abs(rows) < 1.5) & (np.abs(columns) < 5)
    image = np.where(grey, 0.8, np.where(cord, 0.7, 1.0)).astype(np.float32)
    labels = np.stack([grey, grey, np.zeros_like(grey)]).astype(np.int32)
    return np.stack([image, 1.2 * image, image]).astype(np.float32), labels


def test_grey_matter_of_a_cord() -> None:
    images, drawn = butterfly()
    found = cord_task(images, drawn)
    assert found.score(images) == {"cord grey matter": 1.0}
    generator = np.random.default_rng(0)
    scores = [found.score(noise.rician(images, np.float32(sigma), generator))["cord grey matter"] for sigma in (0.02, 0.05, 0.15)]
    assert 1 > scores[0] > scores[1] + 0.1 > scores[2] + 0.2
    assert not found.segmenter(images, None, found.mask)[2].any()
    assert found.score(np.ones_like(images)) == {"cord grey matter": 0.0}


def test_grey_matter_that_does_not_fit_is_refused() -> None:
    images, drawn = butterfly()
    with pytest.raises(DataError, match="one label a pixel"):
        cord_task(images[:2], drawn)
    with pytest.raises(DataError, match=r"no brighter than its surroundings on slices \[0, 1\]"):
        cord_task(2 - images, drawn)
    with pytest.raises(DataError, match="must be of one stack"):
        cord_task(images, drawn).segmenter(images[:2], None, drawn[:2] > 0)


@pytest.mark.data
def test_grey_matter_of_a_real_cord_is_found_again(data_dir: Path) -> None:
    info = next(one for one in read_manifest(data_dir) if one.id == "cspine_t2star_ax")
    images = load_images(info)
    drawn = load_array(data_dir / "test" / "cspine_t2star_ax_graymatter.npz", "labels").astype(np.int32)
    assert cord_task(images / np.float32(series_scale([images])), drawn).score(images / np.float32(series_scale([images])))["cord grey matter"] > 0.77
