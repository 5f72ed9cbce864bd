"""What the status page, its JSON and its pictures may say of a series, and to whom.

Three kinds of readers: anybody (states, counts, reasons), somebody logged in or at the machine itself (descriptions and
pictures too), and, where `show_patients` is set, somebody logged in who may see names, ids and UIDs. Reasons and errors
quote file names and what a PACS answered, so they lose the series' UIDs, names, ids and dates before anybody else reads them.
"""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydicom.filereader import read_file_meta_info, read_partial
from pydicom.tag import BaseTag, Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian

from onenex.dicom.files import HEADER_ERRORS, quiet
from onenex.dicom.frames import FrameHeader
from onenex.node.audit import uid_hash
from onenex.node.records import DeliveryState, DeliveryView, Kind, SeriesView, State


@dataclass(frozen=True)
class Words:
    """A state, for people."""

    label: str
    sign: str
    """Says the same as a colour, to who doesn't see that."""
    meaning: str


STATES = {
    State.RECEIVED: Words("Receiving", "↓", "Images come in."),
    State.COMPLETE: Words("Waiting", "…", "All images are here. It waits for a worker."),
    State.CLAIMED: Words("Denoising", "▶", "A worker denoises it."),
    State.DENOISED: Words("Sending", "→", "Denoised. On its way to the destinations."),
    State.SENT: Words("Sent", "○", "Every destination has everything. Some promises to keep it are not here yet."),
    State.VERIFIED: Words("Verified", "✓", "Every destination has everything and keeps it."),
    State.PASSED_THROUGH: Words("Passed through", "⇥", "Not denoised, for a reason. The originals go on."),
    State.FAILED: Words("Failed", "✕", "Denoising or sending failed, or a rule refused it. Somebody must look."),
}
"""Words for every state of a series."""
DELIVERY_STATES = {
    DeliveryState.WAITING: Words("Held", "–", "Not before the denoised series is there."),
    DeliveryState.PENDING: Words("Waiting", "…", "Will be sent, or sent again."),
    DeliveryState.CLAIMED: Words("Sending", "→", "Is being sent."),
    DeliveryState.SENT: Words("Sent", "○", "Stored there. The promise to keep it is not here yet."),
    DeliveryState.VERIFIED: Words("Verified", "✓", "Stored, and kept."),
    DeliveryState.FAILED: Words("Failed", "✕", "Given up after many tries."),
}
"""And of a delivery."""
HIDDEN = "[hidden]"
"""Stands where a name, id or date was."""

_HEAD_BYTES = 1 << 20
_LAST = Tag("SeriesNumber")
_NAMES = ("PatientName", "OtherPatientNames", "PatientBirthName", "ReferringPhysicianName", "PerformingPhysicianName", "OperatorsName")
_IDS = ("PatientID", "OtherPatientIDs", "AccessionNumber", "StudyID", "IssuerOfPatientID")
_DATES = ("PatientBirthDate", "StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate", "InstanceCreationDate")
_UIDS = ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
_WANTED: list[BaseTag | int] = [
    Tag(name) for name in (*_NAMES, *_IDS, *_DATES, *_UIDS, "SeriesDescription", "ProtocolName", "SeriesNumber", "SpecificCharacterSet")
]
_UID = re.compile(r"(?<![\d.])\d{1,39}(?:\.\d{1,39}){4,}(?![\d])")
_DATE = re.compile(r"(?<!\d)(?:18|19|20)\d{2}([-./]?)(?:0[1-9]|1[0-2])\1(?:0[1-9]|[12]\d|3[01])(?!\d)")


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Who looks."""

    user: str = ""
    """Empty when nobody is logged in."""
    token: str = ""
    """For forms; empty when nothing may be changed."""
    inside: bool = False
    """May see descriptions and pictures."""
    patients: bool = False
    """May see who the patient is."""

    @property
    def may_act(self) -> bool:
        """Whether buttons work."""
        return bool(self.token)


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What a header says of patient and series."""

    title: str = ""
    """Number and description of the series."""
    patient: str = ""
    """Name and id."""
    secrets: tuple[str, ...] = ()
    """Words that must not be shown, the longest first."""


class Identities:
    """Reads the head of a series' first file, once a series and pass."""

    def __init__(self, files: Callable[[int], Sequence[Path]]) -> None:
        self._files = files
        self._of = lru_cache(maxsize=4096)(self._read)

    def of(self, view: SeriesView) -> Identity:
        """Return a series' identity; an empty one when its files tell nothing."""
        return self._of(view.series_id, view.pass_number)

    def _read(self, series_id: int, _: int) -> Identity:
        for path in self._files(series_id)[:1]:
            return read_identity(path)
        return Identity()


