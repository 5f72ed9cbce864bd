"""What the options of `onenex train` make of a recipe."""

import os

import pytest

from onenex.train import _adapted, started_again
from onenex.train.recipes.rivals_cpu import rivals_cpu
from onenex.train.recipes.unified_gpu import unified_gpu


def test_accumulated_recipes_have_more_sub_batches_and_another_name() -> None:
    """Another name, so that a run isn't resumed with other steps."""
    config = _adapted(unified_gpu(), 7, 3)
    assert config.name == "unified_gpu x3"
    assert config.unified is not None
    for phase in (config.noise, config.adaptation, config.unified.cascade, config.unified.prior):
        assert (phase.steps, phase.sub_batches) == (7, 12)
    assert _adapted(rivals_cpu(), None, 2).gan.sub_batches == 2
    assert _adapted(unified_gpu(), None, 1) == unified_gpu()


def test_only_the_first_start_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    for count, again in (("0", False), ("2", True)):
        monkeypatch.setitem(os.environ, "TORCHELASTIC_RESTART_COUNT", count)
        assert started_again() is again
    monkeypatch.delenv("TORCHELASTIC_RESTART_COUNT")
    assert not started_again()
