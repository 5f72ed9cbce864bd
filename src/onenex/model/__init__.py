"""The method: noise map, restoration, degradation, prior, guided inference, weights, and the public `Model`."""

from __future__ import annotations

from onenex.model.engine import Model, load
from onenex.model.modes import MODES, Settings

__all__ = ["MODES", "Model", "Settings", "load"]
