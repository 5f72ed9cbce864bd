"""What scanners say about a series besides its images: how many there will be.

Modality Performed Procedure Step tells it when a step is completed, Instance Availability Notification when images are
there. Both only make waiting shorter; nothing depends on them.

Source: PS3.4 F.7 (MPPS), R.3 (Instance Availability); PS3.3 C.4.14, C.4.15, C.4.23.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import evt

from onenex.node.database.spool import safe_name
from onenex.node.scp.access import Access, Role

log = logging.getLogger(__name__)

Announce = Callable[[str, str, int], None]
"""`Queue.announce`: study UID, series UID, number of images."""
_Answer = tuple[int, Dataset | None]
_SUCCESS, _PROCESSING_FAILURE, _NO_SUCH_INSTANCE, _INVALID_VALUE, _NOT_AUTHORISED = 0x0000, 0x0110, 0x0112, 0x0115, 0x0124
_KEEP_S = 14 * 86_400.0
_LONGEST_UID = 64
_MOST_IMAGES = 1_000_000


class Steps:
    """The steps that scanners have begun: which study each belongs to, kept in small files, for completion names the step only."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "steps"
        self._folder.mkdir(mode=0o700, exist_ok=True)
        for path in self._folder.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > _KEEP_S:
                    path.unlink()

    def begin(self, step_uid: str, study_uid: str) -> None:
        """Remember a step."""
        temporary = self._folder / f".{secrets.token_hex(8)}.part"
        temporary.write_text(study_uid, encoding="utf-8")
        temporary.rename(self._folder / safe_name(step_uid))

    def study(self, step_uid: str) -> str | None:
        """Return the study of a step, None if it is not known (any more)."""
        try:
            return (self._folder / safe_name(step_uid)).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return None

    def end(self, step_uid: str) -> None:
        """Forget a step."""
        with contextlib.suppress(OSError):
            (self._folder / safe_name(step_uid)).unlink()


def on_create(event: evt.Event, steps: Steps, announce: Announce, access: Access) -> _Answer:
    """Answer an N-CREATE of either service."""
    if not _may_tell(event, access):
        return _NOT_AUTHORISED, None
    attributes = _decoded(lambda: event.attribute_list)
    request: Any = event.request
    if attributes is None:
        return _INVALID_VALUE, None
    answer = Dataset()
    try:
        if "PerformedProcedureStepStatus" in attributes:
            step_uid = str(request.AffectedSOPInstanceUID or "")
            study_uid = _study_of_step(attributes)
            if not step_uid or not study_uid:
                return _INVALID_VALUE, None
            steps.begin(step_uid, study_uid)
            _tell(study_uid, _performed_series(attributes), announce)
        else:
            _tell(_uid(attributes, "StudyInstanceUID"), _available_series(attributes), announce)
    except Exception as error:  # pydicom raises nearly anything on what strangers encode
        log.warning("event=notice-unreadable error=%s", type(error).__name__)
        return _PROCESSING_FAILURE, None
    return _SUCCESS, answer


def on_set(event: evt.Event, steps: Steps, announce: Announce, access: Access) -> _Answer:
    """Answer an N-SET of MPPS: the step is in progress, completed or discontinued."""
    if not _may_tell(event, access):
        return _NOT_AUTHORISED, None
    changes = _decoded(lambda: event.modification_list)
    request: Any = event.request
    step_uid = str(request.RequestedSOPInstanceUID or "")
    study_uid = steps.study(step_uid)
    if study_uid is None:
        return _NO_SUCH_INSTANCE, None
    if changes is None:
        return _INVALID_VALUE, None
    try:
        status = str(changes.get("PerformedProcedureStepStatus", ""))
        if status == "COMPLETED":
            _tell(study_uid, _performed_series(changes), announce)
        if status in ("COMPLETED", "DISCONTINUED"):
            steps.end(step_uid)
    except Exception as error:
        log.warning("event=notice-unreadable error=%s", type(error).__name__)
        return _PROCESSING_FAILURE, None
    return _SUCCESS, Dataset()


def _may_tell(event: evt.Event, access: Access) -> bool:
    """Whether the caller may send images, and hence say how many there will be."""
    requestor = event.assoc.requestor
    return access.role(requestor.ae_title, requestor.address) is Role.SENDER


def _decoded(read: Callable[[], Any]) -> Dataset | None:
    try:
        found = read()
    except Exception as error:
        log.warning("event=notice-unreadable error=%s", type(error).__name__)
        return None
    return found if isinstance(found, Dataset) else None


def _tell(study_uid: str, series: Iterator[tuple[str, int]], announce: Announce) -> None:
    n_series = 0
    for series_uid, n_images in series:
        if study_uid and series_uid and 0 < n_images <= _MOST_IMAGES:
            announce(study_uid, series_uid, n_images)
            n_series += 1
    log.info("event=announced series=%d", n_series)


def _study_of_step(attributes: Dataset) -> str:
    scheduled = attributes.get("ScheduledStepAttributesSequence") or [Dataset()]
    return _uid(scheduled[0], "StudyInstanceUID")


def _performed_series(attributes: Dataset) -> Iterator[tuple[str, int]]:
    for series in attributes.get("PerformedSeriesSequence") or ():
        images = series.get("ReferencedImageSequence") or ()
        others = series.get("ReferencedNonImageCompositeSOPInstanceSequence") or ()
        yield _uid(series, "SeriesInstanceUID"), len(images) + len(others)


def _available_series(attributes: Dataset) -> Iterator[tuple[str, int]]:
    for series in attributes.get("ReferencedSeriesSequence") or ():
        yield _uid(series, "SeriesInstanceUID"), len(series.get("ReferencedSOPSequence") or ())


def _uid(dataset: Dataset, keyword: str) -> str:
    value = str(dataset.get(keyword) or "").strip(" \0")
    return value if len(value) <= _LONGEST_UID else ""
