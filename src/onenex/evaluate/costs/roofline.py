"""What the networks need of a machine, operations and bytes, and what the machine can do at best: its roofline."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from onenex.model import Model
from onenex.series import FloatImages

_GEMM_SIDE = 2048
_CHANNELS, _SIDE = 64, 256
_COPIED = 2**26
"""Numbers of a copy that no cache holds."""


@dataclass(frozen=True, kw_only=True)
class Peak:
    """What one thread reaches at best, by CPU time."""

    product_gflops: float
    """Of a 2048³ product of matrices, 10⁹ operations a second."""
    convolution_gflops: float
    """Of a 3 × 3 convolution of 64 channels, 256 × 256, channels last: another library, which some processors like better."""
    bandwidth_gbs: float
    """Of a copy of 256 MiB, read and written, 10⁹ bytes a second."""

    @property
    def gflops(self) -> float:
        """The roof: the better of the two."""
        return max(self.product_gflops, self.convolution_gflops)


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a network does for a slice."""

    flop: int = 0
    """Multiplications and additions."""
    n_bytes: int = 0
    """Read and written if no cache helped: all inputs and results of every operation, weights among them."""

    def __add__(self, other: Work) -> Work:
        """Return both together."""
        return Work(flop=self.flop + other.flop, n_bytes=self.n_bytes + other.n_bytes)


def measured_peak(rounds: int = 8) -> Peak:
    """Measure this thread; give torch one thread before."""
    one = torch.rand(_GEMM_SIDE, _GEMM_SIDE)
    image = torch.rand(1, _CHANNELS, _SIDE, _SIDE).contiguous(memory_format=torch.channels_last)
    kernel = torch.rand(_CHANNELS, _CHANNELS, 3, 3).contiguous(memory_format=torch.channels_last)
    source = torch.rand(_COPIED)
    target = torch.empty_like(source)
    return Peak(
        product_gflops=2 * _GEMM_SIDE**3 / _least(lambda: one @ one, rounds) / 1e9,
        convolution_gflops=18 * _CHANNELS**2 * _SIDE**2 / _least(lambda: nn.functional.conv2d(image, kernel, padding=1), rounds) / 1e9,
        bandwidth_gbs=2 * source.nbytes / _least(lambda: target.copy_(source), rounds) / 1e9,
    )


def work_of_networks(model: Model, images: FloatImages, mode: str) -> dict[str, Work]:
    """Return the work of each network by its name: its calls are noted, then made again one by one; forward only."""
    calls: list[tuple[str, nn.Module, Any]] = []
    networks = {name: network for name, network in vars(model._networks).items() if isinstance(network, nn.Module)}
    hooks = [
        network.register_forward_pre_hook(lambda network, given, name=name: calls.append((name, network, given)))
        for name, network in networks.items()
    ]
    try:
        model.denoise(images, mode=mode)
    finally:
        for hook in hooks:
            hook.remove()
    found = dict.fromkeys(networks, Work())
    for name, network, given in calls:
        with torch.no_grad(), FlopCounterMode(display=False) as counter, Traffic() as traffic:
            network(*given)
        found[name] += Work(flop=counter.get_total_flops(), n_bytes=traffic.n_bytes)
    return found


class Traffic(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the bytes of all inputs and results of every operation in its context; views move nothing."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.n_bytes = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Let an operation run, and count it."""
        del types
        result = function(*args, **(kwargs or {}))
        inputs, results = _tensors((args, kwargs)), _tensors(result)
        places = {one.untyped_storage().data_ptr() for one in inputs}
        is_view = not function._schema.is_mutable and all(one.untyped_storage().data_ptr() in places for one in results)
        if not is_view:
            self.n_bytes += sum(one.nbytes for one in (*inputs, *results))
        return result


def _tensors(tree: Any) -> list[Tensor]:
    return [one for one in tree_leaves(tree) if isinstance(one, Tensor)]


def _least(work: Callable[[], object], rounds: int) -> float:
    """Return the least CPU seconds of several rounds."""
    best = float("inf")
    for _ in range(rounds):
        began = time.thread_time()
        work()
        best = min(best, time.thread_time() - began)
    return best
