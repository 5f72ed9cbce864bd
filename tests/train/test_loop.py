"""The training loop: bfloat16, drawing by processes, gradients over sub-batches, and a real GPU where there is one."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from onenex.model.degradation import Degradation
from onenex.model.noise_level import NoiseLevel, NoiseMap
from onenex.model.restoration import Restoration
from onenex.model.weights import Networks
from onenex.nets.attention import Condition
from onenex.text.phrases import TABLE
from onenex.text.tokens import WIDTH, PhraseTable
from onenex.train import cascade, phases, prior_loss, unified
from onenex.train.config import TrainConfig, UnifiedConfig
from onenex.train.dataset import Batch, draw_batch
from onenex.train.distributed import move, training_device
from onenex.train.drawing import Draws
from onenex.train.loop import Phase, train_phase
from onenex.train.msssim import ms_ssim
from onenex.train.precision import bf16_bodies
from onenex.train.recipes.unified_cpu import unified_cpu
from onenex.train.recipes.unified_gpu import unified_gpu
from tests.model.conditions import random_condition
from tests.train.crew import CONFIG, Odd, odd_loss, on_the_cpu, phase, scans
from tests.train.packed import write_packed

__all__ = ["on_the_cpu"]

FIELDS = ("measured_B1HW", "target_B1HW", "sigma_B1HW", "is_real_B", "nex_B", "target_nex_B", "second_B1HW")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_packed(tmp_path_factory.mktemp("packed"))


def assert_equal(one: Batch, other: Batch) -> None:
    for name in FIELDS:
        assert torch.equal(getattr(one, name), getattr(other, name)), name
    assert one.prompts == other.prompts


def test_the_first_sub_batch_is_the_batch_of_seed_and_step(data: Path) -> None:
    """Runs of one sub-batch keep drawing what they always drew."""
    for step, (batch, _) in enumerate(Draws(scans(data), replace(CONFIG, steps=3), 5).steps()):
        assert_equal(batch, draw_batch(scans(data), CONFIG, np.random.default_rng([5, step])))


def test_processes_draw_what_a_thread_draws(data: Path) -> None:
    config = replace(CONFIG, steps=6)
    for by_thread, by_processes in zip(Draws(scans(data), config, 5).steps(), Draws(scans(data), replace(config, workers=2), 5).steps(), strict=True):
        for one, other in zip(by_thread, by_processes, strict=True):
            assert_equal(one, other)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_of_drawing_ends_the_training(workers: int) -> None:
    with pytest.raises((ValueError, IndexError)):
        next(Draws([], replace(CONFIG, workers=workers), 0).steps())


def test_a_finished_phase_draws_nothing(data: Path) -> None:
    assert list(Draws(scans(data), replace(CONFIG, workers=4), 5, first=CONFIG.steps).steps()) == []


def gradients(network: Odd) -> list[Tensor]:
    return [parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None]


def test_sub_batches_average_their_gradients(data: Path, tmp_path: Path) -> None:
    """One step of plain averaging, by hand: Adam's first step is the sign of the gradient, so its moments are compared."""
    network = Odd()
    for index in range(2):
        batch = Draws(scans(data), CONFIG, 3)[index]
        generator = torch.Generator().manual_seed(3 * 1_000_003 + index * 500_000_003)
        (odd_loss(network, batch, generator, 0.0) / 2).backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), CONFIG.gradient_clip)
    train_phase(phase(replace(CONFIG, steps=1)), scans(data), tmp_path)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["optimizer"]["state"]
    for moment, gradient in zip((entry["exp_avg"] for entry in state.values()), gradients(network), strict=True):
        torch.testing.assert_close(moment, 0.1 * gradient, rtol=1e-5, atol=1e-8)


def test_bodies_compute_in_bf16_and_answer_in_float32() -> None:
    torch.manual_seed(0)
    restoration, image = Restoration((8, 16), 1), torch.rand(2, 1, 32, 32)
    torch.nn.init.normal_(restoration.net.head[0].weight, 0, 0.1)  # type: ignore[arg-type]
    seen: list[torch.dtype] = []
    handle = restoration.net.stem.register_forward_hook(lambda _module, _inputs, output: seen.append(output.dtype))
    with torch.no_grad():
        exact = restoration(image, 0.05 * image)
        with bf16_bodies(restoration):
            rough = restoration(image, 0.05 * image)
            assert not torch.is_autocast_enabled("cpu")
        after = restoration(image, 0.05 * image)
    handle.remove()
    assert seen == [torch.float32, torch.bfloat16, torch.float32]
    assert rough.dtype == torch.float32
    assert not torch.equal(rough, exact)
    torch.testing.assert_close(rough, exact, atol=2e-3, rtol=0)
    assert torch.equal(after, exact)


def test_bodies_are_themselves_again_after_an_error() -> None:
    network = NoiseLevel()
    with pytest.raises(KeyboardInterrupt), bf16_bodies(network):
        raise KeyboardInterrupt
    assert "forward" not in vars(network.net)
    with bf16_bodies(network, enabled=False):
        assert "forward" not in vars(network.net)


