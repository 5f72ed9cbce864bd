"""What restores images here: nothing at all, OneNEX in both modes, and the rivals, behind one Protocol."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np

from onenex import model as models
from onenex.errors import DataError
from onenex.evaluate.cohort.samples import Sample
from onenex.evaluate.measures.record import Image
from onenex.evaluate.peers import Peer, all_peers, spelt
from onenex.scans import ScanInfo
from onenex.series import FloatImages, GuardNote

INPUT, FAST, FULL = "input", "OneNEX fast", "OneNEX full"
OURS = (FAST, FULL)


_OURS = ("model", "nets", "text")
"""Code of our networks."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """An image that a method returned."""

    image: Image
    """(row, column), finite, the unit of what was measured."""
    n_not_finite: int = 0
    """Pixels that were NaN or infinite and count as unchanged."""
    guard: GuardNote | None = None
    """What our guard found and did; None for methods without one."""


class Method(Protocol):
    """A method, ready to restore."""

    @property
    def name(self) -> str:
        """As in the tables."""

    @property
    def key(self) -> str:
        """What its results depend on besides the image and its code: weights, settings, the version of its library."""

    @property
    def code(self) -> tuple[str, ...]:
        """Its code: files and folders of the package."""

    def __call__(self, sample: Sample, info: ScanInfo, sigma: Callable[[], FloatImages]) -> Result:
        """Restore one image.

        Parameters
        ----------
        sample, info
            The image, and what may be known of its scan. The reference is not to be looked at.
        sigma
            Returns OneNEX's own estimate of the noise, (1, row, column), the unit of the image.
        """


@dataclass(frozen=True, kw_only=True)
class Untouched:
    """The input as it is."""

    name: str = INPUT
    key: str = ""
    code: tuple[str, ...] = ()

    def __call__(self, sample: Sample, info: ScanInfo, sigma: Callable[[], FloatImages]) -> Result:
        """Return the measured image."""
        return Result(image=sample.measured)


@dataclass(frozen=True, kw_only=True)
class OneNex:
    """One of our modes as the product runs it, guard and all."""

    name: str
    model: models.Model
    settings: models.Settings
    code: tuple[str, ...] = _OURS

    @property
    def key(self) -> str:
        """Weights, settings and device."""
        return f"{self.model.weights_hash} {self.settings} {self.model.device}"

    def __call__(self, sample: Sample, info: ScanInfo, sigma: Callable[[], FloatImages]) -> Result:
        """Restore as `Method` says."""
        found = self.model.denoise(sample.measured[None], info.acquisition, mode=self.settings, scale=sample.scale)
        return Result(image=found.images[0], guard=None if found.guard is None else found.guard[0])


@dataclass(frozen=True, kw_only=True)
class Rival:
    """A peer."""

    peer: Peer

    @property
    def name(self) -> str:
        """The peer's."""
        return self.peer.name

    @cached_property
    def key(self) -> str:
        """Its settings and the version of its package."""
        from importlib.metadata import packages_distributions, version

        owners = packages_distributions().get(self.peer.package.partition(".")[0], [])
        return f"{self.peer} {' '.join(sorted(f'{owner} {version(owner)}' for owner in owners))}"

    @property
    def code(self) -> tuple[str, ...]:
        """Its own module, and what the noise that it's told comes from; of a learnt rival its networks as well."""
        own = f"{type(self.peer).__module__.removeprefix('onenex.').replace('.', '/')}.py"
        learnt = ("rivals", "evaluate/peers/learnt.py") if self.peer.package == "torch" else ()
        return (*_OURS, own, "evaluate/peers/whiten.py", *learnt)

    def __call__(self, sample: Sample, info: ScanInfo, sigma: Callable[[], FloatImages]) -> Result:
        """Restore as `Method` says."""
        restored = np.asarray(self.peer(sample.measured[None], sigma())[0], np.float32)
        bad = ~np.isfinite(restored)
        return Result(image=np.where(bad, sample.measured, restored), n_not_finite=int(bad.sum()))


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which methods, by name; resolved anew in every worker process, for networks don't travel."""

    names: tuple[str, ...] | None = None
    """In the order of the tables; None = all that can run here."""
    weights: Path | None = None
    device: str = "cpu"

    def model(self) -> models.Model:
        """Load our weights."""
        return models.load(self.device, self.weights)

    def methods(self, model: models.Model) -> list[Method]:
        """Return the methods, the input and ours first.

        Raises
        ------
        DataError
            A name that no method has, a mode that the weights don't know, or a method's package is missing.
        """
        if "full" not in model.modes and spelt(FULL) in map(spelt, self.names or ()):
            raise DataError(f"these weights know mode 'fast' only: leave {spelt(FULL)} out, or give other weights")
        modes = [FAST] + [FULL] * ("full" in model.modes)
        ours: list[Method] = [OneNex(name=name, model=model, settings=models.Settings(mode="full" if name == FULL else "fast")) for name in modes]
        wanted = None if self.names is None else {spelt(name) for name in self.names} - {spelt(one.name) for one in (Untouched(), *ours)}
        peers = [] if wanted is not None and not wanted else all_peers(1, asked=sorted(wanted or ()))
        known = {spelt(peer.name): peer for peer in peers}
        unknown = sorted((wanted or set()) - set(known))
        if unknown:
            names = ", ".join(spelt(one) for one in (*OURS, *(peer.name for peer in peers)))
            raise DataError(f"no method is called {', '.join(unknown)}: choose from {names}")
        rivals: list[Method] = [Rival(peer=peer) for name, peer in known.items() if wanted is None or name in wanted]
        asked = None if self.names is None else {spelt(name) for name in self.names}
        kept = [one for one in ours if asked is None or spelt(one.name) in asked]
        return [Untouched(), *kept, *rivals]
