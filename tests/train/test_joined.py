"""A joined batch is its sub-batches: losses are the mean of theirs, and draws are theirs."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from onenex.errors import OutOfDomain
from onenex.model.degradation import Measurement
from onenex.model.noise_level import NoiseMap
from onenex.text.phrases import UNKNOWNS
from onenex.train.cascade import consistency_loss, measurement_loss, structure_loss
from onenex.train.chance import integers, normal, uniform
from onenex.train.dataset import Batch
from onenex.train.joined import join, split
from onenex.train.losses import noise_loss, restoration_loss


def sub_batch(seed: int, blank: int) -> Batch:
    """Three patches, the last one real; `blank` rows at the top are masked, so that sub-batches have unlike foregrounds."""
    generator = torch.Generator().manual_seed(seed)
    measured, second, target = (0.2 + 0.8 * torch.rand((3, 1, 32, 32), generator=generator) for _ in range(3))
    for image in (measured, second, target):
        image[:, :, :blank] = 0
    return Batch(
        measured_B1HW=measured, target_B1HW=target, sigma_B1HW=0.02 + 0.1 * torch.rand((3, 1, 32, 32), generator=generator),
        is_real_B=torch.tensor([False, False, True]), nex_B=torch.ones(3), target_nex_B=torch.tensor([1.0, 1.0, 2.0]), second_B1HW=second,
        prompts=tuple((f"Patch: {seed}-{place}", *UNKNOWNS[1:]) for place in range(3)),
    )  # fmt: skip


PARTS = [sub_batch(seed, blank) for seed, blank in enumerate((0, 8, 24))]
LOSSES: dict[str, Callable[[Batch], Tensor]] = {
    "noise": lambda batch: noise_loss(NoiseMap(batch.measured_B1HW + 0.01, batch.second_B1HW + 0.01), batch),
    "measurement": lambda batch: measurement_loss(Measurement(batch.target_B1HW, batch.sigma_B1HW * 0.7), batch),
    "consistency": lambda batch: consistency_loss(Measurement(batch.target_B1HW, batch.sigma_B1HW), batch),
    "structure": lambda batch: structure_loss(batch.second_B1HW, batch),
    "restoration": lambda batch: restoration_loss(batch.second_B1HW, batch, batch.sigma_B1HW),
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_the_mean_of_its_parts(name: str) -> None:
    expected = torch.stack([LOSSES[name](part) for part in PARTS]).mean()
    torch.testing.assert_close(LOSSES[name](join(PARTS)), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["noise", "measurement", "consistency"])
def test_it_would_not_be_without_care(name: str) -> None:
    forgetful = replace(join(PARTS), parts=1)
    assert abs(float(LOSSES[name](forgetful) - LOSSES[name](join(PARTS)))) > 1e-3


def test_what_was_joined_is_split_again() -> None:
    for part, found in zip(PARTS, split(join(PARTS)), strict=True):
        assert found.prompts == part.prompts
        assert found.parts == 1
        assert torch.equal(found.second_B1HW, part.second_B1HW)
        assert torch.equal(found.is_real_B, part.is_real_B)
    assert join(PARTS[:1]) is PARTS[0]


def test_only_sub_batches_of_one_size_are_joined() -> None:
    other = replace(PARTS[0], measured_B1HW=torch.zeros(3, 1, 16, 16))
    for parts in ([], [PARTS[0], other]):
        with pytest.raises(OutOfDomain, match=f"cannot join {len(parts)} sub-batches"):
            join(parts)


def test_draws_are_those_of_the_parts() -> None:
    def generators() -> tuple[torch.Generator, ...]:
        return tuple(torch.Generator().manual_seed(seed) for seed in (3, 4))

    one, other = generators()
    for draw in (uniform, lambda n, chance: normal((n, 2), chance), lambda n, chance: integers(0, 99, n, chance)):
        assert torch.equal(draw(6, generators()), torch.cat([draw(3, generator) for generator in generators()]))
    assert torch.equal(uniform(4, one), torch.rand(4, generator=torch.Generator().manual_seed(3)))
    assert not torch.equal(uniform(4, one), uniform(4, other))
