"""Mixed precision: networks in bfloat16, everything around them in single precision."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from onenex.nets.noise_net import NoiseNet
from onenex.nets.unet import UNet

_BODIES = (UNet, NoiseNet)


@contextlib.contextmanager
def bf16_bodies(network: nn.Module, *, enabled: bool = True) -> Iterator[None]:
    """Run the convolutional bodies inside `network` under bfloat16 autocast; what they return is float32 again.

    Autocast is not laid around the whole loss: MS-SSIM would convolve squares in 8 bits and take their difference, FFTs refuse
    bfloat16 on CUDA, and noise maps, Rician means and likelihoods need their digits. The text branch is small and stays out too.
    Parameters, gradients and the averaged weights are float32 throughout.
    """
    bodies = [module for module in network.modules() if isinstance(module, _BODIES)] if enabled else []
    for body in bodies:
        # shadows the method for the time of the context
        setattr(body, "forward", _lowered(body.forward))  # noqa: B010 - mypy forbids assigning to a method
    try:
        yield
    finally:
        for body in bodies:
            delattr(body, "forward")


def _lowered(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def lowered(x_BCHW: Tensor, *told: object) -> Tensor:
        with torch.autocast(x_BCHW.device.type, torch.bfloat16):
            output = forward(x_BCHW, *told)
        return output.float()

    return lowered
