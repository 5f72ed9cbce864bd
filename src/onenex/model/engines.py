"""What runs the networks: torch, torch compiled in half precision for CUDA, or ONNX Runtime."""

# shapes: B batch, C channel, H row, W column, T token, D token width

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from onenex.errors import OutOfDomain
from onenex.model.weights import Networks, Weights
from onenex.nets.attention import Condition

INNER = ("noise_level", "restoration", "prior")
"""Networks whose convolutions another engine may take over; the degradation's need gradients, which torch has."""


class Engine(Protocol):
    """Whatever runs the networks of a weights file."""

    @property
    def name(self) -> str:
        """As `load` and `--engine` call it."""

    def prepared(self, weights: Weights, device: torch.device) -> Networks:
        """Return the networks on a device, frozen, ready to be called.

        Raises
        ------
        OutOfDomain
            The engine does not work on that device, or is not installed.
        """


class Torch:
    """Torch as it is: channels last, single precision."""

    name = "torch"

    def prepared(self, weights: Weights, device: torch.device) -> Networks:
        """Return the networks on a device, frozen."""
        return on_device(weights, device)


class Compiled:
    """Torch compiled, with bfloat16 products: for CUDA alone, where it pays. A CPU gains nothing and waits minutes for the compiler."""

    name = "compiled"

    def prepared(self, weights: Weights, device: torch.device) -> Networks:
        """Return the networks with their convolutions compiled; results differ from torch's by bfloat16's rounding."""
        if device.type != "cuda":
            raise OutOfDomain(f"engine 'compiled' is for CUDA, not for device '{device.type}': use --engine torch")
        return _taken_over(on_device(weights, device), lambda _, net: _compiled(HalfPrecision(net)))


class Onnx:
    """ONNX Runtime on the CPU; networks are exported at first use and kept in a cache folder."""

    name = "onnx"

    def __init__(self, cache: Path | None = None) -> None:
        self._cache = cache

    def prepared(self, weights: Weights, device: torch.device) -> Networks:
        """Return the networks with their convolutions run by ONNX Runtime; results differ from torch's by rounding alone."""
        missing = [name for name in ("onnxruntime", "onnx", "onnxscript") if find_spec(name) is None]
        if missing:
            raise OutOfDomain(f"engine 'onnx' needs {', '.join(missing)}: pip install 'onenex[onnx]'")
        if device.type != "cpu":
            raise OutOfDomain(f"engine 'onnx' works on the CPU, not on device '{device.type}': use --device cpu, or --engine torch")
        from onenex.model.onnx import OnnxNet, exported

        def taken_over(name: str, net: nn.Module) -> nn.Module:
            return OnnxNet(net, exported(name, net, weights.hash, self._cache))

        return _taken_over(on_device(weights, device), taken_over)


ENGINES: dict[str, Callable[[], Engine]] = {"torch": Torch, "compiled": Compiled, "onnx": Onnx}


def engine_of(name: str) -> Engine:
    """Return an engine by its name.

    Raises
    ------
    OutOfDomain
        No such engine.
    """
    if name not in ENGINES:
        raise OutOfDomain(f"engine '{name}' does not exist: use one of {', '.join(ENGINES)}")
    return ENGINES[name]()


def on_device(weights: Weights, device: torch.device) -> Networks:
    """Return the networks on a device, frozen."""

    def moved(network: Any) -> Any:
        return None if network is None else network.to(device=device, memory_format=torch.channels_last).requires_grad_(False)

    return Networks(
        noise_level=moved(weights.noise_level),
        restoration=moved(weights.restoration),
        degradation=moved(weights.degradation),
        prior=moved(weights.prior),
        phrases=weights.phrases,
    )


class HalfPrecision(nn.Module):
    """A network whose products are bfloat16 and whose input and output are not."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    @property
    def multiple(self) -> int:
        """As the network's own."""
        return int(self.net.multiple)  # type: ignore[arg-type]

    def forward(self, x_BCHW: Tensor, condition: Condition | None = None) -> Tensor:
        """Return what the network returns, float32."""
        given = (x_BCHW,) if condition is None else (x_BCHW, condition)
        with torch.autocast(x_BCHW.device.type, torch.bfloat16):
            found: Tensor = self.net(*given)
        return found.float()


def _compiled(net: HalfPrecision) -> nn.Module:
    """Compile a network where it stands. Not as CUDA graphs: their memory belongs to one thread and one shape, slices come in several."""
    net.compile(dynamic=True)
    return net


def _taken_over(networks: Networks, change: Callable[[str, nn.Module], nn.Module]) -> Networks:
    """Return the networks with the convolutional part of each replaced."""
    for name in INNER:
        network = getattr(networks, name)
        if network is not None:
            network.net = change(name, network.net)
    return networks
