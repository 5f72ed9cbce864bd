"""Networks exported to ONNX, kept in a cache folder, and run by ONNX Runtime."""

# shapes: B batch, C channel, H row, W column, T token, D token width

from __future__ import annotations

import logging
import os
import tempfile
import warnings
from contextlib import redirect_stdout
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from onenex.model.noise_level import WINDOW
from onenex.nets.attention import TOKEN_WIDTH, Condition

logger = logging.getLogger(__name__)


class OnnxNet(nn.Module):
    """A network run by ONNX Runtime, with as many threads as torch has where it is called.

    Torch runs a network that listens where there is no condition to listen to.
    """

    def __init__(self, net: nn.Module, path: Path) -> None:
        super().__init__()
        self._net, self._path = net, path
        self._listens = hasattr(net, "attend")
        self._sessions: dict[int, Any] = {}

    @property
    def multiple(self) -> int:
        """As the network's own."""
        return int(self._net.multiple)  # type: ignore[arg-type]

    def forward(self, x_BCHW: Tensor, condition: Condition | None = None) -> Tensor:
        """Return what the network returns, up to rounding; no gradients."""
        if self._listens and condition is None:
            found: Tensor = self._net(x_BCHW)
            return found
        given = (x_BCHW, condition.tokens_BTD, condition.mask_BT) if condition is not None and self._listens else (x_BCHW,)
        session = self._session(torch.get_num_threads())
        names = [one.name for one in session.get_inputs()]
        rows = []
        for number in range(len(x_BCHW)):
            slices = [part[number : number + 1].detach().contiguous().numpy() for part in given]
            rows.append(torch.from_numpy(session.run(None, dict(zip(names, slices, strict=True)))[0]))
        return torch.cat(rows)

    def _session(self, n_threads: int) -> Any:
        """Return the session that computes with so many threads."""
        if n_threads not in self._sessions:
            onnxruntime = import_module("onnxruntime")
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads, options.inter_op_num_threads = n_threads, 1
            self._sessions[n_threads] = onnxruntime.InferenceSession(self._path, options, providers=["CPUExecutionProvider"])
        return self._sessions[n_threads]


class _Flat(nn.Module):
    """A network that listens, with its condition as two tensors."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x_BCHW: Tensor, tokens_BTD: Tensor, mask_BT: Tensor) -> Tensor:
        """Return what the network returns."""
        found: Tensor = self.net(x_BCHW, Condition(tokens_BTD, mask_BT))
        return found


def default_cache() -> Path:
    """Return the folder where exported networks are kept."""
    home = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(home) if home else Path.home() / ".cache") / "onenex" / "onnx"


def exported(name: str, net: nn.Module, weights_hash: str, cache: Path | None = None) -> Path:
    """Return the ONNX file of a network, exported unless the cache holds it: its name says weights, network and torch's version."""
    folder = cache or default_cache()
    path = folder / f"{weights_hash}-{name}-torch{torch.__version__.split('+')[0]}.onnx"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as work:
            partial = Path(work) / "net.onnx"
            _export(net, partial)
            partial.replace(path)
        logger.info("exported network=%s weights=%s", name, weights_hash)
    return path


def _export(net: nn.Module, path: Path) -> None:
    """Write one network; images of any size, any number of tokens, one at a time."""
    first = next(module for module in net.modules() if isinstance(module, nn.Conv2d))
    channels, any_size = first.in_channels // 4, torch.export.Dim.AUTO  # the first convolution sees 2 × 2 pixels as channels
    model, given, shapes = net, (torch.rand(1, channels, WINDOW, WINDOW),), None
    if hasattr(net, "attend"):
        told = (torch.randn(1, 5, TOKEN_WIDTH), torch.ones(1, 5, dtype=torch.bool))
        model, given = _Flat(net).eval(), (torch.rand(1, channels, 256, 192), *told)  # type: ignore[assignment]
        shapes = ({2: any_size, 3: any_size}, {1: any_size}, {1: any_size})
    with warnings.catch_warnings(), redirect_stdout(StringIO()):  # the exporter speaks of its own affairs
        warnings.simplefilter("ignore")
        torch.onnx.export(model, given, str(path), dynamo=True, dynamic_shapes=shapes, external_data=False, verbose=False)
