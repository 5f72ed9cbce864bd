"""The site recipe from end to end: what it keeps and why, what its card says, and folders of every mix of kinds."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from onenex import model as models
from onenex.errors import DataError
from onenex.model import Settings
from onenex.model.weights import Weights, load_weights, save
from onenex.scans import load_images, read_manifest
from onenex.train import _shortened, run, validate
from onenex.train.config import PhaseConfig, TrainConfig, UnifiedConfig
from onenex.train.recipes import RECIPES
from onenex.train.tune import judge_gains, judge_likelihoods, tune
from tests.model.weights import random_networks, random_restoration
from tests.train.packed_pairs import write_site

PHASE = PhaseConfig(
    steps=3, patch=32, margin=8, simulated_per_batch=1, real_per_batch=1, learning_rate=1e-3, warmup_steps=1, validate_every=3, checkpoint_every=3
)
TINY = TrainConfig(
    name="site", tune=True, holdout_every=3, noise=PHASE, restoration=PHASE, adaptation=PHASE,
    unified=UnifiedConfig(cascade=replace(PHASE, second_scan=True), prior=PHASE),
)  # fmt: skip
HOW_TO = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "tune-on-your-own-scans.md"


@pytest.fixture(scope="module", autouse=True)
def _small_panels() -> Iterator[None]:
    """Validate on few patches: these tests ask what is made of the figures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validate, "_N_BATCHES", 1)
        patch.setattr(validate, "_PER_BATCH", 3)
        patch.setattr(validate, "_LEVELS", (0.02, 0.08))  # at less, the noise map takes the edges of so small a phantom for noise
        yield


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_site(tmp_path_factory.mktemp("site"), n_slices=4, size=64)


def start_at(folder: Path, *, unified: bool) -> Weights:
    networks = replace(random_networks(3), noise_level=load_weights().noise_level)
    if not unified:
        networks = replace(networks, degradation=None, prior=None, phrases=None)
    save(folder / "start.safetensors", networks, {"recipe": "unified_cpu", "training_data": "phantom (licence: none)", "licence": "Apache-2.0"})
    return load_weights(folder / "start.safetensors")


@pytest.fixture(scope="module")
def tuned(site: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Weights, Path]:
    """A start with every network and random weights, and the file that tuning makes of it."""
    start = start_at(tmp_path_factory.mktemp("start"), unified=True)
    return start, tune(TINY, site, tmp_path_factory.mktemp("run"), start=start)


def test_the_tuned_file_denoises_in_both_modes(tuned: tuple[Weights, Path], site: Path) -> None:
    model = models.load("cpu", tuned[1])
    info = read_manifest(site)[0]
    fast = load_images(info)[:1, 0]
    for mode in ("fast", "full"):
        images = model.denoise(fast, info.acquisition, mode=Settings(mode=mode, guard=False)).images
        assert images.shape == fast.shape
        assert np.isfinite(images).all()
        assert not np.array_equal(images, fast)


def test_the_card_says_where_the_weights_come_from(tuned: tuple[Weights, Path]) -> None:
    start, path = tuned
    card = load_weights(path).card
    assert card["recipe"] == "site"
    assert card["training_data"] == "our clinic (licence: ours)"
    begun = json.loads(card["start"])
    assert (begun["hash"], begun["training_data"], begun["licence"]) == (start.hash, "phantom (licence: none)", "Apache-2.0")
    assert re.fullmatch(r"[0-9a-f]{40}\+?|onenex .+", card["commit"])
    assert "organs: head; vendors: Siemens; sequences: T2w" in card["limits"]
    assert "Not a medical device" in card["intended_use"]
    assert "start" in card["licence"]
    assert set(json.loads(card["metrics"])) == {"restoration", "degradation", "prior"}
    assert json.loads(card["config"])["tune"] is True


