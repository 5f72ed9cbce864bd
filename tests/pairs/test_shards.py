"""Shards: 16 bits of any unit, one entry at a time, whole or not at all."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onenex.errors import DataError
from onenex.pairs.packing import shards
from tests.pairs.built_folder import noise_images


def test_whole_numbers_stay_as_they_are() -> None:
    image = np.arange(65536, dtype=np.float32).reshape(256, 256)
    stored, scale = shards.quantise(image)
    assert scale == 1.0
    np.testing.assert_array_equal(stored, image)


@given(unit=st.floats(1e-20, 1e20), seed=st.integers(0, 100))
def test_other_numbers_keep_sixteen_bits(unit: float, seed: int) -> None:
    image = (np.random.default_rng(seed).random((16, 16)) * unit).astype(np.float32)
    stored, scale = shards.quantise(image)
    again = stored.astype(np.float32) * np.float32(scale)
    assert np.abs(again.astype(np.float64) - image).max() <= image.max() / 131070 * 1.01
    assert stored.max() == 65535


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0])
def test_what_no_magnitude_is_is_refused(tmp_path: Path, bad: float) -> None:
    images = noise_images()
    images[1, 0, 2, 2] = bad
    with pytest.raises(DataError, match="negative, NaN or infinite"):
        shards.write(tmp_path, "abc1", iter(images))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_shard_is_a_plain_npy_file(tmp_path: Path) -> None:
    images = noise_images(n_slices=5, n_images=3)
    packed = shards.write(tmp_path, "abc1", iter(images))
    assert (packed.shard, packed.shape, len(packed.scales)) == ("shards/ab/abc1.npy", (5, 3, 8, 6), 5)
    mapped = np.load(tmp_path / packed.shard, mmap_mode="r", allow_pickle=False)
    assert mapped.dtype == np.uint16
    np.testing.assert_array_equal(mapped, images)
    assert packed.sha256 == shards.sha256(tmp_path / packed.shard)
    assert shards.write(tmp_path, "abc1", iter(images)).sha256 == packed.sha256


def test_entries_are_taken_one_by_one(tmp_path: Path) -> None:
    """The second is asked for when the first is in the file, so a series need not fit into memory."""
    sizes = []

    def entries() -> Iterator[np.ndarray]:
        for number in range(4):
            sizes.append(sum(path.stat().st_size for path in tmp_path.rglob("*.partial")))
            yield np.full((2, 300, 300), number, np.float32)

    shards.write(tmp_path, "abc1", entries())
    assert sizes[2] >= 2 * 300 * 300 * 2


def test_a_stopped_run_leaves_the_old_shard(tmp_path: Path) -> None:
    packed = shards.write(tmp_path, "abc1", iter(noise_images()))

    def stopped() -> Iterator[np.ndarray]:
        yield noise_images()[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shards.write(tmp_path, "abc1", stopped())
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / packed.shard]
    assert shards.sha256(tmp_path / packed.shard) == packed.sha256


@pytest.mark.parametrize(
    ("scan", "entries", "message"),
    [
        ("abc1", [], "no slice"),
        ("abc1", [np.ones((2, 4, 4)), np.ones((2, 4, 5))], r"slice 1: images have shape \(2, 4, 5\)"),
        ("abc1", [np.ones((4, 4))], "shape"),
        ("../abc", [np.ones((2, 4, 4))], "cannot name a shard"),
    ],
)
def test_what_cannot_be_packed_is_refused(tmp_path: Path, scan: str, entries: list[np.ndarray], message: str) -> None:
    with pytest.raises(DataError, match=message):
        shards.write(tmp_path, scan, iter(entries))
