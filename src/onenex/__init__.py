"""OneNEX: fast, noisy MRI scans in, reference-quality images out.

    import onenex

    report = onenex.denoise_path("scan/", "out/")

    model = onenex.load()
    result = model.denoise(images, onenex.Acquisition(organ="head", vendor="Philips", sequence="DWI"))

For research use: not a medical device.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onenex.errors import DataError, DicomError, ModelError, OneNexError
    from onenex.inputs import read_series
    from onenex.model import Model, load
    from onenex.options import Options
    from onenex.pipeline import denoise_path
    from onenex.results import RunReport, SeriesResult
    from onenex.series import Acquisition, Denoised, Series, SliceStack

__version__ = "0.1.0"

_HOMES = {
    "Acquisition": "onenex.series",
    "DataError": "onenex.errors",
    "Denoised": "onenex.series",
    "DicomError": "onenex.errors",
    "Model": "onenex.model",
    "ModelError": "onenex.errors",
    "OneNexError": "onenex.errors",
    "Options": "onenex.options",
    "RunReport": "onenex.results",
    "Series": "onenex.series",
    "SeriesResult": "onenex.results",
    "SliceStack": "onenex.series",
    "denoise_path": "onenex.pipeline",
    "load": "onenex.model",
    "read_series": "onenex.inputs",
}

__all__ = [
    "Acquisition",
    "DataError",
    "Denoised",
    "DicomError",
    "Model",
    "ModelError",
    "OneNexError",
    "Options",
    "RunReport",
    "Series",
    "SeriesResult",
    "SliceStack",
    "denoise_path",
    "load",
    "read_series",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import onenex` and `onenex --help` stay quick."""
    if name not in _HOMES:
        raise AttributeError(f"module 'onenex' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
