"""A protocol as plain tables, to be sealed with the plan, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from pydantic import ValidationError

from onenex.errors import StudyError
from onenex.reader.protocol import Protocol


def tables_of(protocol: Protocol) -> dict[str, Any]:
    """Return the tables that `study.toml` would hold, cases included, as JSON can hold them."""
    tables = protocol.model_dump(mode="json", exclude={"items", "cases", "cases_file"}, exclude_none=True)
    items = [asdict(item) for item in protocol.items]
    for item in items:
        item["where"] = [place for place in item["where"] if place]
    cases = [
        {"name": case.name, "patient": case.patient, "training": case.is_training, "truth": dict(case.truth), **case.series}
        for case in protocol.cases
    ]
    return {**tables, "items": items, "cases": cases}


def protocol_of(tables: Mapping[str, Any]) -> Protocol:
    """Return the protocol of such tables.

    Raises
    ------
    StudyError
        They are those of another version of OneNEX.
    """
    try:
        return Protocol.model_validate(dict(tables))
    except ValidationError as error:
        raise StudyError(
            f"the sealed protocol is not one of this version of OneNEX ({error.error_count()} differences): use the one it was made with"
        ) from error
