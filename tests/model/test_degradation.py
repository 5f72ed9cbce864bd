"""The degradation model: Rician before training, a proper likelihood, samples with the statistics that it states."""

import numpy as np
import pytest
import torch

from onenex.model.degradation import KERNEL_SIDE, Degradation, filtered, power_spectrum
from onenex.model.rician import rice_deviation, rice_mean
from onenex.physics import noise
from tests.model.conditions import random_condition


def random_degradation() -> Degradation:
    torch.manual_seed(0)
    network = Degradation(widths=(8, 16), depth=1)
    torch.nn.init.normal_(network.net.head[0].weight, 0, 0.1)
    torch.nn.init.normal_(network.colour.readout[-1].weight, 0, 0.1)
    return network.eval()


@pytest.mark.parametrize("ratio", [0.0, 0.5, 1.0, 3.0, 7.9, 8.1, 40.0, 3000.0])
def test_moments_equal_those_of_arrays(ratio: float) -> None:
    amplitude, sigma = np.float32(0.03 * ratio), np.float32(0.03)
    mean, deviation = (float(f(torch.tensor(amplitude), torch.tensor(sigma))) for f in (rice_mean, rice_deviation))
    assert mean == pytest.approx(float(noise.rice_mean(amplitude, sigma)), rel=1e-5)
    expected = np.sqrt(noise.rice_variance(amplitude, sigma)) if ratio < 100 else sigma
    assert deviation == pytest.approx(float(expected), rel=2e-3)


def test_moments_have_finite_gradients() -> None:
    amplitude = torch.tensor([0.0, 1e-6, 0.01, 0.2399, 0.2401, 1.0, 2.0], requires_grad=True)
    (rice_mean(amplitude, torch.tensor(0.03)) + rice_deviation(amplitude, torch.tensor(0.03))).sum().backward()
    assert torch.isfinite(amplitude.grad).all()


def test_untrained_it_is_a_rician_scan() -> None:
    clean, sigma = torch.rand(2, 1, 24, 32), torch.full((2, 1, 24, 32), 0.05)
    with torch.no_grad():
        found = Degradation(widths=(8, 16), depth=1)(clean, sigma, random_condition(2))
    torch.testing.assert_close(found.mean_B1HW, rice_mean(clean, sigma))
    torch.testing.assert_close(found.sigma_B1HW, rice_deviation(clean, sigma))


def test_a_sample_has_the_stated_mean_and_deviation() -> None:
    network, condition = random_degradation(), random_condition(400)
    clean, sigma = torch.rand(1, 1, 16, 16).expand(400, -1, -1, -1) + 0.5, torch.full((400, 1, 16, 16), 0.05)
    white = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        mean, deviation = network(clean, sigma, condition)
        drawn = network.sample(clean, sigma, condition, white)
    assert (drawn.mean(0) - mean[0]).abs().max() < 5 * 0.15 / 20
    assert (drawn.std(0) / deviation[0]).mean() == pytest.approx(1, abs=0.02)


def test_noise_has_the_colour_of_its_kernel() -> None:
    kernels = torch.zeros(2, KERNEL_SIDE, KERNEL_SIDE)
    kernels[0, 3, 3] = 1
    kernels[1, 3, 2:5] = torch.tensor([1.0, 2.0, 1.0]) / 6**0.5
    white = torch.randn(2, 1, 256, 256, generator=torch.Generator().manual_seed(0))
    noisy = filtered(white, kernels)
    measured = torch.fft.fft2(noisy[:, 0]).abs().square() / 256**2
    expected = power_spectrum(kernels, (256, 256))
    assert expected.mean(dim=(1, 2)).tolist() == pytest.approx([1, 1], abs=1e-4)
    for band in (slice(0, 32), slice(32, 96), slice(96, 128)):
        torch.testing.assert_close(measured[..., band].mean(dim=(1, 2)), expected[..., band].mean(dim=(1, 2)), rtol=0.06, atol=0.01)


def test_kernels_have_unit_power() -> None:
    with torch.no_grad():
        kernels = random_degradation().colour(torch.rand(3, 1, 16, 16), random_condition(3))
    torch.testing.assert_close(kernels.square().sum(dim=(1, 2)), torch.ones(3))


def test_gradients_reach_the_clean_image() -> None:
    clean = torch.rand(1, 1, 16, 16, requires_grad=True)
    mean, deviation = random_degradation()(clean, torch.full((1, 1, 16, 16), 0.05), random_condition())
    (mean + deviation).sum().backward()
    assert clean.grad is not None
    assert (clean.grad != 0).all()
