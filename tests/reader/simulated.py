"""A simulated study for the tests of analysis and report: known effects, places, repeats, preferences and truth."""

from __future__ import annotations

import numpy as np

from onenex.reader.analysis import AnalysisPlan
from onenex.reader.items import BUILT_IN
from onenex.reader.records import Item, Kind, Response

ARMS = ("fast", "denoised", "reference")
READERS = ("reader1", "reader2")
EFFECT = {"fast": -1.0, "denoised": 0.3, "reference": 0.3}
ITEMS = ("overall_quality", "snr", "pfirrmann", "meniscus_tear", "preference")


def plan(**changes: object) -> AnalysisPlan:
    settings: dict[str, object] = {
        "title": "Knee, one average",
        "readers": READERS,
        "arms": ARMS,
        "items": {name: BUILT_IN[name] for name in ITEMS},
        "test": "denoised",
        "control": "reference",
        "comparator": "fast",
        "primary": "quality.overall_quality",
        "margin": 0.5,
        "equivalence_margin": 0.5,
        "bootstrap": 300,
    }
    return AnalysisPlan(**(settings | changes))  # type: ignore[arg-type]


def study(seed: int = 1, n_patients: int = 24, n_cases: int = 2, bias: float = 0.4, repeats: float = 0.3) -> list[Response]:
    """Return the answers of two readers, the second `bias` latent units milder."""
    generator = np.random.default_rng(seed)
    found: list[Response] = []
    for reader_number, reader in enumerate(READERS):
        positions = {1: 0, 2: 0}
        for patient in range(n_patients):
            for case in range(n_cases):
                own = np.random.default_rng((seed, patient, case))
                latent, torn, disc = own.normal(0, 0.8), int(own.random() < 0.5), int(own.integers(1, 6))
                for number, arm in enumerate(ARMS):
                    for repeat in range(1 + int(generator.random() < repeats)):
                        session = 1 + (number + repeat) % 2
                        positions[session] += 1
                        shown = {
                            "reader": reader, "session": session, "position": positions[session], "case": f"case{patient:02d}{case}",
                            "patient": f"P{patient:02d}", "repeat": repeat, "seconds": float(20 + 10 * (arm == "fast") + generator.exponential(5)),
                        }  # fmt: skip
                        quality = latent + EFFECT[arm] + bias * reader_number
                        found += _rated(shown, arm, quality, generator) + _diagnosed(shown, arm, (torn, disc), generator)
                found.append(_compared(reader, patient, case, generator))
    return found


def _rated(shown: dict[str, object], arm: str, quality: float, generator: np.random.Generator) -> list[Response]:
    values = {name: 1 + int(np.searchsorted((-1.0, 0.0, 1.0), quality + generator.normal(0, 0.5))) for name in ("overall_quality", "snr")}
    return [
        Response(**shown, reading="quality", kind=Kind.RATING, arms=(arm,), item=name, where="", value=value)  # type: ignore[arg-type]
        for name, value in values.items()
    ]


def _diagnosed(shown: dict[str, object], arm: str, truth: tuple[int, int], generator: np.random.Generator) -> list[Response]:
    torn, disc = truth
    spread = 1.6 if arm == "fast" else 0.9
    sure = int(np.clip(np.round(1.8 + 2.4 * torn + generator.normal(0, spread)), 1, 5))
    grades = {place: int(np.clip(disc + generator.integers(-1, 2), 1, 5)) for place in BUILT_IN["pfirrmann"].where[:2]}
    told = {**shown, "reading": "task", "kind": Kind.TASK, "arms": (arm,)}
    return [
        Response(**told, item="meniscus_tear", where="medial", value=sure, truth=torn),  # type: ignore[arg-type]
        *(Response(**told, item="pfirrmann", where=place, value=grade, truth=disc) for place, grade in grades.items()),  # type: ignore[arg-type]
    ]


def _compared(reader: str, patient: int, case: int, generator: np.random.Generator) -> Response:
    """Denoised is liked better than fast, whichever side it's on."""
    swapped = bool(generator.random() < 0.5)
    liked = int(np.clip(np.round(1.0 + generator.normal(0, 0.9)), -2, 2))
    return Response(
        reader=reader, reading="side_by_side", kind=Kind.PREFERENCE, session=1, position=1000 + 10 * patient + case,
        case=f"case{patient:02d}{case}", patient=f"P{patient:02d}", arms=("denoised", "fast") if swapped else ("fast", "denoised"),
        repeat=0, item="preference", where="", value=-liked if swapped else liked, seconds=12.0,
    )  # fmt: skip


def item(name: str) -> Item:
    return BUILT_IN[name]
