"""Tables of measurements as `onenex evaluate` makes them, with planted values."""

from dataclasses import fields

import pandas as pd

from onenex.evaluate.cohort.methods import FAST, INPUT
from onenex.evaluate.measures.record import Measures

METHODS = (INPUT, FAST, "TV")


def rows(
    mse: dict[str, float], *, file: str = "a", organ: str = "head", condition: str = "repeats", n: int = 2, **more: object
) -> list[dict[str, object]]:
    """Return `n` images of a scan by each method, with the squared errors given."""
    found = []
    for method, value in mse.items():
        for k in range(n):
            measures = {f"{region}_{one.name}": 0.5 for region in ("foreground", "whole") for one in fields(Measures)}
            measures |= {"foreground_mse": value, "whole_mse": value, "foreground_n_pixels": 100, "whole_n_pixels": 100}
            about = {"file": file, "patient": file, "kind": "repeats", "condition": condition, "organ": organ, "vendor": "GE", "sequence": "T1w"}
            told = {"acceleration": 2.0, "sigma": None, "simulated": False, "unseen": True, "method": method, "input": 0, "slice": k, "seconds": 0.1}
            guard = {"guard_passed": True if method == FAST else None, "guard_kept": 1.0 if method == FAST else None}
            found.append(about | told | guard | measures | more)
    return found


def frame(*parts: list[dict[str, object]]) -> pd.DataFrame:
    return pd.DataFrame([row for part in parts for row in part])
