"""Random histories of a node's folder: every part takes random steps, and every round of retention is watched."""

import random
from pathlib import Path

import pytest

from onenex.node.records import DeliveryState, Kind, SeriesView, State
from onenex.node.retention import keep_house
from tests.node.arriving import output, stored, to
from tests.node.working import Later, Site

STEPS = (
    "arrive",
    "arrive",
    "denoise",
    "pass",
    "refuse",
    "work",
    "skip",
    "fail",
    "send",
    "send",
    "commit",
    "lose",
    "give up",
    "retry",
    "tidy",
    "late",
)


def kept_by_all(view: SeriesView) -> bool:
    return view.state in (State.VERIFIED, State.PASSED_THROUGH) and all(one.state is DeliveryState.VERIFIED for one in view.deliveries)


class History:
    """Random steps of all parts of a node with four series."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.site, self.chance, self.n_files = Site(folder, Later(pytest.MonkeyPatch())), random.Random(seed), dict.fromkeys(range(1, 5), 0)
        self.queue = self.site.queue
        self.config = self.site.settings(retention={"days": 0, "high_water_gb": self.chance.choice([None, 1e-9])})

    def step(self, name: str) -> None:
        received = self.queue.view(state=State.RECEIVED)
        if name in ("arrive", "late"):
            series = self.chance.randint(1, 4)
            self.n_files[series] += 1
            self.queue.register([stored(self.site.spool, self.n_files[series], series=series)])
        elif name in ("denoise", "pass", "refuse") and received:
            originals = self.chance.choice(["always", "with-result", "never"])
            self.queue.route(received[0].series_id, to("near", "far", action=name, originals=originals))
        elif name in ("work", "skip", "fail"):
            self._work(name)
        elif name in ("send", "give up"):
            delivery = self.queue.claim_delivery("send", 60)
            if delivery is not None and name == "give up":
                self.queue.give_up(delivery, "refused")
            elif delivery is not None:
                self.queue.sent(delivery, [one.sop_uid for one in delivery.items])
                self.queue.delivered(delivery, self.chance.choice([None, f"1.{delivery.delivery_id}"]))
        elif name in ("commit", "lose"):
            self._answer(name)
        elif name == "retry":
            for view in self.queue.view(state=State.FAILED):
                self.queue.retry(view.series_id)
        elif name == "tidy":
            self.tidy()

    def _work(self, name: str) -> None:
        job = self.queue.claim("worker", 60, 9)
        if job is None:
            return
        if name == "work":
            folder = self.site.spool.outbox(job.series_id, job.pass_number)
            folder.mkdir()
            one = output(len(job.files), series=job.series_id * 10 + job.pass_number)
            path = folder / "a.dcm"
            path.write_bytes(b"derived")
            self.queue.finish(job, [type(one)(**{**vars(one), "path": path})])
        elif name == "skip":
            self.queue.skip(job, "a mosaic")
        else:
            self.queue.fail(job, "broken", final=self.chance.random() < 0.5)

    def _answer(self, name: str) -> None:
        for view in self.queue.view():
            for one in view.deliveries:
                if one.state is DeliveryState.SENT:
                    uids = [path.stem for path in self.queue.files(view.series_id)]
                    everything = [*uids, *(f"{uid}" for uid in self._derived(view))]
                    lost = {everything[0]: "no such image"} if name == "lose" and everything else {}
                    self.queue.committed(f"1.{one.delivery_id}", everything, lost)

    def _derived(self, view: SeriesView) -> list[str]:
        return [output(n, series=view.series_id * 10 + p).sop_uid for p in range(1, view.pass_number + 1) for n in range(1, 40)]

    def tidy(self) -> None:
        before = {view.series_id: view for view in self.queue.view()}
        files = {number: self.queue.files(number) for number in before}
        keep_house(self.config, self.queue, self.site.spool, self.site.audit)
        for number, view in before.items():
            folders = sum(1 for _ in self.site.spool.outboxes.glob(f"{number}-*"))
            if self.queue.one(number) is None:
                assert kept_by_all(view), view
                assert folders == 0
                assert not any(path.exists() for path in files[number])
            else:
                assert all(path.is_file() for path in files[number])
                assert folders == len({one.delivery_id for one in view.deliveries if one.kind is Kind.DERIVED}) // 2
