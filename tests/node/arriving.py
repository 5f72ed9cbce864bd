"""Arrivals for the tests of the queue, with or without real files behind them."""

import hashlib
from io import BytesIO
from pathlib import Path

from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from onenex.node.database.spool import Spool, dataset_digest
from onenex.node.queue import Queue
from onenex.node.records import Arrival, Delivery, Item, Job, Route, SeriesView

STUDY = "1.2.826.0.1.1"


def series_uid(series: int) -> str:
    return f"{STUDY}.{series}"


def arrival(number: int, *, series: int = 1, pixels: str = "") -> Arrival:
    """An image without a file; `pixels` makes another one under the same UID."""
    return Arrival(
        sop_uid=f"{series_uid(series)}.{number}",
        sop_class=MRImageStorage,
        transfer_syntax=ExplicitVRLittleEndian,
        study_uid=STUDY,
        series_uid=series_uid(series),
        path=Path("/nowhere") / f"{series}-{number}{pixels}.dcm",
        n_bytes=100,
        digest=hashlib.sha256(f"{series} {number} {pixels}".encode()).hexdigest(),
        calling_ae="SCANNER",
        called_ae="ONENEX",
    )


def encoded(number: int, *, series: int = 1, pixels: bytes = b"\1\2") -> bytes:
    """A whole DICOM file."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = MRImageStorage, f"{series_uid(series)}.{number}"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = STUDY, series_uid(series)
    dataset.add_new("PixelData", "OW", pixels)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.SourceApplicationEntityTitle = "SCANNER"
    file = BytesIO()
    dcmwrite(file, dataset, enforce_file_format=True)
    return file.getvalue()


def stored(spool: Spool, number: int, *, series: int = 1, pixels: bytes = b"\1\2") -> Arrival:
    """An image whose file is in its place, not registered yet."""
    temporary = spool.receive([encoded(number, series=series, pixels=pixels)])
    digest = dataset_digest(temporary)
    plain = arrival(number, series=series)
    path = spool.place(temporary, plain.study_uid, plain.series_uid, plain.sop_uid, digest)
    return Arrival(**{**vars(plain), "path": path, "digest": digest, "n_bytes": path.stat().st_size})


def to(*destinations: str, action: str = "denoise", originals: str = "always") -> Route:
    return Route(rule="all", action=action, destinations=destinations, originals=originals, reason="" if action == "denoise" else "the rule says so")


def output(number: int = 1, *, series: int = 1) -> Item:
    """A derived image."""
    uid = f"{series_uid(series)}.9.{number}"
    return Item(sop_uid=uid, sop_class=MRImageStorage, transfer_syntax=ExplicitVRLittleEndian, path=Path("/nowhere") / f"{uid}.dcm")


def send_all(queue: Queue, transaction: str | None = None) -> list[str]:
    """Do what a sender does with everything that is due; return "kind destination images" of each."""
    done = []
    while (delivery := queue.claim_delivery("sender", 10)) is not None:
        queue.sent(delivery, [one.sop_uid for one in delivery.items])
        queue.delivered(delivery, None if transaction is None else f"{transaction}.{delivery.delivery_id}")
        done.append(f"{delivery.kind} {delivery.destination} {len(delivery.items)}")
    return done


def view(queue: Queue, series_id: int = 1) -> SeriesView:
    """The series, which must be there."""
    found = queue.one(series_id)
    if found is None:
        raise AssertionError(f"no series {series_id}")
    return found


def ways(queue: Queue, series_id: int = 1) -> list[str]:
    """Return "kind destination state images" of each delivery of a series."""
    return [f"{one.kind} {one.destination} {one.state} {one.n_items}" for one in view(queue, series_id).deliveries]


def claimed(queue: Queue, *, images: int = 2, series: int = 1, originals: str = "always", destinations: tuple[str, ...] = ("PACS",)) -> Job:
    """Let a new series come as far as to a worker."""
    queue.register([arrival(number, series=series) for number in range(1, images + 1)])
    series_id = queue.view(limit=1)[0].series_id
    if not queue.route(series_id, to(*destinations, originals=originals)):
        raise AssertionError("not routed")
    return job_of(queue)


def job_of(queue: Queue, owner: str = "worker", lease_s: float = 100, attempts: int = 3) -> Job:
    """Claim a job, which must be there."""
    job = queue.claim(owner, lease_s, attempts)
    if job is None:
        raise AssertionError("nothing to claim")
    return job


def delivery_of(queue: Queue, owner: str = "sender", lease_s: float = 100, busy: tuple[str, ...] = ()) -> Delivery:
    """Claim a delivery, which must be there."""
    delivery = queue.claim_delivery(owner, lease_s, busy)
    if delivery is None:
        raise AssertionError("nothing to deliver")
    return delivery


def uids(delivery: Delivery) -> list[str]:
    return [one.sop_uid for one in delivery.items]
