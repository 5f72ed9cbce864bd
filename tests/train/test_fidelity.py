"""A price on bias: second scans are restored beside the first, and an answer that leaves faint structure out costs more than one that is noisy."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from onenex.model.restoration import Restoration
from onenex.model.weights import Networks, load_weights
from onenex.train.config import PhaseConfig, RunConfig
from onenex.train.dataset import Batch, draw_batch, load_scans, of_second_scans
from onenex.train.fidelity import between, fidelity_phase
from onenex.train.loop import train_phase
from onenex.train.losses import restoration_loss
from onenex.train.prior_loss import prior_loss
from tests.train.packed import write_packed
from tests.train.test_cascade import SIGMA, textured_batch

PHASE = PhaseConfig(
    steps=3, patch=64, margin=8, simulated_per_batch=2, real_per_batch=1, warmup_steps=1, validate_every=3, second_scan=True, bias_weight=1.0
)


def biased(batch: Batch, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return two restorations that both leave the same structure out."""
    left_out = SIGMA / 2 * torch.sign(torch.randn(batch.target_B1HW.shape, generator=generator))
    return batch.target_B1HW + left_out, batch.target_B1HW + left_out


def noisy(batch: Batch, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return two restorations of the same squared error, each with errors of its own."""
    first, second = (SIGMA / 2 * torch.sign(torch.randn(batch.target_B1HW.shape, generator=generator)) for _ in range(2))
    return batch.target_B1HW + first, batch.target_B1HW + second


@pytest.mark.parametrize("weight", [0.0, 1.0, 3.0])
def test_bias_costs_its_weight_more_than_variance(weight: float) -> None:
    batch, generator = textured_batch(), torch.Generator().manual_seed(0)
    losses = []
    for made in (biased(batch, generator), noisy(batch, generator)):
        losses.append(restoration_loss(made[0], batch, batch.sigma_B1HW, again_B1HW=made[1], bias_weight=weight).item())
    assert losses[0] - losses[1] == pytest.approx(np.log(1 + weight), abs=0.06)


def test_real_patches_have_no_second_scan() -> None:
    """Their target is a scan: what it makes of the loss is the same whatever is said of a second one."""
    batch = textured_batch(n_real=4)
    alone = restoration_loss(batch.measured_B1HW, batch, batch.sigma_B1HW)
    told = restoration_loss(batch.measured_B1HW, batch, batch.sigma_B1HW, again_B1HW=batch.target_B1HW + 1, bias_weight=3.0)
    assert told.item() == pytest.approx(alone.item())


def test_second_scans_are_processed_in_their_places() -> None:
    batch = textured_batch(n_real=1)
    found = of_second_scans(batch, lambda scans: scans.measured_B1HW + len(scans.prompts))
    torch.testing.assert_close(found[:3], batch.second_B1HW[:3] + 3)
    torch.testing.assert_close(found[3:], batch.measured_B1HW[3:])


def test_the_prior_looks_at_second_scans_at_the_same_times() -> None:
    batch, seen = textured_batch(n_real=1), []

    def predict(scans: Batch, diffused: Callable[[Tensor], Tensor], t_B: Tensor) -> Tensor:
        seen.append((scans.measured_B1HW, diffused(scans.measured_B1HW), t_B))
        return seen[-1][1]

    prior_loss(predict, batch, generator=torch.Generator().manual_seed(1), bias_weight=1.0)
    (first, diffused, times), (second, diffused_again, times_again) = seen
    assert torch.equal(times[:3], times_again)
    assert torch.equal(first, batch.measured_B1HW)
    assert torch.equal(second, batch.second_B1HW[:3])
    assert not torch.equal(diffused[:3] - first[:3], diffused_again - second)


@pytest.mark.parametrize("choice", [{"lesions": 1.0}, {"artefacts": 1.0}])
def test_what_is_put_into_patches_is_there_when_asked_for(tmp_path: Path, choice: dict[str, float]) -> None:
    scans = load_scans(write_packed(tmp_path), RunConfig(name="t"), holdout=False)
    plain, changed = (draw_batch(scans, phase, np.random.default_rng(0)) for phase in (PHASE, replace(PHASE, **choice)))
    assert not torch.equal(plain.target_B1HW[:2], changed.target_B1HW[:2])
    assert changed.measured_B1HW.shape == plain.measured_B1HW.shape
    assert len(changed.prompts) == 3
    assert (changed.sigma_B1HW > 0).all()


def test_the_phase_moves_the_restoration_alone(tmp_path: Path) -> None:
    bundled = load_weights()
    assert bundled.phrases is not None
    torch.manual_seed(0)
    networks = Networks(noise_level=bundled.noise_level, restoration=Restoration((8, 16), 1), phrases=bundled.phrases)
    before = {name: value.clone() for name, value in networks.restoration.state_dict().items()}
    data = write_packed(tmp_path / "data")
    scans, held_out = (load_scans(data, RunConfig(name="t", holdout_every=2), holdout=holdout) for holdout in (False, True))
    noise_before = {name: value.clone() for name, value in bundled.noise_level.state_dict().items()}
    phase = fidelity_phase(PHASE, held_out, networks, bundled.phrases, 0)
    after = train_phase(phase, scans, tmp_path / "run").state_dict()
    assert any(not torch.equal(after[name], before[name]) for name in before)
    assert all(torch.equal(value, noise_before[name]) for name, value in networks.noise_level.state_dict().items())
    assert "gain_db_sigma_0.02" in phase.validation(_AsMeasured())


def test_between_two_networks_lie_their_means() -> None:
    torch.manual_seed(0)
    first, second = Restoration((8, 16), 1), Restoration((8, 16), 1)
    for share in (0.0, 0.25, 1.0):
        found = between(first, second, share)
        for value, one, other in zip(found.parameters(), first.parameters(), second.parameters(), strict=True):
            torch.testing.assert_close(value, (1 - share) * one + share * other)


class _AsMeasured(torch.nn.Module):
    def forward(self, image: Tensor, *_rest: object) -> Tensor:
        return image
