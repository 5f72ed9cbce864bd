"""Training of the rivals: one command makes the file, losses have their minimum where they should, each adversary moves itself alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from onenex.errors import DataError
from onenex.model.diffusion import sigma_of
from onenex.rivals.networks import Conditional, Direct, Unconditional
from onenex.rivals.weights import load, read_card
from onenex.train import run
from onenex.train.config import PhaseConfig, RivalsConfig
from onenex.train.dataset import Batch, draw_batch, load_scans
from onenex.train.losses import restoration_loss
from onenex.train.rivals import Adversaries, conditional_loss, gan_loss, train_rivals, unconditional_loss
from tests.train.packed import write_packed

PHASE = PhaseConfig(steps=4, patch=32, margin=8, simulated_per_batch=2, real_per_batch=1, warmup_steps=2, validate_every=4, checkpoint_every=2)
TINY = RivalsConfig(name="tiny", unet=PHASE, ddpm=PHASE, prior=replace(PHASE, real_per_batch=0), gan=PHASE, widths=(8, 8, 8))


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_packed(tmp_path_factory.mktemp("packed"))


@pytest.fixture(scope="module")
def batch(packed: Path) -> Batch:
    return draw_batch(load_scans(packed, TINY, holdout=False), replace(PHASE, simulated_per_batch=4, real_per_batch=2), np.random.default_rng(0))


def test_one_run_makes_all_rivals_and_goes_on_where_it_stopped(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onenex.train.validate._N_BATCHES", 1)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train_rivals(TINY, packed, whole)
    none = replace(PHASE, steps=0)
    train_rivals(replace(TINY, ddpm=none, prior=none, gan=none), packed, parts)
    train_rivals(TINY, packed, parts)
    first, second = load(whole / "rivals.safetensors").networks(), load(parts / "rivals.safetensors").networks()
    for name, network in first.items():
        for key, value in network.state_dict().items():
            assert torch.equal(value, second[name].state_dict()[key]), (name, key)
    card = read_card(whole / "rivals.safetensors")
    assert "phantom" in card["training_data"]
    assert "gain_db" in card["metrics"]


def test_rivals_begin_at_random(packed: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--start"):
        run("rivals_cpu", packed, tmp_path, start=tmp_path / "weights.safetensors")


def test_each_adversary_moves_itself_alone(batch: Batch) -> None:
    """Without the critic's say the generator's gradient is that of the plain loss, and the critic's doesn't reach it."""
    torch.manual_seed(0)
    network = Adversaries(Direct((8, 8), 1))
    torch.nn.init.normal_(network.generator.net.head[0].weight, std=0.05)
    sigma = batch.sigma_B1HW
    alone = torch.autograd.grad(restoration_loss(network.generator(batch.measured_B1HW, sigma), batch, sigma), list(network.generator.parameters()))
    silent, loud = (
        torch.autograd.grad(gan_loss(network, batch, sigma, weight), list(network.parameters()), allow_unused=True) for weight in (0.0, 1.0)
    )
    n = len(alone)
    for found, expected in zip(silent[:n], alone, strict=True):
        torch.testing.assert_close(found, expected)
    assert any(not torch.allclose(one, other) for one, other in zip(loud[:n], alone, strict=True))
    for one, other in zip(silent[n:], loud[n:], strict=True):  # the critic's own gradient doesn't know the weight of its opinion
        torch.testing.assert_close(one, other)


def test_the_critic_sees_no_real_patch(batch: Batch) -> None:
    network = Adversaries(Direct((8, 8), 1))
    real = replace(batch, is_real_B=torch.ones(6, dtype=torch.bool))
    loss = gan_loss(network, real, batch.sigma_B1HW, 1.0)
    assert float(loss.detach()) == pytest.approx(float(restoration_loss(batch.measured_B1HW, real, batch.sigma_B1HW)))


class Knowing(Conditional):
    """Says what it was told to say."""

    def __init__(self, answer: torch.Tensor) -> None:
        super().__init__((8, 8), 1)
        self.answer = answer

    def forward(self, *_: torch.Tensor) -> torch.Tensor:
        return self.answer


def test_the_truth_minimises_the_conditional_loss(batch: Batch) -> None:
    simulated = replace(batch, is_real_B=torch.zeros(6, dtype=torch.bool))
    told = batch.sigma_B1HW

    def loss(answer: torch.Tensor) -> float:
        return float(conditional_loss(Knowing(answer), simulated, told, batch.measured_B1HW, generator=torch.Generator().manual_seed(0)))

    assert loss(batch.target_B1HW) == 0
    assert loss(batch.target_B1HW + 0.01) > 0


def test_what_is_diffused_of_a_real_patch_is_not_its_target(batch: Batch) -> None:
    """Or the network learns to give the target's noise back."""
    seen = []

    class Watching(Conditional):
        def forward(self, diffused: torch.Tensor, t_B: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
            seen.append((diffused, t_B))
            return super().forward(diffused, t_B, *others)

    told, restored = batch.sigma_B1HW, torch.full_like(batch.measured_B1HW, 7.0)
    conditional_loss(Watching((8, 8), 1), batch, told, restored, generator=torch.Generator().manual_seed(0))
    (diffused, t_B) = seen[0]
    origin = torch.where(batch.is_real_B[:, None, None, None], restored, batch.target_B1HW)
    away = (diffused - origin).square().mean(dim=(1, 2, 3)).sqrt() / sigma_of(t_B)
    torch.testing.assert_close(away, torch.ones(6), atol=0.1, rtol=0)


def test_an_untaught_prior_loses_as_much_as_images_deviate(batch: Batch) -> None:
    """Its loss is the error in units of what white images of deviation d would leave; a perfect network's is below."""
    loss = float(unconditional_loss(Unconditional((8, 8), 1), batch, generator=torch.Generator().manual_seed(0)).detach())
    assert 0.2 < loss < 20
