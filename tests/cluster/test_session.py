"""How many actors there are, what they get, and what a user is told who has no cluster."""

import sys
from pathlib import Path

import pytest

from onenex import cluster
from onenex.batch import Kind, Row, Unit
from onenex.batch.job import Job
from onenex.cluster import Workers
from onenex.cluster.actors import row_of, text_of, unit_of
from onenex.cluster.session import session
from onenex.errors import DataError


@pytest.mark.parametrize(
    ("workers", "resources", "fitting"),
    [
        (Workers(), {"CPU": 16.0}, 16),
        (Workers(most=3), {"CPU": 16.0}, 3),
        (Workers(cpus=4), {"CPU": 15.0}, 3),
        (Workers(gpus=1), {"CPU": 64.0, "GPU": 8.0}, 8),
        (Workers(gpus=0.5), {"CPU": 64.0, "GPU": 8.0}, 16),
        (Workers(), {}, 1),  # an autoscaler has started nothing yet
    ],
)
def test_fitting(workers: Workers, resources: dict[str, float], fitting: int) -> None:
    assert workers.fitting(resources) == fitting


@pytest.mark.parametrize(
    ("device", "resources", "chosen"),
    [("auto", {"GPU": 2.0}, "cuda"), ("auto", {"CPU": 2.0}, "cpu"), ("cpu", {"GPU": 2.0}, "cpu"), ("cuda", {"CPU": 2.0}, "cuda")],
)
def test_the_device_decides_on_gpus(device: str, resources: dict[str, float], chosen: str) -> None:
    assert Workers().for_device(device, resources).device == chosen


def test_senseless_workers_are_refused() -> None:
    for wrong in ({"most": 0}, {"cpus": 0}, {"gpus": -1}):
        with pytest.raises(DataError, match="give"):
            Workers(**wrong)
    with pytest.raises(DataError, match="give one of them"):
        Workers(gpus=1).for_device("cpu", {"GPU": 1.0})


def test_without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(DataError, match=r"pip install 'onenex\[cluster\]'"), session("local", Workers()):
        pass


def test_what_no_other_machine_sees_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="every machine reaches"):
        cluster.run(Job(source=str(tmp_path), destination="memory://out"))


def test_units_and_rows_travel() -> None:
    unit = Unit(id="0f", kind=Kind.DICOM, source="/a", series="1", fingerprint="2", files=("/a/ü \ud800", "s3://b/c"), n_bytes=3)
    assert unit_of(text_of(unit)) == unit
    row = '{"unit": "0f", "source": "/a", "series": "1", "fingerprint": "2", "status": "failed", "started": "2026-01-01T00:00:00+00:00", '
    assert isinstance(row_of(row + '"ended": "2026-01-01T00:00:01+00:00", "later": 1}'), Row)
