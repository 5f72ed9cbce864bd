"""What every unit of a destination has in common: options, weights and version. A run that differs in them is refused."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import Any

from onenex import __version__
from onenex.batch import storage
from onenex.errors import DataError
from onenex.options import Options

FILE = "batch.json"


def options_hash(options: Options) -> str:
    """Return 12 hex digits of everything but the weights that decides what the results are."""
    said = json.dumps(asdict(options) | {"version": __version__}, sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()[:12]


def settle(destination: str, options: Options, weights: str, *, overwrite: bool = False) -> None:
    """Write down what the results of a destination are made with, or make sure that it's the same.

    Raises
    ------
    DataError
        Results made with something else are there, and `overwrite` is not set; or the destination cannot be written to.
    """
    url = storage.join(destination, FILE)
    wanted: dict[str, Any] = {"version": __version__, "weights": weights, "options": asdict(options), "options_hash": options_hash(options)}
    found = settled(destination)
    if found == json.loads(json.dumps(wanted)):
        return
    if found is not None and not overwrite:
        raise DataError(
            f"{destination} holds results made otherwise ({_difference(found, wanted)}): choose another destination, "
            "give the settings of the first run, or allow overwriting them"
        )
    storage.write_bytes(url, json.dumps(wanted, indent=2).encode())


def settled(destination: str) -> dict[str, Any] | None:
    """Return what `settle` wrote; None when no run was here.

    Raises
    ------
    DataError
        The file is damaged.
    """
    content = storage.read_bytes(storage.join(destination, FILE))
    if content is None:
        return None
    try:
        found: dict[str, Any] = dict(json.loads(content))
    except (ValueError, TypeError) as error:
        raise DataError(f"{storage.join(destination, FILE)} cannot be read ({error}): restore it, or choose another destination") from error
    return found


def _difference(found: dict[str, Any], wanted: dict[str, Any]) -> str:
    """Say what differs: the names and both values."""
    before, now = (_flat(one) for one in (found, wanted))
    return ", ".join(f"{name} {before.get(name)} instead of {now.get(name)}" for name in sorted(before | now) if before.get(name) != now.get(name))


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    options = settings.get("options")
    rest = {name: value for name, value in settings.items() if name not in ("options", "options_hash")}
    return rest | (options if isinstance(options, dict) else {})