def read_identity(path: Path) -> Identity:
    """Read names, ids, dates and the description from the first MiB of a file; an empty identity where that's impossible."""
    try:
        with quiet():
            if read_file_meta_info(path).get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
                return Identity()  # it could unpack to anything
            with path.open("rb") as file:
                head = io.BytesIO(file.read(_HEAD_BYTES))
            header = FrameHeader(read_partial(head, stop_when=_past_last, specific_tags=_WANTED))
            number, description = header.text("SeriesNumber"), header.text("SeriesDescription") or header.text("ProtocolName")
            return Identity(
                title=" · ".join(part[:64] for part in (number, description) if part),
                patient=" · ".join(part[:64] for part in (header.text("PatientName"), header.text("PatientID")) if part),
                secrets=_secrets(header),
            )
    except HEADER_ERRORS:
        return Identity()


def _past_last(tag: BaseTag, vr: str | None, length: int) -> bool:
    return bool(tag > _LAST)


def _secrets(header: FrameHeader) -> tuple[str, ...]:
    """Return whole values and the words of names; one letter is no secret, for hiding it would hide everything."""
    words: set[str] = set()
    for keyword in (*_NAMES, *_IDS):
        for value in header.text(keyword).split("\\"):
            words.add(value.strip())
            if keyword in _NAMES:
                words.update(re.split(r"[\^=\s,]+", value))
    for keyword in _DATES:
        date = header.text(keyword)
        words.add(date)
        if re.fullmatch(r"\d{8}", date):
            year, month, day = date[:4], date[4:6], date[6:]
            words |= {f"{one}{sign}{two}{sign}{three}" for one, two, three in ((day, month, year), (month, day, year)) for sign in "./-"}
    return tuple(sorted((word for word in words if len(word) >= 2), key=len, reverse=True))


def scrubbed(text: str, identity: Identity, folder: Path) -> str:
    """Return a reason or an error without what belongs to the patient.

    Folders of the spool go, UIDs become their hash as in the audit trail, and the header's names, ids and dates, and whatever
    else looks like a date, become `[hidden]`.
    """
    text = re.sub(rf"{re.escape(str(folder))}[^\s:,;'\"()]*/", "", text)
    text = _UID.sub(lambda found: f"uid:{uid_hash(found[0])}", text)
    for word in identity.secrets:
        whole = re.escape(word) if len(word) >= 5 else rf"(?<!\w){re.escape(word)}(?!\w)"
        text = re.sub(whole, HIDDEN, text, flags=re.IGNORECASE)
    return _DATE.sub(HIDDEN, text)


def shown(view: SeriesView, reader: Reader, identity: Identity, scrub: Callable[[str], str]) -> dict[str, Any]:
    """Return a series in plain values, as far as the reader may see it: for the pages and, as it is, for `/api/series`.

    Parameters
    ----------
    scrub
        Takes out of a text what the reader may not see.
    """
    words = STATES[view.state]
    facts: dict[str, Any] = {
        "id": view.series_id,
        "state": view.state.value,
        "label": words.label,
        "meaning": words.meaning,
        "pass": view.pass_number,
        "images": view.n_images,
        "expected": view.n_expected,
        "derived": view.n_derived,
        "sender": view.calling_ae,
        "rule": view.rule,
        "reason": scrub(view.reason),
        "attempts": view.attempts,
        "received": _iso(view.received_wall),
        "changed": _iso(view.changed_wall),
        "series_hash": uid_hash(view.series_uid),
        "study_hash": uid_hash(view.study_uid),
        "deliveries": [_delivery(one, scrub) for one in view.deliveries],
    }
    if reader.inside:
        facts["title"] = scrub(identity.title)
    if reader.patients:
        facts |= {"patient": identity.patient, "series_uid": view.series_uid, "study_uid": view.study_uid}
    return facts


def _delivery(view: DeliveryView, scrub: Callable[[str], str]) -> dict[str, Any]:
    words = DELIVERY_STATES[view.state]
    return {
        "id": view.delivery_id,
        "kind": view.kind.value,
        "what": "denoised" if view.kind is Kind.DERIVED else "originals",
        "destination": view.destination,
        "state": view.state.value,
        "label": words.label,
        "meaning": words.meaning,
        "images": view.n_items,
        "sent": view.n_sent,
        "verified": view.n_verified,
        "attempts": view.attempts,
        "error": scrub(view.error),
    }


def _iso(wall: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(wall))
