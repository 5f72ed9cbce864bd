"""Any sequence of calls, stale leases and restarts included, against a simple model of hospital, workers and PACS.

ONENEX_FUZZ=1000 tries so many sequences, at random; the suite always tries the same few.
"""

import os
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from onenex.node.database import clock
from onenex.node.queue import Queue
from onenex.node.records import Arrival, Delivery, Item, Job, Kind, Outcome, Route, SeriesView, State
from tests.node.arriving import arrival, output, to

EXAMPLES = int(os.environ.get("ONENEX_FUZZ", "0"))
LEASE_S = 10.0
_PICK = st.integers(0, 30)
_IMAGES = st.lists(st.builds(arrival, st.integers(1, 3), series=st.integers(1, 2), pixels=st.sampled_from(["", "", "b"])), min_size=1, max_size=3)
_ROUTES = st.builds(
    to,
    st.sampled_from(["A", "B"]),
    action=st.sampled_from(["denoise", "denoise", "pass", "refuse"]),
    originals=st.sampled_from(["always", "with-result"]),
)


class Hospital(RuleBasedStateMachine):
    """What was acknowledged, who holds which lease, what each PACS has stored and promised."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
        self.time, self.boot = 1000.0, 0
        self.clock = ExitStack()
        for name, answer in (("now", lambda: self.time), ("boot_id", lambda: f"boot{self.boot}")):
            self.clock.enter_context(mock.patch.object(clock, name, answer))
        self.queue = Queue(self.folder)
        self.acknowledged: dict[str, Arrival] = {}
        self.forgotten: set[str] = set()
        self.derived: dict[str, int] = {}
        """UID → series, of what a finish() took."""
        self.jobs: list[Job] = []
        self.live: dict[int, tuple[Job, float]] = {}
        self.deliveries: list[Delivery] = []
        self.lent: dict[int, tuple[Delivery, float]] = {}
        self.pacs: dict[str, set[str]] = {"A": set(), "B": set()}
        self.questions: dict[str, Delivery] = {}
        self.n = 0

    def teardown(self) -> None:
        self.bring_to_an_end()
        self.queue.close()
        self.clock.close()
        shutil.rmtree(self.folder)

    # --- the way in

    @initialize()
    def first(self) -> None:
        self.arrive([arrival(1), arrival(1, series=2)])

    @rule(images=_IMAGES)
    def arrive(self, images: list[Arrival]) -> None:
        for image, outcome in zip(images, self.queue.register(images), strict=True):
            before = self.acknowledged.get(image.sop_uid)
            if before is None:
                assert outcome is Outcome.NEW
                self.acknowledged[image.sop_uid] = image
                row = self.queue.view(limit=2)
                late = next(one.series_id for one in row if one.series_uid == image.series_uid)
                self.live.pop(late, None)
            else:
                assert outcome is (Outcome.AGAIN if before.digest == image.digest else Outcome.CONFLICT)

    @rule(pick=_PICK)
    def derived_comes_back(self, pick: int) -> None:
        for uid in sorted(self.derived)[pick : pick + 1]:
            back = arrival(9, series=9)
            assert self.queue.register([Arrival(**{**vars(back), "sop_uid": uid})]) == [Outcome.AGAIN]

    @rule(route=_ROUTES)
    def route(self, route: Route) -> None:
        for series_id in self.queue.close_quiet(5, 1):
            assert self.queue.route(series_id, route)
            assert not self.queue.route(series_id, route)
            self._check_whole(series_id, route)

    def _check_whole(self, series_id: int, route: Route) -> None:
        """Every original of a series is on its way to where the rule says, or was, once."""
        one = self.queue.one(series_id)
        assert one is not None
        held = [way.n_items for way in one.deliveries if way.kind is Kind.ORIGINAL and way.destination == route.destinations[0]]
        assert route.action == "refuse" or sum(held) == one.n_images

    @rule(images=_IMAGES, route=_ROUTES)
    def image_before_route(self, images: list[Arrival], route: Route) -> None:
        quiet = self.queue.close_quiet(5, 1)
        before = {one.series_id: one.n_images for one in self.queue.view()}
        self.arrive(images)
        for series_id in quiet:
            came = next(one.n_images for one in self.queue.view() if one.series_id == series_id) != before[series_id]
            assert self.queue.route(series_id, route) is not came

    # --- time

    @rule(seconds=st.sampled_from([1, 6, 6, 20]))
    def wait(self, seconds: float) -> None:
        self.time += seconds

    @rule()
    def restart(self) -> None:
        self.queue.close()
        self.boot, self.time = self.boot + 1, 3.0
        self.queue = Queue(self.folder)
        for dead in (self.live, self.lent, self.jobs, self.deliveries):
            dead.clear()

    # --- workers

    @rule(attempts=st.sampled_from([1, 3, 3]))
    def claim(self, attempts: int) -> None:
        job = self.queue.claim("worker", LEASE_S, attempts)
        if job is not None:
            assert job.series_id not in self.live or self.live[job.series_id][1] <= self.queue.now()
            self.live[job.series_id] = (job, self.queue.now() + LEASE_S)
            self.jobs.append(job)
            assert set(job.files) == {one.path for one in self.acknowledged.values() if one.series_uid == job.series_uid} - self._paths_forgotten()

    def _paths_forgotten(self) -> set[Path]:
        return {self.acknowledged[uid].path for uid in self.forgotten if uid in self.acknowledged}

    @rule(pick=_PICK, what=st.sampled_from(["finish", "finish", "finish", "skip", "fail", "final", "release", "beat"]))
    def work(self, pick: int, what: str) -> None:
        if not self.jobs:
            return
        job = self.jobs[-1 - pick % len(self.jobs)]
        held = job.series_id in self.live and self.live[job.series_id][0] == job
        self.n += 1
        item = output(self.n, series=job.series_id)
        done = {
            "finish": lambda: self.queue.finish(job, [item]),
            "skip": lambda: self.queue.skip(job, "no"),
            "fail": lambda: self.queue.fail(job, "no", False),
            "final": lambda: self.queue.fail(job, "no", True),
            "release": lambda: self.queue.release(job),
            "beat": lambda: self.queue.beat(job, LEASE_S),
        }[what]()
        expired = held and self.live[job.series_id][1] <= self.queue.now()  # an over-due claim may have failed the series for good
        assert done is held or (expired and not done)
        if done and what == "finish":
            self.derived[item.sop_uid] = job.series_id
        if done and what == "beat":
            self.live[job.series_id] = (job, self.queue.now() + LEASE_S)
        elif held:
            del self.live[job.series_id]

    # --- the way out

    @rule(busy=st.sampled_from([(), (), ("A",)]))
    def claim_delivery(self, busy: tuple[str, ...]) -> None:
        delivery = self.queue.claim_delivery("sender", LEASE_S, busy)
        if delivery is not None:
            held = self.lent.get(delivery.delivery_id)
            assert held is None or held[1] <= self.queue.now()
            assert delivery.destination not in busy
            self.lent[delivery.delivery_id] = (delivery, self.queue.now() + LEASE_S)
            self.deliveries.append(delivery)

    @rule(pick=_PICK, n=st.integers(0, 4), what=st.sampled_from(["ask", "ask", "done", "done", "postpone", "give up", "die"]))
    def send(self, pick: int, n: int, what: str) -> None:
        if not self.deliveries:
            return
        delivery = self.deliveries[-1 - pick % len(self.deliveries)]
        items = delivery.items if what in ("ask", "done") else delivery.items[:n]
        self._store(delivery, items)
        self.queue.sent(delivery, [one.sop_uid for one in items])
        if what == "ask":
            self.n += 1
            self.questions[f"1.2.{self.n}"] = delivery
            self.queue.delivered(delivery, f"1.2.{self.n}")
        elif what == "done":
            self.queue.delivered(delivery, None)
        elif what == "postpone":
            self.queue.postpone(delivery, "later", 5)
        elif what == "give up":
            self.queue.give_up(delivery, "never")
        if what != "die" and self.lent.get(delivery.delivery_id, (None,))[0] == delivery:
            del self.lent[delivery.delivery_id]

    def _store(self, delivery: Delivery, items: tuple[Item, ...]) -> None:
        for item in items:
            assert item.sop_uid in (self.acknowledged if delivery.kind is Kind.ORIGINAL else self.derived), "sent what nobody made"
            self.pacs[delivery.destination].add(item.sop_uid)

    @rule(pick=_PICK, lose=st.booleans())
    def promise(self, pick: int, lose: bool) -> None:
        if not self.questions:
            return
        transaction, delivery = sorted(self.questions.items())[pick % len(self.questions)]
        asked = [one.sop_uid for one in delivery.items]
        lost = dict.fromkeys(asked[:1], "lost") if lose else {}
        if self.queue.committed(transaction, asked, lost):
            self.pacs[delivery.destination] -= set(lost)
            self.lent.pop(delivery.delivery_id, None)

    @rule()
    def ask_again(self) -> None:
        for delivery_id in self.queue.overdue(5):
            self.queue.ask_again(delivery_id)

    @rule(pick=_PICK)
    def retry(self, pick: int) -> None:
        self.queue.retry(1 + pick % 4)

    @rule()
    def forget(self) -> None:
        for one in self.queue.view():
            whole = self.queue.forgettable(0)
            expected = set(self.queue.files(one.series_id))
            files = self.queue.forget(one.series_id)
            assert bool(files) is (one.series_id in whole)
            if files:
                self._check_forgotten(one, files, expected)

    def _check_forgotten(self, one: SeriesView, files: list[Path], originals: set[Path]) -> None:
        assert originals <= set(files)
        assert one.state in (State.VERIFIED, State.PASSED_THROUGH)
        mine = {uid for uid, image in self.acknowledged.items() if image.path in originals}
        assert any(mine <= pacs for pacs in self.pacs.values()), "forgotten, and no PACS has all of it"
        made = {uid for uid, series_id in self.derived.items() if series_id == one.series_id}
        assert made <= self.pacs["A"] | self.pacs["B"]
        self.forgotten |= mine

    # --- what must always hold

    @invariant()
    def nothing_acknowledged_disappears(self) -> None:
        there = {path for one in self.queue.view() for path in self.queue.files(one.series_id)}
        assert there == {one.path for uid, one in self.acknowledged.items() if uid not in self.forgotten}
        totals = self.queue.totals()
        assert totals["received_images"] == len(self.acknowledged)
        assert totals["images"] + totals["forgotten_images"] == len(self.acknowledged)

    @invariant()
    def nothing_half_goes_out(self) -> None:
        """No derived image without `finish`, nothing forgettable that isn't verified."""
        for one in self.queue.view():
            n_derived = sum(series_id == one.series_id for series_id in self.derived.values())
            assert one.n_derived == n_derived
            assert n_derived or all(way.kind is Kind.ORIGINAL for way in one.deliveries)
        for series_id in self.queue.forgettable(0):
            found = self.queue.one(series_id)
            assert found is not None
            assert all(way.n_verified == way.n_items for way in found.deliveries)

    def bring_to_an_end(self) -> None:
        """Whatever happened: workers and PACS in order again, somebody retries, and everything arrives somewhere."""
        for _ in range(3):
            self.time += 100
            self.route(to("A"))
            for one in self.queue.view():
                self.queue.retry(one.series_id)
            self.time += 100
            self.route(to("A"))
            while (job := self.queue.claim("worker", LEASE_S, 1000)) is not None:
                self.n += 1
                item = output(self.n, series=job.series_id)
                assert self.queue.finish(job, [item])
                self.derived[item.sop_uid] = job.series_id
            for delivery_id in self.queue.overdue(0):
                self.queue.ask_again(delivery_id)
            while (delivery := self.queue.claim_delivery("sender", LEASE_S)) is not None:
                self._store(delivery, delivery.items)
                self.queue.sent(delivery, [one.sop_uid for one in delivery.items])
                self.queue.delivered(delivery, None)
        assert all(one.state in (State.VERIFIED, State.PASSED_THROUGH) for one in self.queue.view())
        assert set(self.acknowledged) <= self.pacs["A"] | self.pacs["B"]
        assert set(self.derived) <= self.pacs["A"] | self.pacs["B"]
        self.forget()
        assert self.queue.view() == []
        assert set(self.queue.register(list(self.acknowledged.values()))) == {Outcome.AGAIN}


TestHospital = Hospital.TestCase
TestHospital.settings = settings(
    max_examples=EXAMPLES or 12,
    stateful_step_count=40,
    deadline=None,
    derandomize=not EXAMPLES,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)
