"""A run on a cluster: planned and written down here, denoised there."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace

from onenex.batch import Row, Unit, storage
from onenex.batch.job import Job, Outcome, Tell, prepared, record, weights_hash
from onenex.cluster.actors import Told
from onenex.cluster.session import LOCAL, Workers, session
from onenex.cluster.stream import stream
from onenex.errors import DataError


def run(job: Job, *, address: str = LOCAL, workers: Workers | None = None, tell: Tell | None = None) -> Outcome:
    """Do all units of a source that aren't done yet, on a Ray cluster.

    When this process is killed or the cluster lost, the same call goes on from where the results are: what is published isn't
    done again, and every unit that was tried has its row in the ledger afterwards.

    Parameters
    ----------
    job
        Files of its source, its destination and its weights must have the same name on every machine.
    address
        `local` (Ray is started here, and stopped again), or host:port of a cluster that this machine belongs to.
    workers
        None: as many as there is room for, one a core (three on two where files come or go over a network), on GPUs where the
        device is `cuda`, or `auto` and the cluster has some.
    tell
        Told how far it is.

    Raises
    ------
    DataError
        Ray is missing or lost; the source cannot be listed; the destination cannot be written to, was made otherwise, or is in use.
    """
    started = time.monotonic()
    if any(storage.is_of_this_process(url) for url in (job.source, job.destination)):
        raise DataError("memory:// is seen by this process alone: give a folder or URL that every machine reaches")
    here = storage.local_path(job.destination)
    job = replace(job, destination=str(here or job.destination), weights=job.weights and job.weights.absolute())
    with prepared(job, workers=len(os.sched_getaffinity(0)), tell=tell) as (units, n_units):
        rows = iter(()) if n_units == 0 else _rows(job, units, address, workers or Workers(cpus=1 / job.workers_a_core))
        outcome = record(rows, job, tell=tell, n_units=n_units)
    outcome.seconds = time.monotonic() - started
    return outcome


def _rows(job: Job, units: Iterator[Unit], address: str, workers: Workers) -> Iterator[Row]:
    """Yield what becomes of units, connected to Ray meanwhile."""
    with session(address, workers) as ray:
        chosen = workers.for_device(job.device, ray.cluster_resources())
        told = Told(job=job, weights_hash=weights_hash(job.weights), device=chosen.device, threads=max(1, int(chosen.cpus)))
        try:
            yield from stream(ray, told, units, chosen)
        except ray.exceptions.RayError as error:
            said = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
            raise DataError(f"the run broke off ({said}): see `ray status`, and run the same command again; what is done stays") from error
