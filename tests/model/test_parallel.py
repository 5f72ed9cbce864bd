"""Slices side by side come out as slices one after another, and torch's threads are given back."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from onenex.model import parallel
from tests.model.test_engine import scan
from tests.model.weights import random_model


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("mode", ["fast", "full"])
def test_slices_side_by_side_are_those_one_by_one(tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, images = random_model(tmp_path, unified=True), scan(5, 48, 40)
    together = model.denoise(images, mode=mode)
    monkeypatch.setattr(parallel, "PIXELS_AT_ONCE", 1)
    torch.set_num_threads(1)
    apart = model.denoise(images, mode=mode)
    np.testing.assert_array_equal(together.images, apart.images)
    np.testing.assert_array_equal(together.noise_sigma, apart.noise_sigma)
    for one, other in zip(together.guard or (), apart.guard or (), strict=True):
        np.testing.assert_array_equal(one.suspicion, other.suspicion)


@pytest.mark.parametrize(
    ("n_slices", "side", "n_threads", "n_at_once"), [(200, 256, 2, 2), (1, 256, 2, 1), (200, 256, 64, 16), (200, 1024, 8, 1), (9, 8192, 8, 1)]
)
def test_as_many_slices_as_threads_and_memory_allow(n_slices: int, side: int, n_threads: int, n_at_once: int) -> None:
    assert parallel.slices_at_once(n_slices, side * side, n_threads) == n_at_once


@pytest.mark.usefixtures("two_threads")
def test_each_slice_gets_its_part_of_the_threads_and_they_come_back() -> None:
    assert list(parallel.in_order(lambda _: torch.get_num_threads(), range(4), 2)) == [1, 1, 1, 1]
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_a_fault_in_one_slice_ends_it_all() -> None:
    seen = []

    def work(item: int) -> int:
        seen.append(item)
        if item == 1:
            raise ValueError("slice 1")
        return item

    with pytest.raises(ValueError, match="slice 1"):
        list(parallel.in_order(work, range(1000), 2))
    assert len(seen) < 1000
    assert torch.get_num_threads() == 2
