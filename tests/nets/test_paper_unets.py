"""The yardstick networks have the published sizes, and every input reaches the output."""

import pytest
import torch

from onenex.evaluate.ablation.paper_size import build, count_weights
from onenex.nets.paper_unets import TEXT_WIDTH, Attention, DiffusionUNet, WideSkipUNet


def test_weights_are_as_many_as_the_paper_says() -> None:
    with torch.device("meta"):
        assert count_weights(DiffusionUNet()) == pytest.approx(38.6e6, rel=0.02)
        assert count_weights(WideSkipUNet()) == pytest.approx(13.6e6, rel=0.02)


def test_without_text_the_diffusion_network_is_that_of_ddpm() -> None:
    with torch.device("meta"):
        network = DiffusionUNet()
    to_text = [module for name, module in network.named_modules() if name.endswith("to_text") and isinstance(module, Attention)]
    assert len(to_text) == 6
    assert count_weights(network) - count_weights(network.text) - sum(map(count_weights, to_text)) == pytest.approx(35.7e6, abs=0.05e6)


def test_every_input_of_the_diffusion_network_reaches_its_output() -> None:
    generator = torch.Generator().manual_seed(0)
    network = build(generator).diffusion
    images = torch.randn(1, 2, 16, 24, generator=generator, requires_grad=True)
    text = torch.randn(1, 3, TEXT_WIDTH, generator=generator, requires_grad=True)
    early, late = (network(images, torch.tensor([t]), text) for t in (10, 500))
    assert early.shape == (1, 1, 16, 24)
    early.square().sum().backward()
    assert images.grad is not None
    assert text.grad is not None
    assert (images.grad.abs().sum(dim=(0, 2, 3)) > 0).all()
    assert (text.grad.abs().sum(dim=(0, 2)) > 0).all()
    assert not torch.allclose(early, late)


def test_the_wide_skips_carry_detail_past_the_bottom() -> None:
    generator = torch.Generator().manual_seed(1)
    network = build(generator).restoration
    image = torch.randn(1, 1, 32, 48, generator=generator)
    with torch.no_grad():
        whole = network(image)
        for parameter in network.ups.parameters():
            parameter.zero_()
        from_skips = network(image)
    assert whole.shape == image.shape
    assert from_skips.std() > 0.01
    assert not torch.allclose(whole, from_skips)