def test_only_what_does_better_is_kept(tuned: tuple[Weights, Path]) -> None:
    start, path = tuned
    result, verdicts = load_weights(path), json.loads((path.parent / "tuning.json").read_text())
    assert [(one["network"], one["phase"]) for one in verdicts] == [
        ("restoration", "adaptation"), ("restoration", "cascade"), ("degradation", "cascade"), ("prior", "prior"),
    ]  # fmt: skip
    for name in ("restoration", "degradation", "prior"):
        same = all(torch.equal(value, getattr(start, name).state_dict()[key]) for key, value in getattr(result, name).state_dict().items())
        kept = {one["kept"] for one in verdicts if one["network"] == name}
        assert same == (kept == {"start"}), name
        assert f"{name}: " in result.card["tuning"]
    for key, value in result.noise_level.state_dict().items():
        assert torch.equal(value, start.noise_level.state_dict()[key])
    assert start.phrases is not None
    assert result.phrases is not None
    assert torch.equal(result.phrases.tokens["Organ: knee"], start.phrases.tokens["Organ: knee"])


def test_bad_tuning_leaves_the_weights_as_they_were(site: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A rate a hundred times too high wrecks the network; the file holds what the run began at, and says so."""
    start = bundled_like(tmp_path)
    wild = replace(TINY, adaptation=replace(PHASE, learning_rate=0.5, final_learning_rate=0.5, gradient_clip=1e6))
    path = tune(wild, site, tmp_path / "run", start=start)
    result = load_weights(path)
    for key, value in result.restoration.state_dict().items():
        assert torch.equal(value, start.restoration.state_dict()[key])
    assert "network=restoration kept=start" in caplog.text
    assert result.card["tuning"].startswith("restoration: start (-")


def bundled_like(folder: Path) -> Weights:
    """Weights for mode fast whose restoration does nothing yet, so that anything sensible is a gain."""
    networks = replace(random_networks(0), noise_level=load_weights().noise_level)
    still = random_restoration()
    with torch.no_grad():
        for parameter in still.net.head.parameters():
            parameter.zero_()
    save(folder / "still.safetensors", replace(networks, restoration=still, degradation=None, prior=None, phrases=None), {"recipe": "none"})
    return load_weights(folder / "still.safetensors")


def test_good_tuning_is_kept(site: Path, tmp_path: Path) -> None:
    start = bundled_like(tmp_path)
    longer = replace(TINY, adaptation=replace(PHASE, steps=25, learning_rate=4e-3, ema_decay=0.8, real_per_batch=2))
    path = tune(longer, site, tmp_path / "run", start=start)
    (verdict,) = json.loads((path.parent / "tuning.json").read_text())
    assert verdict["kept"] == "tuned", verdict["reason"]
    assert verdict["after"]["gain_db_own_pairs"] > verdict["before"]["gain_db_own_pairs"] + 0.02
    result = load_weights(path).restoration.state_dict()
    assert any(not torch.equal(value, start.restoration.state_dict()[key]) for key, value in result.items())


@pytest.mark.parametrize("kinds", [("clean",), ("repeats",), ("pairs", "repeats", "clean")])
def test_any_mix_of_kinds_will_do(tmp_path: Path, kinds: tuple[str, ...]) -> None:
    folder = write_site(tmp_path / "site", kinds=kinds, n_slices=3, size=48)
    short = replace(TINY, adaptation=replace(PHASE, steps=1), unified=None)
    path = tune(short, folder, tmp_path / "run", start=start_at(tmp_path, unified=False))
    (verdict,) = json.loads((path.parent / "tuning.json").read_text())
    assert {f"gain_db_own_{kind}" for kind in kinds if kind != "clean"} <= set(verdict["after"])
    assert ("gain_db_sigma_0.02" in verdict["after"]) == (kinds != ("repeats",))


def test_a_run_goes_on_only_as_itself(site: Path, tmp_path: Path) -> None:
    start = start_at(tmp_path, unified=False)
    first, second = (load_weights(tune(TINY, site, tmp_path / "run", start=start)) for _ in range(2))
    assert first.card == second.card
    for key, value in first.restoration.state_dict().items():
        assert torch.equal(value, second.restoration.state_dict()[key])
    other = write_site(tmp_path / "other", kinds=("clean",), n_slices=3, size=48)
    with pytest.raises(DataError, match="holds another run"):
        tune(TINY, other, tmp_path / "run", start=start)
    stale = tmp_path / "run" / "prior"
    stale.mkdir()
    (stale / "checkpoint.pt").write_bytes(b"of an earlier run")
    tune(TINY, other, tmp_path / "run", start=start, resume=False)
    assert not (stale / "checkpoint.pt").exists()


def test_gains_decide() -> None:
    before = {"gain_db_knee": 1.0, "gain_db_head": 2.0, "gain_db_sigma_0.02": 3.0, "variance_knee": 1.0}
    better = {"gain_db_knee": 1.2, "gain_db_head": 1.95, "gain_db_sigma_0.02": 2.8}
    assert judge_gains("restoration", "adaptation", before, before | better).tuned
    for worse in ({"gain_db_knee": 1.01}, {"gain_db_head": 1.85}, {"gain_db_sigma_0.02": 2.6}, {"gain_db_knee": float("nan")}):
        verdict = judge_gains("restoration", "adaptation", before, before | (better if "gain_db_knee" not in worse else {}) | worse)
        assert not verdict.tuned, worse
        assert verdict.figures == {name: value for name, value in before.items() if name != "variance_knee"}
    assert judge_gains("prior", "prior", {}, {}).reason == "nothing held out to judge it by"


def test_likelihoods_decide() -> None:
    before = {"nll_knee": -2.0, "nll_sigma_0.02": -3.0}
    assert judge_likelihoods("degradation", "cascade", before, {"nll_knee": -2.1, "nll_sigma_0.02": -2.98}).tuned
    assert not judge_likelihoods("degradation", "cascade", before, {"nll_knee": -2.1, "nll_sigma_0.02": -2.9}).tuned
    assert not judge_likelihoods("degradation", "cascade", before, {"nll_knee": -1.9, "nll_sigma_0.02": -3.5}).tuned


def test_the_recipe_begins_at_the_bundled_weights(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RECIPES, "site", lambda: replace(TINY, adaptation=replace(PHASE, steps=1), unified=None))
    card = load_weights(run("site", site, tmp_path)).card
    assert json.loads(card["start"])["hash"] == load_weights().hash


def test_steps_shorten_every_phase() -> None:
    config = _shortened(RECIPES["unified_cpu"](), 7)
    assert config.unified is not None
    assert {config.noise.steps, config.restoration.steps, config.adaptation.steps, config.unified.cascade.steps, config.unified.prior.steps} == {7}
    assert config.noise.patch == RECIPES["unified_cpu"]().noise.patch


def test_the_recipe_is_short_and_slow() -> None:
    config = RECIPES["site"]()
    assert config.tune
    assert config.unified is not None
    assert config.unified.cascade.second_scan
    for phase in (config.adaptation, config.unified.cascade, config.unified.prior):
        assert phase.learning_rate <= 1e-4
        assert phase.steps <= 1_500


def test_the_how_to_makes_a_folder_that_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's own Python, on two NIfTI series of a phantom."""
    import nibabel

    from tests.train.packed_pairs import pair_of, phantom

    clean = phantom(3, 64)
    images = pair_of(clean)
    for index, name in enumerate(("fast", "reference")):
        (tmp_path / "scans" / name).mkdir(parents=True)
        image = nibabel.Nifti1Image(np.moveaxis(images[:, index], 0, -1), np.eye(4))
        nibabel.save(image, tmp_path / "scans" / name / "series.nii.gz")
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", HOW_TO.read_text(encoding="utf-8"), re.DOTALL)
    exec(compile(code, str(HOW_TO), "exec"), {})
    (info,) = read_manifest(tmp_path / "site")
    assert (info.kind, info.split, info.n_slices, info.reference_nex) == ("pairs", "train", 3, 3)
    assert load_images(info).shape[1] == 2
    short = replace(TINY, adaptation=replace(PHASE, steps=1), unified=None)
    assert tune(short, tmp_path / "site", tmp_path / "run", start=start_at(tmp_path, unified=False)).is_file()
