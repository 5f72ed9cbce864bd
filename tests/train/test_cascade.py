"""Losses of the cascade and of the prior: least where they should be, and none of them rewards cheating."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from onenex.model.degradation import KERNEL_SIDE, Degradation, Measurement, filtered
from onenex.model.noise_level import NoiseMap, blur
from onenex.model.prior import Prior
from onenex.model.restoration import Restoration
from onenex.nets.attention import Condition
from onenex.physics import noise
from onenex.text.phrases import UNKNOWNS
from onenex.train.cascade import Cascade, cascade_loss, colour_loss, measurement_loss, structure_loss
from onenex.train.dataset import Batch
from onenex.train.prior_loss import Predict, prior_loss
from tests.model.conditions import random_condition

SIGMA = 0.05


def textured_batch(n_real: int = 0, n: int = 4) -> Batch:
    """Patches with structure and white Rician noise; the last `n_real` count as real."""
    generator = np.random.default_rng(3)
    rows, columns = np.meshgrid(np.arange(64), np.arange(64), indexing="ij")
    clean = np.stack([0.5 + 0.2 * np.sin(rows / (3 + i)) * np.cos(columns / 5) for i in range(n)])[:, None].astype(np.float32)
    first, second = (torch.from_numpy(noise.rician(clean, SIGMA, generator)) for _ in range(2))
    real = torch.arange(n) >= n - n_real
    target = torch.where(real[:, None, None, None], second, torch.from_numpy(clean))
    ones = torch.ones(n)
    return Batch(
        measured_B1HW=first, target_B1HW=target, sigma_B1HW=torch.full_like(first, SIGMA), is_real_B=real, nex_B=ones,
        target_nex_B=ones, second_B1HW=second, prompts=(UNKNOWNS,) * n,
    )  # fmt: skip


def told(batch: Batch) -> NoiseMap:
    return NoiseMap(batch.sigma_B1HW, batch.sigma_B1HW)


@pytest.mark.parametrize("n_real", [0, 4])
def test_the_measurement_loss_is_least_at_the_true_deviation(n_real: int) -> None:
    batch = textured_batch(n_real)
    clean = textured_batch().target_B1HW
    candidates = [0.03, 0.04, 0.05, 0.0625, 0.08]
    losses = [measurement_loss(Measurement(clean, torch.full_like(clean, sigma)), batch).item() for sigma in candidates]
    assert candidates[int(np.argmin(losses))] == SIGMA


@pytest.mark.parametrize("n_real", [0, 4])
def test_the_measurement_loss_is_least_at_the_true_mean(n_real: int) -> None:
    batch = textured_batch(n_real)
    clean = textured_batch().target_B1HW
    losses = [measurement_loss(Measurement(clean + shift, torch.full_like(clean, SIGMA)), batch).item() for shift in (-0.02, -0.01, 0.0, 0.01, 0.02)]
    assert int(np.argmin(losses)) == 2


def test_hiding_the_first_scan_does_not_pay() -> None:
    """A mean that repeats the noise of y foresees the second scan worse than the clean image."""
    batch = textured_batch()
    deviation = torch.full_like(batch.measured_B1HW, SIGMA)
    honest, cheating = (measurement_loss(Measurement(mean, deviation), batch) for mean in (batch.target_B1HW, batch.measured_B1HW))
    assert honest < cheating


def test_the_colour_loss_finds_the_colour() -> None:
    batch = textured_batch()
    flat = torch.full_like(batch.measured_B1HW, 0.5)
    white = torch.randn((2, *flat.shape), generator=torch.Generator().manual_seed(0))
    kernels = {name: torch.zeros(4, KERNEL_SIDE, KERNEL_SIDE) for name in ("white", "smooth", "along")}
    kernels["white"][:, 3, 3] = 1
    kernels["smooth"][:, 2:5, 2:5] = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]) / 6
    kernels["along"][:, 3, 2:5] = torch.tensor([1.0, 2.0, 1.0]) / 6**0.5
    for truth, kernel in kernels.items():
        first, second = (flat + SIGMA * filtered(one, kernel) for one in white)
        coloured = replace(batch, measured_B1HW=first, second_B1HW=second, target_B1HW=flat)
        losses = {name: colour_loss(candidate, coloured).item() for name, candidate in kernels.items()}
        assert min(losses, key=lambda name: losses[name]) == truth


def test_structure_counts_simulated_patches_only() -> None:
    batch = textured_batch(n_real=2)
    assert structure_loss(batch.measured_B1HW, batch).item() == pytest.approx(0, abs=1e-6)
    assert structure_loss(batch.target_B1HW, batch).item() < -1
    assert structure_loss(batch.measured_B1HW, textured_batch(n_real=4)).item() == 0


def cascade() -> Cascade:
    torch.manual_seed(0)
    return Cascade(Restoration((8, 16), 1), Degradation((8, 16), 1), torch.nn.Identity())


def test_every_part_of_the_cascade_learns() -> None:
    network, batch = cascade(), textured_batch(n_real=1)
    condition = random_condition(4)
    for net in (network.restoration.net, network.degradation.net):
        for parameter in net.parameters():
            torch.nn.init.normal_(parameter, 0, 0.05)
    torch.nn.init.normal_(network.degradation.colour.readout[-1].weight, 0, 0.05)
    cascade_loss(network, batch, told(batch), condition, progress=0.5, generator=torch.Generator().manual_seed(0)).backward()
    silent = [name for name, parameter in network.named_parameters() if parameter.grad is None or not parameter.grad.abs().sum() > 0]
    assert silent == []


def test_training_the_cascade_lowers_its_loss() -> None:
    network, batch, condition = cascade(), textured_batch(n_real=1), random_condition(4)
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    losses = []
    for _ in range(25):
        loss = cascade_loss(network, batch, told(batch), condition, progress=0.5, generator=torch.Generator().manual_seed(0))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.1


def predictor(prior: Prior, condition: Condition, restore: Callable[[Tensor], Tensor] = blur) -> Predict:
    """Return g_θ as the loss calls it; the condition has more rows than any batch."""

    def predict(scans: Batch, diffused: Callable[[Tensor], Tensor], t_B: Tensor) -> Tensor:
        part = Condition(*(row[: len(scans.prompts)] for row in condition))
        found: Tensor = prior(diffused(restore(scans.measured_B1HW)), scans.measured_B1HW, scans.sigma_B1HW, t_B, part)
        return found

    return predict


def test_training_the_prior_lowers_its_loss() -> None:
    torch.manual_seed(0)
    prior, batch, condition = Prior((8, 16), 1), textured_batch(n_real=1), random_condition(4)
    optimizer = torch.optim.Adam(prior.parameters(), lr=2e-3)
    losses = []
    for _ in range(25):
        loss = prior_loss(predictor(prior, condition), batch, generator=torch.Generator().manual_seed(0))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.1


def test_the_prior_meets_restored_measurements_as_well_as_clean_patches() -> None:
    batch, condition, seen = textured_batch(n_real=1), random_condition(4), []

    class Listening(Prior):
        def forward(self, diffused: Tensor, *rest: Any) -> Tensor:
            seen.append(diffused)
            return super().forward(diffused, *rest)

    marked = torch.full_like(batch.target_B1HW, 7.0)
    for seed in range(8):
        predict = predictor(Listening((8, 16), 1), condition, lambda measured: marked)
        prior_loss(predict, batch, generator=torch.Generator().manual_seed(seed))
    simulated = torch.cat([diffused[~batch.is_real_B] for diffused in seen]).mean(dim=(1, 2, 3)) > 4
    assert 0.5 < simulated.float().mean() < 0.95
    assert all((diffused[batch.is_real_B].mean() > 4).all() for diffused in seen)


def test_the_prior_sees_no_trace_of_a_real_patchs_target() -> None:
    """Or it would learn to give the target's noise back."""
    batch, condition, seen = textured_batch(n_real=2), random_condition(4), []

    class Listening(Prior):
        def forward(self, *inputs: Any) -> Tensor:
            seen.append([image[batch.is_real_B] for image in inputs[:3]])
            return super().forward(*inputs)

    for shift in (0.0, 0.3):
        moved = replace(batch, target_B1HW=batch.target_B1HW + shift, second_B1HW=batch.second_B1HW + shift)
        prior_loss(predictor(Listening((8, 16), 1), condition), moved, generator=torch.Generator().manual_seed(0))
    assert all(torch.equal(one, other) for one, other in zip(*seen, strict=True))
