"""One unit: fetched, denoised, published, and its row. Doing it twice is the same as doing it once."""

from __future__ import annotations

import errno
import hashlib
import logging
import socket
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from onenex.batch.fetch import fetch
from onenex.batch.publish import publish, published, withdraw
from onenex.batch.settings import options_hash
from onenex.batch.storage import scratch
from onenex.batch.unit import Access, Kind, Row, Status, Unit
from onenex.errors import OneNexError
from onenex.options import Options
from onenex.pipeline import denoise_path
from onenex.results import RunReport
from onenex.work import Denoiser

logger = logging.getLogger(__name__)

_FULL = (errno.ENOSPC, errno.EDQUOT)


def process(unit: Unit, destination: str, options: Options, model: Denoiser, *, access: Access | None = None) -> Row:
    """Do one unit and return its row, which the caller adds to the ledger.

    A unit whose results are there already, made of the same source in the same way, is not done again: its row comes back.
    What fails leaves nothing behind.

    Parameters
    ----------
    destination
        Folder or fsspec URL.

    Raises
    ------
    DataError
        The destination cannot be written to, or a disk is full: that ends the run, it isn't the unit's fault.
    """
    status = Status.FAILED if unit.damaged else Status.SKIPPED
    empty = undone(unit, status, unit.problem, weights=model.weights_hash, options=options)
    if unit.problem:
        return empty
    done = published(destination, unit.id)
    if done is not None and (done.options, done.weights, done.fingerprint) == (empty.options, empty.weights, unit.fingerprint):
        return done
    begun = time.monotonic()
    with scratch(destination) as folder:
        row = _attempt(unit, folder, options, model, (empty, access))
        row = replace(row, seconds=round(time.monotonic() - begun, 3), ended=datetime.now(UTC))
        if row.status == Status.DENOISED:
            publish(folder / "out", destination, row)
        elif done is not None:
            withdraw(destination, unit.id)
    logger.info("unit status=%s slices=%d seconds=%.2f", row.status, row.slices, row.seconds)
    return row


def undone(unit: Unit, status: Status, reason: str, *, weights: str, options: Options) -> Row:
    """Return the row of a unit of which nothing was made, as of now.

    Parameters
    ----------
    weights
        First 12 hex digits of the weights file's SHA-256.
    """
    now = datetime.now(UTC)
    return Row(
        unit=unit.id,
        source=unit.source,
        series=unit.series,
        fingerprint=unit.fingerprint,
        status=status,
        reason=reason,
        weights=weights,
        options=options_hash(options),
        host=socket.gethostname(),
        started=now,
        ended=now,
    )


def _attempt(unit: Unit, folder: Path, options: Options, model: Denoiser, known: tuple[Row, Access | None]) -> Row:
    """Fetch and denoise; results lie in `folder`/out."""
    row, access = known
    try:
        n_bytes = fetch(unit, folder / "in", access)
        row = replace(row, bytes_in=n_bytes)
        source = folder / "in"
        report = denoise_path(next(source.iterdir()) if unit.kind is Kind.NIFTI else source, folder / "out", options, model=model)
        row = _judged(row, report, folder)
        return replace(row, bytes_out=_size(folder / "out"), digest=_digest(unit, report)) if row.status == Status.DENOISED else row
    except OneNexError as error:
        if _disk_is_full(error):
            raise
        return replace(row, status=Status.FAILED, reason=_without(str(error), folder))
    except MemoryError:
        return replace(row, status=Status.FAILED, reason="not enough memory: use fewer workers, or a machine with more")


def _judged(row: Row, report: RunReport, folder: Path) -> Row:
    """Say how a unit ended: one failure in it fails it all, for a part of a series may mislead."""
    done = [one for one in report.series if one.status == "denoised"]
    failed = [one for one in report.series if one.status == "failed"]
    reasons = dict.fromkeys(one.reason for one in (failed or report.series) if one.reason)
    status = Status.FAILED if failed else Status.DENOISED if done else Status.SKIPPED
    return replace(row, status=status, reason=_without("; ".join(reasons), folder), slices=sum(one.n_images for one in done) if not failed else 0)


def _digest(unit: Unit, report: RunReport) -> str:
    outputs = [path for one in report.series for path in one.outputs]
    if unit.kind is not Kind.NIFTI:
        from onenex.dicom.digest import pixels_digest

        return pixels_digest(outputs)
    digest = hashlib.sha256()
    for path in sorted(outputs):
        with path.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _disk_is_full(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, OSError) and error.errno in _FULL:
            return True
        error = error.__cause__
    return False


def _without(text: str, folder: Path) -> str:
    """Leave out where the unit was worked on: that's gone, and differs from run to run."""
    return text.replace(f"{folder / 'in'}/", "").replace(str(folder / "in"), "the series").replace(f"{folder}/", "")