def test_training_in_bf16_keeps_weights_in_float32_and_learns(data: Path, tmp_path: Path) -> None:
    batch = Draws(scans(data), CONFIG, 99)[0]

    def loss_of(network: torch.nn.Module) -> float:
        with torch.no_grad():
            return odd_loss(network, batch, torch.Generator().manual_seed(0), 0.0).item()

    before, losses = loss_of(Odd()), []
    for bf16 in (False, True):
        trained = phase(replace(CONFIG, bf16=bf16, steps=40))
        average = train_phase(trained, scans(data), tmp_path / str(bf16))
        assert {parameter.dtype for parameter in average.parameters()} == {torch.float32}
        assert not any("forward" in vars(module) for module in trained.network.modules())
        losses.append(loss_of(trained.network))
    assert max(losses) < before - 0.3
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], abs=0.15)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_trains_what_the_cpu_trains(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start = torch.cat([parameter.detach().flatten() for parameter in Odd().parameters()])
    ways = []
    for device in ("cpu", "cuda"):
        monkeypatch.setenv("ONENEX_DEVICE", device)
        average = train_phase(phase(replace(CONFIG, steps=3)), scans(data), tmp_path / device)
        assert {parameter.device.type for parameter in average.parameters()} == {device}
        ways.append(torch.cat([parameter.detach().cpu().flatten() for parameter in average.parameters()]) - start)
    assert torch.cosine_similarity(ways[0], ways[1], dim=0) > 0.95
    assert float(ways[1].norm() / ways[0].norm()) == pytest.approx(1, abs=0.05)


def test_the_gpu_recipe_makes_interchangeable_weights() -> None:
    """Same networks as the CPU's; every phase in bfloat16, ten times as long, its steps divisible among 1, 2 or 4 GPUs."""
    gpu, cpu = unified_gpu(), unified_cpu()
    assert (gpu.widths, gpu.depth) == (cpu.widths, cpu.depth)
    assert gpu.unified is not None
    assert cpu.unified is not None
    for name in ("degradation_widths", "degradation_depth", "lora_rank"):
        assert getattr(gpu.unified, name) == getattr(cpu.unified, name)
    pairs = [(gpu.noise, cpu.noise), (gpu.restoration, cpu.restoration), (gpu.adaptation, cpu.adaptation)]
    pairs += [(gpu.unified.cascade, cpu.unified.cascade), (gpu.unified.prior, cpu.unified.prior)]
    for large, small in pairs:
        assert large.bf16
        assert large.steps == 10 * small.steps
        assert large.sub_batches == 4
        assert large.sub_batches * (large.simulated_per_batch + large.real_per_batch) == 48
        assert large.patch % 16 == 0
        assert large.patch >= small.patch
        assert large.second_scan == small.second_scan
    assert gpu.noise.patch == cpu.noise.patch == 192  # slices are judged in windows of this size


def unmasked_structure_loss(restored: Tensor, batch: Batch) -> Tensor:
    """Stand in for `structure_loss`, which asks for a number, and tensors of the meta device have none."""
    return ms_ssim(restored, batch.target_B1HW, data_range=1.0).mean()


@pytest.mark.parametrize("name", ["noise", "restoration", "adaptation", "cascade", "settling", "prior"])
def test_losses_work_where_the_batch_is(data: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """No draw and no fixed network stays on the CPU. The meta device stands for a GPU: it too refuses to mix."""
    monkeypatch.setenv("ONENEX_DEVICE", "meta")
    for module in (cascade, prior_loss):
        monkeypatch.setattr(module, "structure_loss", unmasked_structure_loss)
    config = TrainConfig(name="tiny", noise=CONFIG, restoration=CONFIG, adaptation=CONFIG, widths=(8, 16), depth=1)
    networks = Networks(noise_level=NoiseLevel(), restoration=Restoration((8, 16), 1))
    batch = move(Draws(scans(data), CONFIG, 0)[0], training_device())
    if name == "noise":
        chosen = phases.noise_phase(config, [], networks.noise_level)
    elif name == "adaptation":
        chosen = phases.adaptation_phase(config, [], networks.noise_level, networks.restoration)
    elif name == "restoration":
        chosen = phases.restoration_phase(config, [], networks.restoration)
    elif name == "settling":
        table = PhraseTable(tokens={phrase: torch.rand(3, WIDTH) for phrase in TABLE})
        chosen = unified.settling_phase(CONFIG, [], replace(networks, degradation=Degradation((8, 16), 1)), table, 0)
    elif name == "prior":
        table = PhraseTable(tokens={phrase: torch.rand(3, WIDTH) for phrase in TABLE})
        chosen = unified.prior_phase(UnifiedConfig(cascade=CONFIG, prior=CONFIG), [], networks, table, 0)
    else:
        told, condition = NoiseMap(batch.sigma_B1HW, batch.sigma_B1HW), Condition(*(tensor.to("meta") for tensor in random_condition(3)))
        network = cascade.Cascade(networks.restoration, Degradation((8, 16), 1), torch.nn.Identity())
        chosen = Phase(
            network=network, config=CONFIG, validation=lambda _: {}, seed=0,
            loss=lambda _, batch, generator, progress: cascade.cascade_loss(network, batch, told, condition, progress=progress, generator=generator),
        )  # fmt: skip
    chosen.network.to(training_device())
    loss = chosen.loss(chosen.network, batch, torch.Generator().manual_seed(0), 0.5)
    loss.backward()
    assert loss.device.type == "meta"
