"""Acceptance: a digital phantom in the spirit of regulators' and accreditors' tests, before and after denoising."""

from onenex.evaluate.acceptance.records import Acceptance, Check, Measured, ModeResult
from onenex.evaluate.acceptance.run import run

__all__ = ["Acceptance", "Check", "Measured", "ModeResult", "run"]
