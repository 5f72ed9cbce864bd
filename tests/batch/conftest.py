from pathlib import Path

import pytest

from tests.batch.archive import fake, write_archive

__all__ = ["fake"]


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nobody writes to it."""
    return write_archive(tmp_path_factory.mktemp("archive") / "scans")
