"""Real series for the tests: a few patients' scans in two or three arms as DICOM, and the protocol that names them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onenex.reader.records import Scale
from onenex.reader.store import Store
from tests.dicom.make import make_series, phantom

ARMS = ("rapidarm", "cleanedarm", "longarm")
SHAPE = (4, 32, 24)
PASSPHRASE = "seven green horses fly"
EVERY_WAY = """
title = "Knees"
seed = 7
readers = ["anna", "bela"]
arms = ["rapidarm", "cleanedarm", "longarm"]
sessions = 2
wash_out_days = 14
repeats = 0.2
[[readings]]
name = "quality"
kind = "rating"
items = ["overall_quality", "comment"]
instructions = "Look at all slices."
[[readings]]
name = "sides"
kind = "preference"
pairs = [["cleanedarm", "longarm"]]
items = ["preference"]
[[readings]]
name = "discs"
kind = "task"
items = ["pfirrmann"]
arms = ["cleanedarm", "longarm"]
[analysis]
test = "cleanedarm"
control = "longarm"
primary = "quality.overall_quality"
margin = 1.0
bootstrap = 200
"""


def volume(seed: int, gain: float = 1.0) -> NDArray[np.uint16]:
    return (gain * phantom(*SHAPE, seed=seed)).astype(np.uint16)


def arms_of(folder: Path, seed: int, **attrs: object) -> dict[str, Path]:
    """Write one patient's series, one folder an arm: same anatomy, other noise."""
    for index, arm in enumerate(ARMS):
        make_series(folder / arm, *SHAPE, stored=volume(10 * seed + index), SeriesDescription=f"SECRET {arm}", **attrs)
    return {arm: folder / arm for arm in ARMS}


def write_protocol(folder: Path, n_cases: int = 3, text: str = EVERY_WAY) -> Path:
    """Write series of so many cases, the last for training, and `study.toml`."""
    tables = [text]
    for number in range(n_cases):
        arms_of(folder / "dicom" / f"patient{number}", number, PatientID=f"IDENT{number}", PatientName=f"Meier^Nr{number}")
        tables.append(f'[[cases]]\nname = "kniefall{number}"\npatient = "Pseudonym{number}"\ntraining = {str(number == n_cases - 1).lower()}')
        tables += [f'{arm} = "dicom/patient{number}/{arm}"' for arm in ARMS]
        tables.append(f'truth = {{ "pfirrmann@L1/L2" = {1 + number % 3} }}')
    path = folder / "study.toml"
    path.write_text("\n".join(tables), encoding="utf-8")
    return path


class Clock:
    """Wall time that a test moves."""

    def __init__(self, now: float = 2e9) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def read_one(store: Store, reader: str, key: str, step: int = 1) -> None:
    """Answer everything that is asked, so many steps up the scale (and round again)."""
    shown = store.shown(key)
    assert shown is not None
    store.seconds(reader, key, 0.0, "opened")
    for item in shown.reading.items:
        for where in item.where:
            if item.scale is Scale.TEXT:
                store.save(reader, key, item.name, where, None, "fine", 0)
            else:
                store.save(reader, key, item.name, where, item.values[step % len(item.values)], "", 0)
    store.finish(reader, key)


def read_all(store: Store, clock: Clock, steps: Mapping[str, int] | None = None) -> None:
    """Let every reader read everything that is left, session after session, with the wash-out between them; `steps` by key."""
    readers = sorted({one.reader for one in store.progress()})
    for session in (1, 2):
        for reader in readers:
            for queued in store.queue(reader, session):
                if not queued.done:
                    read_one(store, reader, queued.key, (steps or {}).get(queued.key, 1))
        clock.now += 15 * 86_400
