"""A node's folder with series in every state, as the other parts of the node leave it, made without them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydicom import dcmread

from onenex.node.config import NodeConfig
from onenex.node.database.spool import Spool, dataset_digest
from onenex.node.queue import Queue
from onenex.node.records import Arrival, Item, Job, Route
from onenex.pipeline import denoise_path
from onenex.web.passwords import hash_password
from tests.dicom.make import make_series
from tests.fake_model import FakeModel

USER, PASSWORD = "radiographer", "correct horse"
NAME, FAMILY, GIVEN, PATIENT_ID, BIRTH, STUDY_DATE = "Zyzzyva^Quillon", "Zyzzyva", "Quillon", "PID77Q4411", "19430217", "20140309"
"""Telltales: none of them may show anywhere."""
STUDY_UID = f"1.3.12.2.1107.5.2.18.41185.{STUDY_DATE}101112"
TELLTALES = (FAMILY, GIVEN, PATIENT_ID, BIRTH, STUDY_DATE, "1943-02-17", "17.02.1943", "2014-03-09", STUDY_UID)
PATIENT = {
    "PatientName": NAME, "PatientID": PATIENT_ID, "PatientBirthDate": BIRTH, "StudyDate": STUDY_DATE, "SeriesDate": STUDY_DATE,
    "AcquisitionDate": STUDY_DATE, "ContentDate": STUDY_DATE, "StudyInstanceUID": STUDY_UID,
}  # fmt: skip


class Filled:
    """Queue and spool of one folder, and what a scanner, worker and PACS do with them."""

    def __init__(self, folder: Path) -> None:
        self.base, self.folder = folder, folder / "node"
        self.queue, self.spool = Queue(self.folder), Spool(self.folder)
        self._n = 0

    def config(self, *, login: bool = True, **status: Any) -> NodeConfig:
        if login:
            status["password_file"] = self.base / "passwords"
            if not status["password_file"].exists():
                self.new_password()
        return NodeConfig.model_validate(
            {
                "node": {"folder": self.folder, "ae_title": "ONENEX"},
                "limits": {"reserve_mb": 0},
                "destinations": [{"name": "PACS", "ae_title": "PACS", "host": "127.0.0.1", "port": 11113}],
                "status": status,
            }
        )

    def new_password(self) -> None:
        """Write another hash of the same password."""
        (self.base / "passwords").write_text(f"{USER}:{hash_password(PASSWORD, cost=10)}\n")

    def series(self, n_slices: int = 5, *, rows: int = 64, columns: int = 48, **attrs: Any) -> list[Path]:
        """Make the files of a series as they lie at the scanner."""
        self._n += 1
        attrs = {**PATIENT, "SeriesNumber": self._n, **attrs}
        return make_series(self.base / f"scanner{self._n}", n_slices, rows, columns, seed=self._n, **attrs)

    def arrive(self, files: Sequence[Path]) -> int:
        """Receive files of one series; return its number."""
        arrivals = []
        for file in files:
            header = dcmread(file, stop_before_pixels=True)
            content, digest = file.read_bytes(), dataset_digest(file)
            study, series, sop = (str(header[name].value) for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"))
            path = self.spool.place(self.spool.receive([content]), study, series, sop, digest)
            syntax = str(header.file_meta.TransferSyntaxUID)
            arrivals.append(
                Arrival(
                    sop_uid=sop,
                    sop_class=str(header.SOPClassUID),
                    transfer_syntax=syntax,
                    study_uid=study,
                    series_uid=series,
                    path=path,
                    n_bytes=len(content),
                    digest=digest,
                    calling_ae="SCANNER1",
                    called_ae="ONENEX",
                    address="10.0.0.7",
                )
            )
        self.queue.register(arrivals)
        return next(view.series_id for view in self.queue.view(limit=1000) if view.series_uid == arrivals[0].series_uid)

    def complete(self, series_id: int, *, action: str = "denoise", reason: str = "") -> int:
        route = Route(rule="everything", action=action, destinations=("PACS",), originals="always", reason=reason)
        if not self.queue.route(series_id, route):
            raise AssertionError("the series was not there to route")
        return series_id

    def claim(self) -> Job:
        job = self.queue.claim("worker 1", 600, 3)
        if job is None:
            raise AssertionError("nothing to claim")
        return job

    def denoise(self, job: Job) -> None:
        """Denoise what was claimed, for real but for the model."""
        outbox = self.spool.outbox(job.series_id, job.pass_number)
        report = denoise_path(job.files[0].parent, outbox, model=FakeModel())
        files = [file for result in report.series for file in result.outputs]
        items = []
        for file in files:
            header = dcmread(file, stop_before_pixels=True)
            uid, syntax = str(header.SOPInstanceUID), str(header.file_meta.TransferSyntaxUID)
            items.append(Item(sop_uid=uid, sop_class=str(header.SOPClassUID), transfer_syntax=syntax, path=file))
        details = {"mode": "fast", "strength": 1.0, "weights": "0123456789ab", "guard": {"n_slices": 5, "touched": []}, "notes": [f"of {NAME}"]}
        if not self.queue.finish(job, items, details=details):
            raise AssertionError("the lease was lost")

    def deliver(self, n_deliveries: int = 1, *, verified: bool = True) -> None:
        for _ in range(n_deliveries):
            delivery = self.queue.claim_delivery("send", 600)
            if delivery is None:
                raise AssertionError("nothing to deliver")
            self.queue.sent(delivery, [item.sop_uid for item in delivery.items])
            self.queue.delivered(delivery, None if verified else f"1.2.{delivery.delivery_id}")

    def give_up(self, error: str) -> None:
        delivery = self.queue.claim_delivery("send", 600)
        if delivery is None:
            raise AssertionError("nothing to deliver")
        self.queue.give_up(delivery, error)
