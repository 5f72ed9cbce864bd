"""Files in the spool that no row of the queue knows."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from pydicom.filereader import read_file_meta_info

from onenex.dicom.files import HEADER_ERRORS, quiet
from onenex.errors import NodeError
from onenex.node.database.spool import HEAD_OF_FILE, Spool, dataset_digest, dataset_start, safe_name
from onenex.node.records import Arrival
from onenex.node.scp.uids import HEAD_BYTES, read_header

log = logging.getLogger(__name__)

_BATCH = 200


def find(spool: Spool, known: Collection[Path]) -> Iterator[list[Arrival]]:
    """Yield the readable files that aren't known, in batches; the others go to `quarantine/`."""
    batch: list[Arrival] = []
    for path in spool.stored():
        if path in known:
            continue
        try:
            batch.append(_read(path))
        except FileNotFoundError:
            continue
        except (NodeError, OSError, *HEADER_ERRORS) as error:
            set_aside(spool, path, type(error).__name__)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def set_aside(spool: Spool, path: Path, why: str) -> None:
    """Move a file to `quarantine/` and say so."""
    try:
        log.warning("event=quarantined file=%s why='%s'", spool.set_aside(path).name.partition("-")[0], why)
    except FileNotFoundError:
        log.info("event=gone why='%s'", why)


def set_results_aside(spool: Spool, series_ids: Collection[int]) -> None:
    """Move results to `quarantine/` whose series there is not (any more)."""
    for path in spool.outboxes.iterdir():
        if re.fullmatch(r"[0-9]+-[0-9]+", path.name) and int(path.name.partition("-")[0]) not in series_ids:
            set_aside(spool, path, "result of no series")


def _read(path: Path) -> Arrival:
    """Return a stored file as it arrived.

    Raises
    ------
    NodeError
        It is no DICOM file, or its UIDs cannot be read.
    """
    digest = dataset_digest(path)
    with quiet():
        meta = read_file_meta_info(path)
        names = ("TransferSyntaxUID", "MediaStorageSOPInstanceUID", "SourceApplicationEntityTitle", "ReceivingApplicationEntityTitle")
        syntax, sop_uid, calling_ae, called_ae = (str(meta.get(name) or "") for name in names)
    with path.open("rb") as file:
        file.seek(dataset_start(file.read(HEAD_OF_FILE)))
        header = read_header(file.read(HEAD_BYTES), syntax)
    if safe_name(syntax) != syntax or sop_uid != header.sop_uid:
        raise NodeError("its meta group is another's: look at it, and delete it if nobody misses it")
    return Arrival(
        sop_uid=header.sop_uid,
        sop_class=header.sop_class,
        transfer_syntax=syntax,
        study_uid=header.study_uid,
        series_uid=header.series_uid,
        path=path,
        n_bytes=path.stat().st_size,
        digest=digest,
        calling_ae=calling_ae,
        called_ae=called_ae,
    )
