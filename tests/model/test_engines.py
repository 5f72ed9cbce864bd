"""Whatever runs the networks, the images are the same; an engine that can't run says so."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from onenex.errors import OutOfDomain
from onenex.model import engines, load
from onenex.model.engine import Model
from onenex.model.onnx import exported
from onenex.model.weights import load_weights, save
from onenex.nets.attention import TOKEN_WIDTH, Condition
from tests.model.test_engine import scan
from tests.model.weights import random_networks

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "unified.safetensors"
    save(path, random_networks(), card={"recipe": "none"})
    return path


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for package in ("onnxruntime", "onnxscript"):
        pytest.importorskip(package)
    return tmp_path_factory.mktemp("onnx")


@pytest.mark.parametrize("mode", ["fast", "full"])
@pytest.mark.parametrize("size", [(3, 48, 40), (1, 17, 23), (1, 200, 90)])
def test_onnx_runtime_gives_the_images_of_torch(weights: Path, cache: Path, mode: str, size: tuple[int, int, int]) -> None:
    by_torch, by_onnx = (Model(load_weights(weights), CPU, engine) for engine in (engines.Torch(), engines.Onnx(cache)))
    assert by_onnx.engine == "onnx"
    images = scan(*size)
    ours, theirs = (model.denoise(images, mode=mode, scale=1.0) for model in (by_torch, by_onnx))
    np.testing.assert_allclose(theirs.images, ours.images, rtol=0, atol=1e-4)
    np.testing.assert_allclose(theirs.noise_sigma, ours.noise_sigma, rtol=0, atol=1e-4)
    assert not np.array_equal(ours.images, images)


def test_networks_are_exported_once(weights: Path, cache: Path) -> None:
    loaded = load_weights(weights)
    path = exported("noise_level", loaded.noise_level.net, loaded.hash, cache)
    before = path.stat().st_mtime_ns
    assert loaded.hash in path.name
    assert exported("noise_level", loaded.noise_level.net, loaded.hash, cache).stat().st_mtime_ns == before
    assert [one for one in cache.iterdir() if one.is_dir()] == []


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "find_spec", lambda name: None if name == "onnxruntime" else importlib.util.find_spec(name))
    with pytest.raises(OutOfDomain, match=r"onnxruntime.*onenex\[onnx\]"):
        load("cpu", engine="onnx")


def test_engines_that_do_not_go_with_the_device_are_refused() -> None:
    with pytest.raises(OutOfDomain, match="CUDA"):
        load("cpu", engine="compiled")
    with pytest.raises(OutOfDomain, match="torch, compiled, onnx"):
        load("cpu", engine="abacus")


def test_half_precision_is_close_and_float_outside() -> None:
    net = random_networks().restoration
    assert net is not None
    x = torch.rand(1, 4, 32, 32, generator=torch.Generator().manual_seed(0))
    told = Condition(torch.randn(1, 3, TOKEN_WIDTH, generator=torch.Generator().manual_seed(1)), torch.ones(1, 3, dtype=torch.bool))
    half = engines.HalfPrecision(net.net)
    with torch.no_grad():
        found, exact = half(x, told), net.net(x, told)
    assert found.dtype == torch.float32
    assert half.multiple == net.multiple
    assert 0 < float((found - exact).abs().max()) < 0.05 * float(exact.abs().max())
