"""The method: noise map, restoration, weights, and the public `Model`."""

from __future__ import annotations

from onenex.model.engine import MODES, Model, load

__all__ = ["MODES", "Model", "load"]
