"""Tissues of the phantom against its truth, and how they are found under noise."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from onenex.errors import DataError
from onenex.evaluate.metrics import foreground
from onenex.evaluate.segmentation import Task, brain, dice
from onenex.evaluate.segmentation.brain import CSF, GREY, WHITE, Mixture, brain_task
from onenex.evaluate.segmentation.extraction import brain_mask
from onenex.physics import noise, phantom
from onenex.physics.scale import series_scale
from onenex.series import Acquisition

SHAPE = (2, 144, 144)
TISSUES = {
    CSF: (phantom.CSF,),
    GREY: (phantom.GREY, phantom.NUCLEUS),
    WHITE: (phantom.WHITE,),
    "brain": (phantom.CSF, phantom.GREY, phantom.NUCLEUS, phantom.PALLIDUM, phantom.WHITE, phantom.LESION),
}


@cache
def head(sequence: str) -> np.ndarray:
    images = phantom.head_phantom(SHAPE, sequence=sequence, supersampling=2)
    return images / np.float32(series_scale([images]))


@cache
def task(sequence: str) -> Task:
    return brain_task(head(sequence), Acquisition(organ="head", plane="axial", sequence=sequence))


@pytest.fixture(scope="module")
def truth() -> dict[str, np.ndarray]:
    """Where most of each pixel is of a tissue: the phantom seen with nothing else giving signal."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        for name, tissues in TISSUES.items():
            alone = np.array([1000.0 * (index in tissues) for index in range(len(phantom.TISSUES))], dtype=np.float32)
            patch.setattr(phantom, "signal", lambda _sequence, alone=alone: alone)
            found[name] = phantom.head_phantom(SHAPE, supersampling=2) > 450
    return found


def labelled(truth: dict[str, np.ndarray], names: dict[str, int], mask: np.ndarray) -> np.ndarray:
    labels = np.zeros(SHAPE, dtype=np.int32)
    for name, value in names.items():
        labels[truth[name] & mask] = value
    return labels


@pytest.mark.parametrize("sequence", ["T1w", "T2w"])
def test_brain_masks_hold_the_brain_and_little_else(sequence: str, truth: dict[str, np.ndarray]) -> None:
    mask = task(sequence).mask
    assert (mask & truth["brain"]).sum() > 0.85 * truth["brain"].sum()
    assert (mask & ~truth["brain"]).sum() < 0.05 * mask.sum()
    assert mask.sum() < 0.8 * foreground(head(sequence)).sum()


@pytest.mark.parametrize("sequence", ["T1w", "T2w"])
def test_tissues_are_those_of_the_phantom(sequence: str, truth: dict[str, np.ndarray]) -> None:
    found = task(sequence)
    assert found.note == "Atropos"
    names = dict(found.segmenter.names)
    assert set(names) == {CSF, GREY, WHITE}
    scores = dice(found.reference, labelled(truth, names, found.mask), names)
    assert min(scores.values()) > 0.7, scores


@pytest.mark.parametrize("kind", ["atropos", "mixture"])
def test_dice_falls_as_the_noise_rises(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = task("T2w")
    if kind == "mixture":
        monkeypatch.setattr(brain, "find_spec", lambda name: None if name == "ants" else object())
        found = brain_task(head("T2w"), Acquisition(organ="head", plane="axial", sequence="T2w"))
        assert found.note == "Gaussian mixture (antspyx isn't installed)"
    assert set(found.score(head("T2w")).values()) == {1.0}
    generator = np.random.default_rng(0)
    scores = [np.mean(list(found.score(noise.rician(head("T2w"), np.float32(sigma), generator)).values())) for sigma in (0.03, 0.08, 0.2)]
    assert 0.97 > scores[0] > scores[1] + 0.03 > scores[2] + 0.06


def test_segmentation_gives_the_same_labels_twice_and_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    found = task("T2w")
    noisy = noise.rician(head("T2w"), np.float32(0.06), np.random.default_rng(1))
    first, second = (found.segmenter(noisy, None, found.mask) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert not list(tmp_path.iterdir())
    assert (first[found.mask] > 0).all()
    assert not first[~found.mask].any()


def test_where_atropos_fails_on_the_reference_the_mixture_takes_over(monkeypatch: pytest.MonkeyPatch) -> None:
    def empty_class(self: brain.Atropos, images: np.ndarray, spacing_mm: None, mask: np.ndarray) -> np.ndarray:
        return mask.astype(np.int32) * 2

    def gives_up(self: brain.Atropos, images: np.ndarray, spacing_mm: None, mask: np.ndarray) -> np.ndarray:
        raise DataError("Atropos could not segment")

    acquisition = Acquisition(organ="head", plane="axial", sequence="DWI")
    for broken, why in ((empty_class, "left a class with 0.0% of the brain"), (gives_up, "could not segment")):
        monkeypatch.setattr(brain.Atropos, "__call__", broken)
        found = brain_task(head("T2w"), acquisition)
        assert isinstance(found.segmenter, Mixture)
        assert why in found.note
        assert list(found.segmenter.names) == list(brain.UNNAMED)


@pytest.mark.parametrize(
    ("acquisition", "message"),
    [
        (Acquisition(organ="knee", plane="axial"), "axial head slices only, not on axial knee"),
        (Acquisition(organ="head", plane="sagittal"), "not on sagittal head"),
        (Acquisition(organ="head", plane="axial"), "too small or too flat"),
    ],
)
def test_what_has_no_brain_is_refused(acquisition: Acquisition, message: str) -> None:
    with pytest.raises(DataError, match=message):
        brain_task(np.ones(SHAPE, dtype=np.float32), acquisition)


def test_masks_of_empty_and_noisy_slices() -> None:
    assert not brain_mask(np.zeros((2, 40, 40), dtype=np.float32)).any()
    speckle = np.random.default_rng(0).rayleigh(0.05, (2, 40, 40)).astype(np.float32)
    assert brain_mask(speckle).shape == (2, 40, 40)
    with pytest.raises(DataError, match="at least 1000"):
        Mixture(means=(0.1, 0.2, 0.3))(head("T2w"), None, np.zeros(SHAPE, dtype=np.bool_))
