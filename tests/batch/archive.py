"""A small archive of every kind of file, and what a batch makes of it with the fake model."""

from pathlib import Path

import pytest

from onenex.batch import local
from onenex.batch.job import Job, Outcome, weights_hash
from tests.fake_model import FakeModel
from tests.test_pipeline import write_dicom, write_nifti

SHAPE = (2, 24, 24)


class Fake(FakeModel):
    """Says that it's the bundled weights, as a run compares their hash with the file's."""

    weights_hash = weights_hash(None)


def write_archive(folder: Path, n_series: int = 3) -> Path:
    """`n_series` series, the first one spread over two folders; a NIfTI file; a damaged file; an archive; a text."""
    for number in range(1, n_series + 1):
        write_dicom(folder / f"series{number}", number, shape=SHAPE)
    moved = sorted((folder / "series1").iterdir())[0]
    (folder / "elsewhere").mkdir()
    moved.rename(folder / "elsewhere" / moved.name)
    write_nifti(folder / "volume.nii.gz")
    (folder / "damaged.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\1" * 40)
    (folder / "inner.zip").write_bytes(b"PK\x03\x04 and so on")
    (folder / "readme.txt").write_text("no scan")
    return folder


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    """The model of every run in this process."""
    model = Fake()
    monkeypatch.setattr(local, "_model", lambda _device, _weights, _engine: model)
    return model


def run(source: Path | str, destination: Path | str, **settings: object) -> Outcome:
    return local.run(Job(source=str(source), destination=str(destination), **settings), workers=0)  # type: ignore[arg-type]


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
