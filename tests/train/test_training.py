"""Training: batches are functions of the step, a resumed run is the uninterrupted one, losses have their minimum at the truth."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from onenex.errors import DataError, WeightsMismatch
from onenex.model.noise_level import NoiseMap
from onenex.model.weights import load_weights
from onenex.physics import noise
from onenex.physics.estimate import spread_of_repeats
from onenex.text.phrases import SLOTS, UNKNOWNS
from onenex.train import checkpoint, run
from onenex.train.config import PhaseConfig, TrainConfig
from onenex.train.dataset import Batch, Scan, draw_batch, load_scans
from onenex.train.loop import learning_rate
from onenex.train.losses import noise_loss, restoration_loss, rice_mean
from onenex.train.phases import train
from tests.train.packed import write_packed

PHASE = PhaseConfig(steps=6, patch=32, margin=8, simulated_per_batch=2, real_per_batch=1, warmup_steps=2, validate_every=6, checkpoint_every=3)
TINY = TrainConfig(name="tiny", noise=PHASE, restoration=PHASE, adaptation=PHASE, widths=(16, 16), depth=1)

ONE_STEP = replace(PHASE, steps=1)
SHORT = replace(TINY, name="short", noise=ONE_STEP, restoration=ONE_STEP, adaptation=ONE_STEP)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_packed(tmp_path_factory.mktemp("packed"))


@pytest.fixture(scope="module")
def scans(packed: Path) -> list[Scan]:
    return load_scans(packed, TINY, holdout=False)


def test_test_split_is_never_loaded(packed: Path) -> None:
    for holdout in (False, True):
        assert {scan.info.split for scan in load_scans(packed, TINY, holdout=holdout)} == {"train"}


def test_held_out_slices_are_not_trained_on(packed: Path, scans: list[Scan]) -> None:
    for scan, held in zip(scans, load_scans(packed, TINY, holdout=True), strict=True):
        assert not set(scan.slices) & set(held.slices)


def test_a_batch_is_a_function_of_its_seed(scans: list[Scan]) -> None:
    first, second, other = (draw_batch(scans, PHASE, np.random.default_rng([0, step])) for step in (4, 4, 5))
    assert torch.equal(first.measured_B1HW, second.measured_B1HW)
    assert not torch.equal(first.measured_B1HW, other.measured_B1HW)
    assert first.measured_B1HW.shape == (3, 1, 32, 32)
    assert first.is_real_B.tolist() == [False, False, True]


def test_a_second_scan_has_the_same_signal_and_new_noise(scans: list[Scan]) -> None:
    clean = [scan for scan in scans if scan.info.kind == "clean"]
    ranges = replace(PHASE.ranges, sigma=(0.05, 0.0501), filtered=0, masked=0, averaged=0, coils=0, g_factor=0, correlated=0)
    config = replace(PHASE, simulated_per_batch=8, real_per_batch=0, second_scan=True, ranges=ranges)
    batch = draw_batch(clean, config, np.random.default_rng(0))
    bright = batch.target_B1HW > 0.4
    first, second = ((image - batch.target_B1HW)[bright] for image in (batch.measured_B1HW, batch.second_B1HW))
    assert float(second.std() / first.std()) == pytest.approx(1, abs=0.1)
    assert abs(float(torch.corrcoef(torch.stack([first, second]))[0, 1])) < 0.1


def test_prompts_say_what_is_known(scans: list[Scan]) -> None:
    batch = draw_batch(scans, replace(PHASE, text_dropout=0.0), np.random.default_rng(0))
    assert all(len(prompt) == len(SLOTS) for prompt in batch.prompts)
    assert {"Organ: head", "Sequence: T2w", "Plane: axial"} <= set(batch.prompts[0])
    assert f"Averages: {int(batch.nex_B[-1])}" in batch.prompts[-1]
    silent = draw_batch(scans, replace(PHASE, text_dropout=1.0), np.random.default_rng(0))
    assert set(silent.prompts) == {UNKNOWNS}
    assert torch.equal(silent.measured_B1HW, batch.measured_B1HW)


def test_real_pairs_never_share_a_repeat(scans: list[Scan]) -> None:
    """Input and target of a real patch have independent noise: their difference holds the noise of both."""
    real = [scan for scan in scans if scan.info.kind == "repeats"]
    config = replace(PHASE, simulated_per_batch=0, real_per_batch=8)
    for seed in range(3):
        batch = draw_batch(real, config, np.random.default_rng(seed))
        assert (batch.nex_B + batch.target_nex_B).tolist() == [3.0] * 8
        spread = (batch.measured_B1HW - batch.target_B1HW)[batch.measured_B1HW > 0.4].std()
        assert spread > 0.08


@pytest.fixture(scope="module")
def uninterrupted(packed: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load_weights(train(TINY, packed, tmp_path_factory.mktemp("uninterrupted") / "run"))


@pytest.mark.parametrize("killed_at", [3, 9, 15])
def test_resumed_run_equals_uninterrupted_run(
    uninterrupted: Any, packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_at: int
) -> None:
    """Killed right after a checkpoint in the middle of the first, second or third phase of six steps each."""
    save, n_steps = checkpoint.save, 0

    def save_and_die(folder: Path, state: dict[str, object]) -> None:
        nonlocal n_steps
        save(folder, state)
        n_steps += 3
        if n_steps == killed_at:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "save", save_and_die)
    with pytest.raises(KeyboardInterrupt):
        train(TINY, packed, tmp_path / "parts")
    resumed = load_weights(train(TINY, packed, tmp_path / "parts"))
    for network in ("noise_level", "restoration"):
        for name, value in getattr(uninterrupted, network).state_dict().items():
            torch.testing.assert_close(getattr(resumed, network).state_dict()[name], value, msg=name)


def test_spread_of_repeats_is_their_sigma() -> None:
    repeats = 0.5 + 0.04 * np.random.default_rng(0).standard_normal((3, 80, 80), dtype=np.float32)
    np.testing.assert_allclose(spread_of_repeats(repeats), 0.04, rtol=0.25)
    assert spread_of_repeats(repeats).mean() == pytest.approx(0.04, rel=0.02)


def test_a_run_leaves_its_journal_and_a_card(packed: Path, tmp_path: Path) -> None:
    weights = load_weights(train(TINY, packed, tmp_path))
    for phase, figures in (
        ("noise", {"ratio_sigma_0.02", "too_high_repeats_train"}),
        ("adaptation", {"gain_db_sigma_0.08", "gain_db_repeats_train"}),
    ):
        lines = [json.loads(line) for line in (tmp_path / phase / "log.jsonl").read_text().splitlines()]
        assert figures <= set(lines[-1])
        assert list((tmp_path / phase).glob("events.out.tfevents.*"))
    assert weights.card["recipe"] == "tiny"
    assert weights.card["training_data"] == "phantom (licence: none)"


def test_recipe_and_data_are_checked(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="choose one of restoration_cpu"):
        run("nonsense", tmp_path, tmp_path / "run")
    with pytest.raises(DataError, match=r"manifest\.csv"):
        run("restoration_cpu", tmp_path, tmp_path / "run")
    with pytest.raises(DataError, match="no training file"):
        load_scans(write_packed(tmp_path / "only-test", splits=("test",)), TINY, holdout=False)


def test_a_run_may_begin_at_given_weights(packed: Path, tmp_path: Path) -> None:
    first = train(TINY, packed, tmp_path / "first")
    still = replace(PHASE, learning_rate=0.0, final_learning_rate=0.0)
    config = replace(TINY, noise=still, restoration=still, adaptation=still)
    second = load_weights(train(config, packed, tmp_path / "second", start=load_weights(first)))
    for name, value in load_weights(first).restoration.state_dict().items():
        torch.testing.assert_close(second.restoration.state_dict()[name], value)
    with pytest.raises(WeightsMismatch, match="another size"):
        train(replace(TINY, widths=(16, 32)), packed, tmp_path / "third", start=load_weights(first))


def test_damaged_checkpoint_is_named(packed: Path, tmp_path: Path) -> None:
    train(SHORT, packed, tmp_path)
    (tmp_path / "noise" / "checkpoint.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(DataError, match="remove it to start the run again"):
        train(SHORT, packed, tmp_path)


def test_a_run_goes_on_only_as_itself(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(SHORT, packed, tmp_path)
    other = replace(SHORT, name="other")
    with pytest.raises(DataError, match="holds another run"):
        train(other, packed, tmp_path)

    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        train(other, packed, tmp_path, resume=False)
    assert not list(tmp_path.glob("*/checkpoint.pt"))  # or, when resumed, later phases would take the first run's for their own


def test_learning_rate_rises_then_falls() -> None:
    rates = [learning_rate(replace(PHASE, steps=100, warmup_steps=10), step) for step in range(100)]
    assert np.argmax(rates) in (9, 10)
    assert rates[-1] < 0.05 * max(rates)


@pytest.mark.parametrize("snr", [0.0, 1.0, 4.0, 40.0])
def test_torch_rice_mean_equals_the_physics(snr: float) -> None:
    expected = noise.rice_mean(np.array([snr * 0.05]), 0.05)
    actual = rice_mean(torch.tensor([snr * 0.05], dtype=torch.float64), torch.tensor([0.05], dtype=torch.float64))
    assert actual.item() == pytest.approx(float(expected[0]), rel=1e-6)


def flat_batch(*, real: bool, sigma: float = 0.05) -> Batch:
    generator = np.random.default_rng(3)
    clean = np.full((4, 1, 64, 64), 0.5, np.float32)
    measured, other = (torch.from_numpy(noise.rician(clean, sigma, generator)) for _ in range(2))
    ones = torch.ones(4)
    return Batch(
        measured_B1HW=measured, target_B1HW=other if real else torch.from_numpy(clean), sigma_B1HW=torch.full_like(measured, sigma),
        is_real_B=torch.tensor([real] * 4), nex_B=ones, target_nex_B=ones, second_B1HW=other, prompts=(UNKNOWNS,) * 4,
    )  # fmt: skip


@pytest.mark.parametrize("real", [False, True])
def test_noise_loss_is_least_at_the_true_sigma(real: bool) -> None:
    batch = flat_batch(real=real)
    candidates = [0.03, 0.04, 0.05, 0.0625, 0.08]
    truth = torch.full_like(batch.measured_B1HW, 0.05)
    for varied in ("sigma", "cautious"):
        losses = [noise_loss(NoiseMap(truth, truth)._replace(**{varied: torch.full_like(truth, sigma)}), batch).item() for sigma in candidates]
        assert candidates[int(np.argmin(losses))] == 0.05


def test_caution_pays_when_unsure() -> None:
    """With σ as likely 0.03 as 0.06 the median may lie anywhere between; the cautious quantile belongs at the lower end."""
    batches = [flat_batch(real=False, sigma=sigma) for sigma in (0.03, 0.06)]

    def loss(cautious: float) -> float:
        level = torch.full_like(batches[0].measured_B1HW, cautious)
        return sum(noise_loss(NoiseMap(torch.full_like(level, 0.042), level), batch).item() for batch in batches)

    assert loss(0.03) < loss(0.042) < loss(0.06)


@pytest.mark.parametrize("real", [False, True])
def test_restoration_loss_is_least_at_the_clean_image(real: bool) -> None:
    batch = flat_batch(real=real)
    sigma = torch.full_like(batch.measured_B1HW, 0.05)
    candidates = [0.48, 0.49, 0.5, 0.51, 0.52]
    losses = [restoration_loss(torch.full_like(sigma, level), batch, sigma).item() for level in candidates]
    assert candidates[int(np.argmin(losses))] == 0.5
    assert min(losses) < restoration_loss(batch.measured_B1HW, batch, sigma).item()
