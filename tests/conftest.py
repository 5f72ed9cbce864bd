"""Shared fixtures: where the real scans are, and a loud skip when they are not."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
BESIDE_PYTHON = Path(sys.prefix) / "bin"
os.environ["PATH"] = os.pathsep.join(one for one in os.environ.get("PATH", "").split(os.pathsep) if Path(one) != BESIDE_PYTHON)
"""An active environment hides dcmtk: pynetdicom brings a `storescu` and a `storescp` of its own, which take other options."""


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of the real scans (../shared/data, or ONENEX_DATA); the test is skipped without it."""
    folder = Path(os.environ.get("ONENEX_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (folder / "manifest.csv").is_file():
        pytest.skip(f"real scans not found at {folder}: set ONENEX_DATA")
    return folder


@pytest.fixture
def debian_program(request: pytest.FixtureRequest) -> str:
    """Path of a program from a Debian package, given as `(program, package)` by indirect parametrisation."""
    program, package = request.param
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} not found: apt-get install {package}")
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium without a window, driven by Playwright."""
    chromium = Path("/usr/bin/chromium")
    if not chromium.is_file():
        pytest.skip("chromium not found: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as api:
        running = api.chromium.launch(executable_path=str(chromium), args=["--no-sandbox", "--disable-gpu"])
        yield running
        running.close()
