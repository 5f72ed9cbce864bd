"""The paper's configuration: what is counted up was really run, and one step is one step of RED-diff."""

import pytest
import torch
from torch import nn

from onenex.errors import OutOfDomain
from onenex.evaluate.ablation import paper_size


def test_a_small_run_says_what_it_timed() -> None:
    threads = torch.get_num_threads()
    timing = paper_size.seconds_per_slice(1, 3, side=16)
    assert len(timing.step_seconds) == 3
    assert min(timing.step_seconds) > 0
    assert timing.seconds_per_slice == timing.restoration_seconds + 41 * min(timing.step_seconds)
    assert 0 < timing.cpu_share < 1.2
    assert "38.6 + 13.7 + 13.7 M random weights, 16 × 16, 1 threads" in str(timing)
    assert "from 3 timed steps" in str(timing)
    assert torch.get_num_threads() == threads


def test_a_busy_machine_is_told() -> None:
    timing = paper_size.Timing(threads=2, side=256, restoration_seconds=1, step_seconds=(20, 10), cpu_share=0.31, n_weights=(1, 1, 1))
    assert timing.seconds_per_slice == 411
    assert "busy, only 31% of it" in str(timing)


def test_a_step_follows_the_published_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    system = paper_size.build(generator)
    y, start, noise = torch.randn(3, 1, 1, 16, 16, generator=generator)
    mu = nn.Parameter(start.clone())
    paper_size.step(system, y, mu, torch.optim.SGD([mu], lr=1.0), noise)

    kept = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000), dim=0)[200]
    x_t = kept.sqrt() * start + (1 - kept).sqrt() * noise
    x0 = system.diffusion(torch.cat([x_t, y], dim=1), torch.tensor([200]), torch.ones(1, paper_size.N_TOKENS, 384))
    mean, pull = torch.func.vjp(system.degradation, start)
    expected = start - pull(mean - y)[0] - 0.25 * ((1 - kept) / kept).sqrt() * (start - x0)
    torch.testing.assert_close(mu.detach(), expected, rtol=1e-3, atol=1e-3)
    assert all(parameter.grad is None for parameter in system.degradation.parameters())


@pytest.mark.parametrize(("threads", "steps", "side"), [(0, 1, 16), (1, 0, 16), (1, 1, 24), (1, 1, 0)])
def test_what_cannot_be_timed_is_refused(threads: int, steps: int, side: int) -> None:
    with pytest.raises(OutOfDomain, match="multiple of 16"):
        paper_size.seconds_per_slice(threads, steps, side=side)
