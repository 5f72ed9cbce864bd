"""The scan-time ledger on the report's page."""

from __future__ import annotations

from pathlib import Path

from onenex.evaluate.reporting.page import Section


def scan_time_section(folder: Path) -> Section:
    """Return what the protocols of a folder of DICOM files cost in minutes, and what a fast one saves."""
    raise NotImplementedError(folder)
