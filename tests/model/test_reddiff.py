"""RED-diff: its minimum where theory puts it, Adam as torch's, the same slice whatever the batch, early stop."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from onenex.model.degradation import Measurement
from onenex.model.diffusion import alpha_bar
from onenex.model.reddiff import PAPER, Preset, infer, prior_pull, slice_generator, times

SCALED = Preset(t_start=60, n_steps=4, prior_weight=8.0, likelihood=True, learning_rate=1.0)


def linear(sigma: float) -> Callable[[Tensor], Measurement]:
    return lambda mu: Measurement(mu, torch.full_like(mu, sigma))


def ideal(clean: Tensor) -> Callable[[Tensor, Tensor, int], Tensor]:
    return lambda x, t, index: clean.expand_as(x)


def generators(n: int, seed: int = 0) -> list[torch.Generator]:
    return [slice_generator(seed, index) for index in range(n)]


def test_times_fall_from_the_start() -> None:
    assert times(PAPER)[0] == 200
    assert len(times(PAPER)) == 41
    assert all(later < earlier for earlier, later in zip(times(PAPER), times(PAPER)[1:], strict=False))
    assert times(PAPER)[-1] >= 1


def test_the_pull_is_lambda_times_the_published_weight() -> None:
    kept = float(alpha_bar(torch.tensor([200])))
    assert prior_pull(PAPER, 200) == pytest.approx(0.25 * ((1 - kept) / kept) ** 0.5, rel=1e-5)


def test_a_full_step_lands_on_the_minimum() -> None:
    """For m(μ) = μ the objective is a parabola between y and g, in any unit of the noise."""
    y, clean = torch.rand(1, 1, 8, 8), torch.rand(1, 1, 8, 8)
    for sigma in (0.01, 0.1):
        one = replace(SCALED, n_steps=1)
        found = infer(y, torch.rand_like(y), torch.full_like(y, sigma), (linear(sigma), ideal(clean)), preset=one, generators=generators(1))
        pull = prior_pull(one, 60)
        torch.testing.assert_close(found.images_B1HW, (y + pull * clean) / (1 + pull), atol=1e-5, rtol=1e-5)


def test_the_likelihood_trusts_what_is_measured_well() -> None:
    """Where σ_φ is larger than σ, y counts less."""
    y, clean = torch.ones(1, 1, 8, 8), torch.zeros(1, 1, 8, 8)
    sigma = torch.full_like(y, 0.05)
    near, far = (
        infer(y, y.clone(), sigma, (linear(deviation), ideal(clean)), preset=SCALED, generators=generators(1)).images_B1HW.mean()
        for deviation in (0.05, 0.2)
    )
    assert far < near


def test_the_paper_preset_takes_adam_steps() -> None:
    y, clean, start = torch.rand(1, 1, 8, 8), torch.rand(1, 1, 8, 8), torch.rand(1, 1, 8, 8)
    found = infer(y, start, torch.full_like(y, 0.05), (linear(0.05), ideal(clean)), preset=PAPER, generators=generators(1)).images_B1HW
    mu = (2 * start - 1).requires_grad_()  # Adam on the published range −1…1
    optimizer = torch.optim.Adam([mu])
    for t in times(PAPER):
        optimizer.param_groups[0]["lr"] = 0.1 * t / 1000
        image = (mu + 1) / 2
        loss = ((y - image) ** 2).sum() / 2 + prior_pull(PAPER, t) * ((image.detach() - clean) * image).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.testing.assert_close(found, (mu.detach() + 1) / 2, atol=1e-4, rtol=1e-4)


def noisy_prior(x: Tensor, t: Tensor, index: int) -> Tensor:
    """Depends on the drawn noise, so that the draws show in the result."""
    return x * 0.5


def test_a_slice_does_not_depend_on_its_batch() -> None:
    y, sigma = torch.rand(3, 1, 8, 8), torch.full((3, 1, 8, 8), 0.05)
    together = infer(y, y.clone(), sigma, (linear(0.05), noisy_prior), preset=SCALED, generators=generators(3)).images_B1HW
    for index in range(3):
        one = slice(index, index + 1)
        alone = infer(y[one], y[one].clone(), sigma[one], (linear(0.05), noisy_prior), preset=SCALED, generators=[slice_generator(0, index)])
        assert torch.equal(alone.images_B1HW, together[one])


def test_seeds_and_samples_draw_apart() -> None:
    drawn = {float(torch.randn(1, generator=slice_generator(*which))) for which in ((0, 0), (1, 0), (0, 1), (0, 0, 1), (0, 1, 1))}
    assert len(drawn) == 5


def test_a_slice_that_stands_still_is_left_alone() -> None:
    """The first slice is at its minimum; the second isn't."""
    clean = torch.rand(2, 1, 8, 8)
    y = torch.stack([clean[0], clean[1] + 0.2])
    stopping, steps = replace(SCALED, tolerance=1e-3, learning_rate=0.5, n_steps=8), []
    found = infer(
        y, clean.clone(), torch.full_like(y, 0.05), (linear(0.05), ideal(clean)),
        preset=stopping, generators=generators(2), progress=lambda done, total: steps.append((done, total)),
    )  # fmt: skip
    assert found.n_steps_B[0] == 1
    assert found.n_steps_B[1] > 1
    assert steps[0] == (1, 8)
    assert len(steps) == max(found.n_steps_B)


def test_no_gradient_is_left_behind() -> None:
    y = torch.rand(1, 1, 8, 8)
    with torch.no_grad():
        found = infer(y, y.clone(), torch.full_like(y, 0.05), (linear(0.05), noisy_prior), preset=SCALED, generators=generators(1))
    assert not found.images_B1HW.requires_grad
