"""Cross-attention: silent before training, blind to padding and to the order of tokens, the same at every pixel."""

import torch

from onenex.nets.attention import TOKEN_WIDTH, Condition, CrossAttention, sinusoids
from onenex.nets.unet import UNet
from tests.model.conditions import random_condition


def trained(channels: int = 16) -> CrossAttention:
    torch.manual_seed(0)
    block = CrossAttention(channels)
    torch.nn.init.normal_(block.out.weight, 0, 0.5)
    return block


def test_untrained_attention_adds_nothing() -> None:
    x = torch.randn(2, 16, 6, 5)
    assert torch.equal(CrossAttention(16)(x, random_condition(2)), x)


def test_padding_does_not_count() -> None:
    x, short, block = torch.randn(1, 16, 6, 5), random_condition(), trained()
    padded = Condition(
        torch.cat([short.tokens_BTD, torch.full((1, 4, TOKEN_WIDTH), 7.0)], dim=1), torch.cat([short.mask_BT, torch.zeros(1, 4, dtype=torch.bool)], 1)
    )
    torch.testing.assert_close(block(x, padded), block(x, short))


def test_tokens_are_a_set() -> None:
    x, condition, block = torch.randn(1, 16, 6, 5), random_condition(), trained()
    turned = Condition(condition.tokens_BTD.flip(1), condition.mask_BT)
    torch.testing.assert_close(block(x, turned), block(x, condition), atol=1e-5, rtol=1e-5)


def test_other_text_gives_another_result() -> None:
    x, block = torch.randn(1, 16, 6, 5), trained()
    assert (block(x, random_condition(seed=1)) - block(x, random_condition(seed=2))).abs().max() > 1e-3


def test_every_pixel_is_treated_alike() -> None:
    """Tiles of an image see what the whole image sees."""
    x, condition, block = torch.randn(1, 16, 8, 8), random_condition(), trained()
    torch.testing.assert_close(block(x[..., 2:6, 3:7], condition), block(x, condition)[..., 2:6, 3:7], atol=1e-5, rtol=1e-5)


def test_the_unet_hears_text_only_where_it_attends() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 2, 16, 16)
    nets = [UNet(2, 1, (8, 8, 16), attention=attention).eval() for attention in (True, False)]
    for net in nets:
        torch.nn.init.normal_(net.head[0].weight, 0, 0.2)
    hearing, deaf = nets
    assert hearing.attend is not None
    for block in hearing.attend:
        torch.nn.init.normal_(block.out.weight, 0, 0.5)
    first, second = random_condition(seed=1), random_condition(seed=2)
    assert not torch.allclose(hearing(x, first), hearing(x, second))
    assert torch.equal(deaf(x, first), deaf(x, second))


def test_sinusoids_tell_times_apart() -> None:
    found = sinusoids(torch.tensor([0.0, 1.0, 500.0, 1000.0]), 64)
    assert found.shape == (4, 64)
    assert torch.cdist(found, found)[~torch.eye(4, dtype=torch.bool)].min() > 0.1
    assert found.abs().max() <= 1
