"""`onenex doctor`: is this installation fit to work? Versions, codecs, weights, device, and a timed slice."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

from onenex import __version__
from onenex.errors import OneNexError

if TYPE_CHECKING:
    from onenex.model import Model

CODECS = ("python-gdcm", "pylibjpeg", "pylibjpeg-openjpeg", "pylibjpeg-rle", "pyjpegls")
PACKAGES = ("torch", "numpy", "scipy", "pydicom", *CODECS, "nibabel", "matplotlib")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing looked at."""

    name: str
    value: str
    well: bool
    advice: str = ""
    """What to do when it isn't well."""


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """Everything that was looked at."""

    findings: tuple[Finding, ...]

    @property
    def healthy(self) -> bool:
        """Whether everything is well."""
        return all(finding.well for finding in self.findings)

    def text(self) -> str:
        """Return the findings for people, one a line."""
        width = max(len(finding.name) for finding in self.findings)
        lines = []
        for finding in self.findings:
            mark = "ok " if finding.well else "BAD"
            lines.append(f"{mark} {finding.name:{width}}  {finding.value}" + ("" if finding.well or not finding.advice else f": {finding.advice}"))
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """Return plain values for `json.dumps`."""
        return {"healthy": self.healthy, "findings": [vars(finding) for finding in self.findings]}


def examine(device: str = "auto") -> Diagnosis:
    """Look at everything that a run needs; what is missing becomes a finding, not an error."""
    findings = [Finding(name="onenex", value=__version__, well=True), Finding(name="python", value=platform.python_version(), well=True)]
    findings += [_package(name) for name in PACKAGES]
    findings += _codecs()
    findings += _model(device)
    return Diagnosis(findings=tuple(findings))


def _package(name: str) -> Finding:
    try:
        return Finding(name=name, value=metadata.version(name), well=True)
    except metadata.PackageNotFoundError:
        return Finding(name=name, value="missing", well=False, advice=f"pip install {name}")


def _codecs() -> list[Finding]:
    from onenex.dicom.codecs import decoders

    return [
        Finding(name=name, value=", ".join(plugins) or "no decoder", well=bool(plugins), advice="install onenex with all of its dependencies")
        for name, plugins in decoders().items()
    ]


def _model(device: str) -> list[Finding]:
    """Load the model, which checks the weights, and time one slice."""
    try:
        from onenex.model import load

        model = load(device=device)
        seconds = _time_slice(model)
    except (OneNexError, OSError, ImportError) as error:
        return [Finding(name="model", value=type(error).__name__, well=False, advice=str(error))]
    import torch

    return [
        Finding(name="weights", value=f"SHA-256 {model.weights_hash}…", well=True),
        Finding(name="device", value=f"{model.device} ({torch.get_num_threads()} CPU threads)", well=True),
        Finding(name="256 × 256 slice", value=f"{1000 * seconds:.0f} ms", well=True),
    ]


def _time_slice(model: Model, clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the seconds that one 256 × 256 slice takes, the best of three after one to warm up."""
    from onenex.physics.noise import rician
    from onenex.physics.phantom import head_phantom
    from onenex.series import Acquisition

    images = rician(head_phantom((1, 256, 256), supersampling=1), 20.0, np.random.default_rng(0))
    times = []
    for _ in range(4):
        started = clock()
        model.denoise(images, Acquisition())
        times.append(clock() - started)
    return min(times[1:])
