"""What comes back of structures of a few pixels: a share of them, little noise, and never past the bound."""

import numpy as np
import pytest
import torch
from torch import Tensor

from onenex.model import details
from onenex.model.restoration import BOUND

SIGMA = 0.05


def tensor(image: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(image, dtype=np.float32))[None, None]


def flat(seed: int = 0, side: int = 96) -> tuple[Tensor, Tensor, Tensor]:
    """Return a scan of flat tissue far above the noise floor, a result without any noise, and σ."""
    noisy = 1 + SIGMA * np.random.default_rng(seed).normal(size=(side, side))
    return tensor(noisy), torch.ones(1, 1, side, side), torch.full((1, 1, side, side), SIGMA)


def test_a_lost_disc_comes_back_in_part_and_noise_hardly() -> None:
    _, ground, sigma = flat()
    rows, columns = np.indices(ground.shape[-2:]) - 48
    lost = tensor(2 * SIGMA * (np.hypot(rows, columns) < 2.5))
    back = details.with_details(ground + lost, ground, sigma, sigma) - ground
    assert float(back.sum()) > 0.2 * float(lost.sum())
    noisy, ground, sigma = flat()
    noise = details.with_details(noisy, ground, sigma, sigma) - ground
    assert float(noise.std()) < 0.12 * SIGMA


def test_what_is_broad_was_never_lost() -> None:
    """A bias over the whole slice, or the shading of a coil, is not a detail."""
    _, ground, sigma = flat()
    ramp = torch.linspace(-SIGMA, SIGMA, ground.shape[-1]).expand_as(ground)
    back = details.with_details(ground + ramp, ground, sigma, sigma) - ground
    assert float(back[..., 16:-16].abs().max()) < 1e-3 * SIGMA


def test_where_there_is_no_noise_nothing_comes_back() -> None:
    noisy, ground, sigma = flat()
    assert torch.equal(details.with_details(noisy, ground, torch.zeros_like(sigma), sigma), ground)


def test_no_pixel_leaves_its_bound() -> None:
    noisy, ground, sigma = flat()
    tight = torch.full_like(sigma, 0.001)
    found = details.with_details(noisy, ground, sigma, tight)
    assert float((found - noisy).abs().max()) <= BOUND * 0.001 + 1e-6


def test_the_noise_floor_is_no_detail() -> None:
    """In air the scan shows 1.25 σ where nothing is, and that isn't given back to a result of 0."""
    generator = np.random.default_rng(0)
    air = tensor(np.hypot(*(SIGMA * generator.normal(size=(2, 96, 96)))))
    back = details.with_details(air, torch.zeros_like(air), torch.full_like(air, SIGMA), torch.full_like(air, 10.0))
    assert float(back.mean()) < 0.05 * SIGMA


@pytest.mark.parametrize("turn", [lambda x: x.flip(-1), lambda x: x.flip(-2), lambda x: x.transpose(-1, -2)])
def test_flips_and_turns_commute(turn: object) -> None:
    images = flat()
    one = turn(details.with_details(*images, images[2]))  # type: ignore[operator]
    other = details.with_details(*(turn(image) for image in (*images, images[2])))  # type: ignore[operator]
    torch.testing.assert_close(one, other)


def test_scale_changes_nothing() -> None:
    measured, restored, sigma = flat()
    plain, scaled = (details.with_details(*(f * image for image in (measured, restored, sigma, sigma))) / f for f in (1.0, 37.0))
    torch.testing.assert_close(plain, scaled, atol=1e-5, rtol=1e-4)
