"""`onenex benchmark pictures`: what the model does to scans of the test split, to be looked at; one PNG an organ, one of f_φ, one of g_θ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from onenex.errors import DataError, OutOfDomain
from onenex.evaluate.denoisers.table import console
from onenex.evaluate.pictures.canvas import Picture
from onenex.evaluate.pictures.organ import organ_pictures
from onenex.evaluate.pictures.prior import prior_picture
from onenex.evaluate.pictures.scanner import scanner_picture
from onenex.model import Model
from onenex.model.degradation import Degradation
from onenex.model.prior import Prior
from onenex.model.weights import Weights, load_weights
from onenex.scans import ScanInfo, read_manifest
from onenex.text.tokens import PhraseTable

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
    _of_mode_full(known, "the bundled weights" if weights is None else str(weights))
    infos = read_manifest(data)
    if not any(info.split == SPLIT for info in infos):
        raise DataError(f"{data}: the manifest lists no file of split '{SPLIT}'")
    screen = console()
    screen.print(f"weights {known.hash}")
    found = []
    for picture in _draw(known, infos, output, quick):
        found.append(picture)
        screen.print(f"{picture.path.name}: {picture.caption}", soft_wrap=True)
    return found


def _draw(weights: Weights, infos: Sequence[ScanInfo], output: Path, quick: bool) -> Iterator[Picture]:
    """Draw one picture after the other."""
    model = Model(weights, torch.device("cpu"))
    degradation, prior, phrases = _of_mode_full(weights, "these weights")
    trained = {info.id for info in infos if info.split == "train"}
    tests = [info for info in infos if info.split == SPLIT]
    organs = list(dict.fromkeys(info.organ for info in tests))  # in the order in which they first appear
    for organ in organs[:1] if quick else organs:
        yield from organ_pictures(model, [info for info in tests if info.organ == organ], trained, output)
    of_networks = (
        scanner_picture((weights.noise_level, degradation, phrases), tests, output),
        prior_picture((weights.noise_level, prior, phrases), tests, output),
    )
    yield from (picture for picture in of_networks if picture is not None)


def _of_mode_full(weights: Weights, name: str) -> tuple[Degradation, Prior, PhraseTable]:
    """Return what mode `full` needs besides the networks of mode `fast`."""
    if weights.degradation is None or weights.prior is None or weights.phrases is None:
        raise OutOfDomain(f"{name} know mode 'fast' only (no prior and no degradation in the file): give --weights a file that holds all networks")
    return weights.degradation, weights.prior, weights.phrases
