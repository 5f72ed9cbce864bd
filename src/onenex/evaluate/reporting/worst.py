"""The images on which we gain least, as pictures: the ten worst, never the ten best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from onenex.evaluate.cohort.methods import INPUT, OURS, OneNex
from onenex.evaluate.cohort.samples import Sample, Unit, samples
from onenex.evaluate.cohort.work import Bench, Order
from onenex.report.png import data_uri, to_bytes

if TYPE_CHECKING:
    import pandas as pd

    from onenex.evaluate.measures.record import Image

N_WORST = 10
_SIDE = 220
"""Pixels; smaller images are shown enlarged by a whole factor."""
_REACH = 3.0
"""Differences are drawn from −3 to 3 of the input's median noise."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One image of a case."""

    title: str
    uri: str


@dataclass(frozen=True, kw_only=True)
class Case:
    """One of the worst."""

    title: str
    facts: str
    pictures: tuple[Picture, ...]


def worst(frame: pd.DataFrame, units: Sequence[Unit], order: Order, tools: Bench, n: int = N_WORST) -> list[Case]:
    """Return the images on which our best mode gains least over the input in the foreground, restored once more and drawn.

    Parameters
    ----------
    frame
        As `groups.load` returns it.
    tools
        Of this process.
    """
    ours = [one for one in tools.methods if isinstance(one, OneNex)]
    if not ours:
        return []
    method = ours[-1]
    keys = ["file", "condition", "input", "slice"]
    told = {name: frame[frame["method"] == name].set_index(keys) for name in (INPUT, method.name)}
    gain = _decibels(told[method.name]["foreground_mse"] / told[INPUT]["foreground_mse"]).dropna().sort_values()
    by_name = {(unit.info.id, unit.condition.name): unit for unit in units}
    cases = []
    for (file, condition, number, k), value in gain.head(n).items():
        unit = by_name[file, condition]
        sample = next(one for one in samples(unit, order.plan) if (one.number, one.slice) == (number, k))
        similar = [told[name].loc[(file, condition, number, k), "foreground_ssim"] for name in (method.name, INPUT)]
        facts = f"gain {value:+.2f} dB; SSIM {similar[0]:.4f} (input {similar[1]:.4f})"
        cases.append(Case(title=f"{file}, {condition}, input {number + 1}, slice {k}", facts=facts, pictures=_pictures(sample, unit, method, tools)))
    return cases


def _decibels(ratio: pd.Series) -> pd.Series:
    """Return the gain, dB; missing where an unbiased error is not above zero."""
    return -10 * np.log10(ratio.where(ratio > 0))


def _pictures(sample: Sample, unit: Unit, method: OneNex, tools: Bench) -> tuple[Picture, ...]:
    def sigma() -> NDArray[np.float32]:
        return tools.model.estimate_sigma(sample.measured[None], sample.scale)

    restored = method(sample, unit.info, sigma).image
    high = float(np.percentile(sample.reference[sample.mask], 99.5)) if sample.mask.any() else 1.0
    reach = _REACH * float(np.median(sigma()[0][sample.mask])) if sample.mask.any() else 0.1
    grey = [("input", sample.measured), (method.name, restored), ("reference", sample.reference)]
    differences = [(f"{method.name} − reference", restored - sample.reference), (f"input − {method.name}", sample.measured - restored)]
    shown = [Picture(title=title, uri=_uri(image, 0, high)) for title, image in grey]
    return (*shown, *(Picture(title=f"{title}, ±{reach:.3f}", uri=_uri(image, -reach, reach)) for title, image in differences))


def _uri(image: Image, low: float, high: float) -> str:
    factor = max(1, _SIDE // max(image.shape))
    return data_uri(np.kron(to_bytes(image, low, high), np.ones((factor, factor), np.uint8)))


def best_mode(names: Sequence[str]) -> str | None:
    """Return our mode that is judged by the worst cases: `full` where it ran, None where neither did."""
    return next((name for name in reversed(OURS) if name in names), None)
