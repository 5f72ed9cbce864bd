"""Archives in an object store: a server that speaks S3, through fsspec, by processes and by Ray. In `make test-s3`, which installs s3fs and moto."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import fsspec
import httpx
import pytest

from onenex.batch import Ledger, local
from onenex.batch.job import Job
from tests.cluster.machines import archive, machines
from tests.dicom.orthanc import free_ports

for package in ("ray", "s3fs", "moto", "flask"):
    pytest.importorskip(package, reason=f"{package} is not installed: make test-s3")


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """An S3 server on this machine with a bucket `hospital`, and the environment in which S3 means it."""
    (port,) = free_ports(1)
    address = f"http://127.0.0.1:{port}"
    known = {"AWS_ENDPOINT_URL": address, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in known.items():
        monkeypatch.setenv(name, value)
    with (tmp_path / "moto.log").open("w") as log:
        server = subprocess.Popen([sys.executable, "-m", "moto.server", "-p", str(port)], stdout=log, stderr=log)
    try:
        _until_up(address)
        fsspec.filesystem("s3", skip_instance_cache=True).mkdir("hospital")
        yield
    finally:
        server.kill()
        server.wait()


def _until_up(address: str) -> None:
    end = time.monotonic() + 30
    while True:
        try:
            httpx.get(address)
            return
        except httpx.TransportError:
            assert time.monotonic() < end, "the S3 server does not answer"
            time.sleep(0.1)


def test_an_archive_in_s3_becomes_one_in_s3(store: None, tmp_path: Path) -> None:
    source = archive(tmp_path / "source", n_series=6, n_slices=2, size=32)
    local.run(Job(source=str(source), destination=str(tmp_path / "one"), device="cpu"), workers=0)
    wanted = sorted(row.digest for row in Ledger(str(tmp_path / "one")).rows())
    fsspec.filesystem("s3", skip_instance_cache=True).put(str(source), "hospital/scans", recursive=True)

    begun = local.run(Job(source="s3://hospital/scans", destination="s3://hospital/out", device="cpu", limit=2))
    assert begun.units == {"denoised": 2}
    with machines(2) as cluster:  # goes on with Ray where processes ended
        driver = subprocess.run(
            [sys.executable, "-m", "onenex.cli", "batch", "s3://hospital/scans", "-o", "s3://hospital/out", "--ray", cluster.address, "--json"],
            env=cluster.environment, capture_output=True, text=True, timeout=300, check=True,
        )  # fmt: skip
    assert json.loads(driver.stdout)["units"] == {"denoised": 4, "skipped": 0, "failed": 0}
    ledger = Ledger("s3://hospital/out")
    assert sorted(row.digest for row in ledger.rows()) == wanted
    assert len(list(ledger.parts())) == 6
    assert local.run(Job(source="s3://hospital/scans", destination="s3://hospital/out", device="cpu")).units.total() == 0
