"""`onenex benchmark pictures`: what the model does to scans of the test split, to be looked at; one PNG an organ, one of f_φ, one of g_θ."""

from __future__ import annotations

from pathlib import Path

import torch

from onenex.errors import DataError, OutOfDomain
from onenex.evaluate.pictures_canvas import Picture
from onenex.evaluate.pictures_organ import organ_pictures
from onenex.evaluate.pictures_prior import prior_picture
from onenex.evaluate.pictures_scanner import scanner_picture
from onenex.evaluate.table import console
from onenex.model import Model
from onenex.model.weights import load_weights
from onenex.scans import ScanInfo, read_manifest

SPLIT = "test"


def run(data: Path, output: Path, quick: bool = False, *, weights: Path | None = None, threads: int | None = None) -> list[Picture]:
    """Draw every picture into `output` (made when missing, files replaced), and print what each shows.

    Parameters
    ----------
    data
        Folder with the manifest and the files of split `test`.
    quick
        The first organ only: a try-out.
    weights
        File with all networks; the bundled one by default.
    threads
        CPU threads; all cores by default.

    Raises
    ------
    DataError
        No file to show.
    OutOfDomain
        The weights know mode `fast` only.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    known = load_weights(weights)
    if known.degradation is None or known.prior is None or known.phrases is None:
        name = "the bundled weights" if weights is None else str(weights)
        raise OutOfDomain(f"{name} know mode 'fast' only (no prior and no degradation in the file): give --weights a file that holds all networks")
    infos = read_manifest(data)
    trained = {info.id for info in infos if info.split == "train"}
    tests = [info for info in infos if info.split == SPLIT]
    if not tests:
        raise DataError(f"{data}: the manifest lists no file of split '{SPLIT}'")
    model, screen = Model(known, torch.device("cpu")), console()
    screen.print(f"weights {known.hash}")
    found: list[Picture] = []

    def done(picture: Picture | None) -> None:
        if picture is not None:
            found.append(picture)
            screen.print(f"{picture.path.name}: {picture.caption}", soft_wrap=True)

    organs = _by_organ(tests)
    for those in organs[:1] if quick else organs:
        for picture in organ_pictures(model, those, trained, output):
            done(picture)
    done(scanner_picture((known.noise_level, known.degradation, known.phrases), tests, output))
    done(prior_picture((known.noise_level, known.prior, known.phrases), tests, output))
    return found


def _by_organ(infos: list[ScanInfo]) -> list[list[ScanInfo]]:
    """Part files by organ, in the order in which organs first appear."""
    parted: dict[str, list[ScanInfo]] = {}
    for info in infos:
        parted.setdefault(info.organ, []).append(info)
    return list(parted.values())
