"""Protocols for tests."""

from typing import Any

from onenex.reader.protocol import Protocol

ARMS = ("fast", "denoised", "reference")
Tables = dict[str, Any]


def case(number: int, arms: tuple[str, ...] = ARMS, **more: Any) -> Tables:
    """A case of a patient of its own."""
    return {"name": f"case{number}", "patient": f"P{number}", **{arm: f"/{number}/{arm}" for arm in arms}, **more}


def tables(n_cases: int = 6, arms: tuple[str, ...] = ARMS, **more: Any) -> Tables:
    """A whole `study.toml` as tomllib reads it: ratings, a preference and a task."""
    return {
        "title": "Knee",
        "seed": 7,
        "readers": ["reader1", "reader2"],
        "arms": list(arms),
        "readings": [
            {"name": "quality", "kind": "rating", "items": ["overall_quality", "motion", "comment"]},
            {"name": "side", "kind": "preference", "pairs": [["denoised", "reference"]], "items": ["preference"]},
            {"name": "discs", "kind": "task", "arms": ["denoised", "reference"], "items": ["pfirrmann", "acl_tear"]},
        ],
        "items": [{"name": "motion", "question": "Motion?", "labels": ["none", "some", "severe"], "higher_is_better": False}],
        "cases": [case(number, arms) for number in range(n_cases)],
        "analysis": {"test": "denoised", "control": "reference", "primary": "quality.overall_quality", "margin": 0.5},
    } | more


def study(*args: Any, **more: Any) -> Protocol:
    """The same, checked."""
    return Protocol.model_validate(tables(*args, **more))
