"""The same archive on a cluster as on one process, while nodes and the driver are killed.

The test without kills always runs. At length (`make test-cluster`, ONENEX_CLUSTER=1): kills, and 2,000 slices on two and four nodes.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from onenex.batch import Ledger, local
from onenex.batch.job import Job
from tests.cluster.machines import Machines, archive, content, ends_well, ledger_of, machines, n_published, wait_for

pytest.importorskip("ray", reason="ray is not installed: pip install 'onenex[cluster]'")
AT_LENGTH = pytest.mark.skipif("ONENEX_CLUSTER" not in os.environ, reason="some 25 minutes: make test-cluster")


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Source and the result of one process."""
    folder = tmp_path_factory.mktemp("short")
    source = archive(folder / "source", n_series=8, n_slices=2, size=32)
    local.run(Job(source=str(source), destination=str(folder / "one"), device="cpu"), workers=0)
    return source, folder / "one"


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Source of 2,000 slices and the result of one process."""
    folder = tmp_path_factory.mktemp("long")
    source = archive(folder / "source", n_series=100, n_slices=20, size=256)
    started = time.monotonic()
    local.run(Job(source=str(source), destination=str(folder / "one"), device="cpu"), workers=0)
    print(f"\none process: {time.monotonic() - started:.1f} s")
    return source, folder / "one"


def test_two_nodes_find_what_one_process_finds(short: tuple[Path, Path], tmp_path: Path) -> None:
    source, one = short
    with machines(2) as cluster:
        ends_well(cluster.driver(source, tmp_path / "many"), limit_s=240)
    _same(tmp_path / "many", one)


@AT_LENGTH
def test_an_autoscaler_sends_the_machines(short: tuple[Path, Path], tmp_path: Path) -> None:
    """The head has no CPU: whatever is done is done by nodes that Ray started because actors asked for them."""
    source, one = short
    with machines(0, script="scaling.py") as cluster:
        ends_well(cluster.driver(source, tmp_path / "many"))
    _same(tmp_path / "many", one)


@AT_LENGTH
def test_a_node_and_the_driver_die(short: tuple[Path, Path], tmp_path: Path) -> None:
    source, one = short
    destination = tmp_path / "many"
    with machines(2) as cluster:
        first = cluster.driver(source, destination)
        wait_for(destination, 2, first)
        cluster.tell("kill")
        first.kill()
        first.communicate()
        assert n_published(destination) < 8, "too quick to be killed on the way: give it more series"
        ends_well(cluster.driver(source, destination))
    _same(destination, one)


@AT_LENGTH
@pytest.mark.parametrize("n_nodes", [2, 4])
def test_2000_slices_while_nodes_and_driver_die(long: tuple[Path, Path], tmp_path: Path, n_nodes: int) -> None:
    """Losing a node at 30 % (a new one comes, as an autoscaler sends one) and the driver at 60 % changes nothing but the time.

    Slices have the size that scanners make: what a loss costs (a driver's start, a node that is missed for some 20 s) is the same
    for small ones, whose run is over in less than a minute.
    """
    source, one = long
    with machines(n_nodes) as cluster:
        calm = _timed(cluster, source, tmp_path / "calm")
        _same(tmp_path / "calm", one)
        hard = _disturbed(cluster, source, tmp_path / "hard")
        _same(tmp_path / "hard", one)
    for name, took in (("calm", calm), ("disturbed", hard)):
        print(f"\n{n_nodes} nodes, {name}: {took.total_s:.1f} s, {took.start_s:.1f} s of them starts; units alone: {took.busy_s / n_nodes:.1f} s")
    extra = hard.total_s / calm.total_s - 1
    fair = (hard.total_s / hard.busy_s) / (calm.total_s / calm.busy_s) - 1
    print(f"extra: {100 * extra:.1f} % on the clock, {100 * fair:.1f} % for each second that the units themselves took; all starts included")
    assert fair <= 0.15, "a machine that got slower in between makes the units slower, too: that is not counted"


@AT_LENGTH
def test_a_series_that_kills_its_workers_does_not_take_the_others_with_it(short: tuple[Path, Path], tmp_path: Path) -> None:
    source, one = short
    destination = tmp_path / "many"
    with machines(2) as cluster:
        driver = cluster.driver(source, destination, sys.executable, str(Path(__file__).with_name("poisoned.py")))
        said = driver.communicate(timeout=600)[0].decode()
    assert "7 denoised, 0 skipped, 1 failed" in said
    rows, before = ledger_of(destination), ledger_of(one)
    assert rows.keys() == before.keys()
    assert sum(rows[unit] == before[unit] for unit in before) == 7


class _Took:
    """Seconds of a run, those of them in which a driver started and no unit was ready yet, and those of all units together."""

    def __init__(self) -> None:
        self.started, self.start_s, self.total_s, self.busy_s = time.monotonic(), 0.0, 0.0, 0.0


def _timed(cluster: Machines, source: Path, destination: Path) -> _Took:
    took = _Took()
    driver = _begin(cluster, source, destination, took)
    ends_well(driver)
    took.total_s = time.monotonic() - took.started
    took.busy_s = sum(row.seconds for row in Ledger(str(destination)).rows())
    return took


def _disturbed(cluster: Machines, source: Path, destination: Path) -> _Took:
    took = _Took()
    first = _begin(cluster, source, destination, took)
    wait_for(destination, 30, first)
    cluster.tell("kill")
    cluster.tell("add")
    wait_for(destination, 60, first)
    first.kill()
    first.communicate()
    ends_well(_begin(cluster, source, destination, took))
    took.total_s = time.monotonic() - took.started
    took.busy_s = sum(row.seconds for row in Ledger(str(destination)).rows())
    return took


def _begin(cluster: Machines, source: Path, destination: Path, took: _Took) -> subprocess.Popen[bytes]:
    """Start a driver, and wait until it has brought a unit to its end."""
    started, before = time.monotonic(), n_published(destination)
    driver = cluster.driver(source, destination)
    wait_for(destination, before + 1, driver)
    took.start_s += time.monotonic() - started
    return driver


def _same(destination: Path, one: Path) -> None:
    """No unit is lost or done twice, every image is what one process made, and nothing lies about."""
    assert ledger_of(destination) == ledger_of(one)
    assert content(destination) == content(one)
    assert not list(destination.glob(".onenex-batch/*.part"))
