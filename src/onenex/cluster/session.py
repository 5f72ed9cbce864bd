"""A connection to Ray: a cluster that runs, or one of this machine alone, started for the run and stopped after it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from onenex.errors import DataError

LOCAL = "local"
"""In place of an address: start Ray on this machine."""
_STORE_BYTES = 256 * 2**20
"""Object store of a Ray that is started here: it holds names of files and rows of the ledger, never images."""
_MAX_WORKERS = 10_000


@dataclass(frozen=True, kw_only=True)
class Workers:
    """How many actors denoise, and what each one gets.

    Raises
    ------
    DataError
        A number that makes no sense.
    """

    most: int | None = None
    """None: as many as the cluster has room for, now or, with an autoscaler, later."""
    cpus: float = 1.0
    """CPU cores an actor, and its threads; 0.5 puts two on a core."""
    gpus: float | None = None
    """GPUs an actor; 0: it works on the CPU; None: as the device wants."""

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        if self.most is not None and self.most < 1:
            raise DataError(f"{self.most} workers: give 1 or more")
        if not self.cpus > 0 or not (self.gpus or 0) >= 0:
            raise DataError(f"{self.cpus:g} cores and {self.gpus or 0:g} GPUs a worker: give more than 0 cores, and 0 GPUs or more")

    @property
    def device(self) -> str:
        """Where an actor's model works, once GPUs are settled."""
        return "cuda" if self.gpus else "cpu"

    @property
    def limit(self) -> int:
        """Most actors of a pool, as a number."""
        return self.most or _MAX_WORKERS

    def for_device(self, device: str, resources: dict[str, float]) -> Workers:
        """Return them with their GPUs settled: one each for `cuda`, and for `auto` where the cluster has GPUs.

        Raises
        ------
        DataError
            `cpu` with GPUs.
        """
        if device == "cpu" and self.gpus:
            raise DataError(f"device cpu, and {self.gpus:g} GPUs a worker: give one of them")
        if self.gpus is not None:
            return self
        wanted = device.startswith("cuda") or (device == "auto" and resources.get("GPU", 0.0) >= 1)
        return replace(self, gpus=1.0 if wanted else 0.0)

    def fitting(self, resources: dict[str, float]) -> int:
        """Return how many of them have room among a cluster's resources ("CPU", "GPU"), 1 at least."""
        room = resources.get("CPU", 0.0) / self.cpus
        if self.gpus:
            room = min(room, resources.get("GPU", 0.0) / self.gpus)
        return max(1, min(int(room), self.limit))


@contextmanager
def session(address: str, workers: Workers) -> Iterator[Any]:
    """Yield the `ray` module, connected.

    Parameters
    ----------
    address
        `local`, or host:port of a cluster that this machine belongs to (`auto` finds it).
    workers
        A Ray that is started here gets room for `workers.most`.

    Raises
    ------
    DataError
        Ray is not installed, there is no such cluster, or this process is connected to one already.
    """
    _environment()
    ray = _ray()
    if ray.is_initialized():
        raise DataError("this process is connected to Ray already: run `onenex batch` by itself, or call ray.shutdown() first")
    if "://" in address:
        raise DataError(f"{address}: give host:port, and run this on a machine of the cluster, which reads the archive's list and writes the ledger")
    told: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False, "include_dashboard": None}
    if address == LOCAL:
        cpus = None if workers.most is None else max(1, round(workers.most * workers.cpus))
        told |= {"num_cpus": cpus, "object_store_memory": _STORE_BYTES, "include_dashboard": False}
    try:
        ray.init(address, **told)
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        where = "on this machine" if address == LOCAL else f"at {address}"
        raise DataError(f"no Ray {where} ({_first_line(error)}): see `ray status`, or start one with `ray start --head`") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _environment() -> None:
    """Ray reads these when it's imported or started; what the user set stays."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a hospital's machines tell nobody what they do
    os.environ.setdefault("RAY_DISABLE_IMPORT_WARNING", "1")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # CPU actors are told `cpu`


def _ray() -> Any:
    try:
        import ray
        import ray.data
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in ("ray", "pyarrow", "pandas"):
            raise
        raise DataError(f"--ray needs the package {error.name}: pip install 'onenex[cluster]'") from None
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return ray


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
