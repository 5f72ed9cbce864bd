"""Networks in 8-bit integers, calibrated on training scans: an engine to be judged, not one to be used."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import nn

from onenex.errors import DataError
from onenex.evaluate.cases import clean_case
from onenex.model.engine import Model
from onenex.model.engines import on_device
from onenex.model.onnx import OnnxNet, exported
from onenex.model.weights import Networks, Weights, load_weights
from onenex.scans import read_manifest
from onenex.series import Acquisition, FloatImages

NETWORKS = ("noise_level", "restoration")
"""Of mode `fast`."""
_SIGMAS = (0.03, 0.06, 0.10)
_FILES = 8

_Call = dict[str, NDArray[Any]]


class Int8:
    """ONNX Runtime with convolutions in 8-bit integers: one scale a channel of the weights, one a feature map, the largest value ever met.

    Parameters
    ----------
    data
        Folder with train/ and a manifest: what calibrates it.
    networks
        Which ones, of `NETWORKS`; the others stay with torch.
    """

    def __init__(self, data: Path, networks: Sequence[str] = NETWORKS) -> None:
        self._data, self._networks = data, tuple(networks)

    @property
    def name(self) -> str:
        """What is quantised."""
        return f"int8 ({', '.join(self._networks)})"

    def prepared(self, weights: Weights, device: torch.device) -> Networks:
        """Return the networks, those chosen in integers.

        Raises
        ------
        DataError
            No training scan, weights without text, or ONNX Runtime is not installed.
        """
        if find_spec("onnxruntime") is None:
            raise DataError("int8 needs onnxruntime: pip install 'onenex[onnx]'")
        if weights.phrases is None and "restoration" in self._networks:
            raise DataError("int8 was tried on weights that know text: give others, such as the bundled ones")
        calls = _calls(self._data, weights.path)
        networks = on_device(weights, device)
        with tempfile.TemporaryDirectory(prefix="onenex-int8-") as folder:
            for name in self._networks:
                network = getattr(networks, name)
                path = _quantised(exported(name, network.net, weights.hash), Path(folder) / f"{name}.onnx", calls[name])
                network.net = _InMemory(network.net, path)
        return networks


class _InMemory(OnnxNet):
    """A network whose file goes away once it's loaded."""

    def __init__(self, net: nn.Module, path: Path) -> None:
        super().__init__(net, path)
        for n_threads in {1, torch.get_num_threads()}:
            self._session(n_threads)


def _calls(data: Path, weights: Path) -> dict[str, list[_Call]]:
    """Return what the networks are given on training slices of several files, each at several σ."""
    model = Model(load_weights(weights), torch.device("cpu"))
    noted: dict[str, list[_Call]] = {name: [] for name in NETWORKS}

    def note(name: str) -> Any:
        def hook(_: nn.Module, given: tuple[Any, ...]) -> None:
            condition = given[1] if len(given) > 1 else None
            parts = [given[0]] if condition is None else [given[0], condition.tokens_BTD, condition.mask_BT]
            for number in range(len(given[0])):
                noted[name].append({str(place): part[number : number + 1].contiguous().numpy() for place, part in enumerate(parts)})

        return hook

    for name in NETWORKS:
        getattr(model._networks, name).net.register_forward_pre_hook(note(name))
    for image, acquisition in _slices(data):
        model.denoise(image[None], acquisition, scale=1.0)
    return noted


def _slices(data: Path) -> Iterator[tuple[FloatImages, Acquisition]]:
    infos = [info for info in read_manifest(data) if info.split == "train" and info.kind == "clean"]
    if not infos:
        raise DataError(f"{data}: the manifest lists no clean training file")
    for info in infos[:: max(1, len(infos) // _FILES)]:
        for sigma in _SIGMAS:
            yield clean_case(info, False, sigma, False).stacks[0][0], info.acquisition


def _quantised(source: Path, target: Path, calls: list[_Call]) -> Path:
    """Write a network with its convolutions in integers."""
    quantization = import_module("onnxruntime.quantization")
    names = [one.name for one in import_module("onnx").load(source).graph.input]

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc, name-defined]
        """Hands out calls one by one."""

        def __init__(self) -> None:
            self._calls = iter(calls)

        def get_next(self) -> _Call | None:
            """Return the next call by the network's own names."""
            call = next(self._calls, None)
            return None if call is None else dict(zip(names, call.values(), strict=True))

    quantization.quantize_static(
        source, target, Reader(), quant_format=quantization.QuantFormat.QDQ, per_channel=True, op_types_to_quantize=["Conv"],
        activation_type=quantization.QuantType.QUInt8, weight_type=quantization.QuantType.QInt8,
    )  # fmt: skip
    return target
