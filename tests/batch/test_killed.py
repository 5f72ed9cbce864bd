"""kill -9 at every point of a run: the next one ends as if nothing had happened, and does nothing twice that was there."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from onenex.batch import Ledger
from onenex.batch.job import Job
from onenex.batch.local import run
from tests.batch.killed import POINTS


def test_a_run_killed_anywhere_goes_on_exactly(archive: Path, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "tests.batch.killed", str(archive), str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    whole, *killed = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(killed) == len(POINTS)
    assert len(whole["rows"]) == 6
    for one in killed:
        assert one["killed"], one["point"]
        assert one["rows"] == whole["rows"], one["point"]
        assert one["files"] == whole["files"], one["point"]
        assert one["asked"] == whole["asked"] - one["published"], one["point"]
    assert {one["published"] for one in killed} >= {0, 1, 2, 3}


N_KILLS = int(os.environ.get("ONENEX_BATCH_KILLS", "0"))


@pytest.mark.skipif(N_KILLS == 0, reason="kills of real runs take minutes: set ONENEX_BATCH_KILLS, or `make test-batch`")
def test_real_runs_killed_at_random_instants_end_the_same(archive: Path, tmp_path: Path) -> None:
    """Two worker processes with the real model; they die with the process that started them."""
    run(Job(source=str(archive), destination=str(tmp_path / "whole")), workers=2)
    command = [sys.executable, "-m", "onenex.cli", "batch", str(archive), "-o", str(tmp_path / "out"), "--workers", "2"]
    clock = random.Random(int(os.environ.get("ONENEX_SEED", "0")))
    for _ in range(N_KILLS):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            time.sleep(clock.uniform(0.5, 12))
            workers = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
            process.send_signal(signal.SIGKILL)
        _, alive = psutil.wait_procs(workers, timeout=20)
        assert not alive
    subprocess.run(command, check=False)
    made = [sorted((row.unit, row.status, row.digest) for row in Ledger(str(tmp_path / name)).parts()) for name in ("whole", "out")]
    assert made[0] == made[1]
    assert {path.name for path in (tmp_path / "out" / ".onenex-batch").iterdir()} == {"plan.sqlite"}
