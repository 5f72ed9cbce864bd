"""A weights file of tiny rivals, for tests of what is around them."""

from pathlib import Path

import torch

from onenex.rivals.networks import Conditional, Direct, Unconditional
from onenex.rivals.weights import Rivals, save

WIDTHS, DEPTH = (8, 8, 8), 1


def tiny_rivals(seed: int = 0) -> Rivals:
    """Return networks whose last layers aren't zero, so that they do something."""
    torch.manual_seed(seed)
    rivals = Rivals(unet=Direct(WIDTHS, DEPTH), gan=Direct(WIDTHS, DEPTH), ddpm=Conditional(WIDTHS, DEPTH), prior=Unconditional(WIDTHS, DEPTH))
    for network in rivals.networks().values():
        torch.nn.init.normal_(network.net.head[0].weight, std=0.02)
    return rivals


def write_tiny(path: Path, seed: int = 0) -> Path:
    save(path, tiny_rivals(seed), {"recipe": "tiny"})
    return path
