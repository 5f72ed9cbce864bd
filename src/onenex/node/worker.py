"""A worker: takes a series, denoises it as `onenex denoise` does, and says what became of it.

It may be killed at any instant. A result appears in the outbox whole or not at all, and one that is there is taken over by
whoever gets the series next.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import secrets
import shutil
import socket
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onenex.errors import NodeError, OneNexError
from onenex.node.audit import Audit, uid_hash
from onenex.node.config import NodeConfig, Rule
from onenex.node.database.spool import Spool
from onenex.node.decoded import too_large
from onenex.node.headers import read_header
from onenex.node.outbox import Result, adopt, item_of, link_sources, publish, staging
from onenex.node.queue import Queue
from onenex.node.records import Job
from onenex.node.rules import UNREADABLE, matching, named
from onenex.options import Options
from onenex.pipeline import Denoiser, denoise_path
from onenex.results import RunReport, SeriesResult

logger = logging.getLogger(__name__)

IDLE_S = 0.5
"""Between two looks into an empty queue."""
PAUSE_S, LONGEST_PAUSE_S = 10.0, 600.0
"""After a failure that may pass; the next time twice as long, and so on, but never longer than the second."""
STALLED_S = 3600.0
"""Without any progress for so long, the process ends itself: a codec may hang on damaged pixels. The attempt has counted."""


class TryAgain(NodeError):
    """A series failed in a way that a new process may not."""


class _Abandoned(BaseException):
    """Leave the series in hand; a BaseException, so that only the cleaning up on the way out sees it."""


def run(config: NodeConfig, stop: threading.Event) -> None:
    """Denoise what the queue gives until `stop` is set.

    Raises
    ------
    NodeError
        The queue does not answer, or a series failed in a way that a new process may not: start the worker again.
    ModelError
        The weights cannot be loaded.
    """
    from onenex.model import load

    model = load(config.node.device, config.node.weights)
    Worker(config=config, model=model, stop=stop).run()


@dataclass(kw_only=True)
class Worker:
    """One worker process."""

    config: NodeConfig
    model: Denoiser
    stop: threading.Event = field(default_factory=threading.Event)
    pause_s: float = PAUSE_S
    stalled_s: float = STALLED_S
    owner: str = field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}")
    queue: Queue = field(init=False)
    spool: Spool = field(init=False)
    audit: Audit = field(init=False)
    _moved: bool = field(init=False, default=True)

    def __post_init__(self) -> None:
        """Open the node's folder."""
        folder = self.config.node.folder
        self.queue, self.spool, self.audit = Queue(folder), Spool(folder, self.config.limits.reserve_bytes), Audit(folder)

    def run(self) -> None:
        """Work until stopped."""
        logger.info("worker ready weights=%s", self.model.weights_hash)
        while not self.stop.is_set():
            if not self.once():
                self.stop.wait(IDLE_S)

    def once(self) -> bool:
        """Take a series and bring it to an end; False when there was none, or no room for its result.

        Raises
        ------
        TryAgain
            It failed in a way that a new process may not; the queue knows.
        """
        if shutil.disk_usage(self.spool.folder).free < self.spool.reserve_bytes // 2:  # the receiver stops at the whole of it
            logger.warning("no room to denoise reserve_mb=%d", self.config.limits.reserve_mb)
            return False
        job = self.queue.claim(self.owner, self.config.node.lease_s, self.config.node.attempts)
        if job is None:
            return False
        with self._leased(job) as lost:
            try:
                self._work(job, lost)
            except _Abandoned:
                given_back = self.queue.release(job)
                logger.info("series abandoned series=%d given_back=%s", job.series_id, given_back)
            except TryAgain:
                raise
            except Exception as error:  # one odd series must not end the node, nor what it says reach the logs
                self._postpone(job, _words(error), lost)
        return True

    @contextmanager
    def _leased(self, job: Job) -> Iterator[threading.Event]:
        """Keep the lease as long as the block runs; the event says that it's lost. A block that stands still ends the process."""
        done, lost = threading.Event(), threading.Event()
        lease_s = self.config.node.lease_s

        def beat() -> None:
            while not done.wait(lease_s / 4):
                try:
                    if not self.queue.beat(job, lease_s):
                        lost.set()
                        return
                except NodeError as error:
                    logger.warning("no heartbeat series=%d error=%s", job.series_id, error)

        thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
        thread.start()
        self._watch()
        try:
            yield lost
        finally:
            faulthandler.cancel_dump_traceback_later()
            done.set()
            thread.join()

    def _watch(self) -> None:
        """End the process unless this is called again in time; it works also where Python itself hangs."""
        faulthandler.dump_traceback_later(self.stalled_s, exit=True)

    def _work(self, job: Job, lost: threading.Event) -> None:
        hashed = uid_hash(job.series_uid)
        facts: dict[str, Any] = {"series": job.series_id, "series_hash": hashed, "pass": job.pass_number}
        target = self.spool.outbox(job.series_id, job.pass_number)
        result = adopt(target, job)
        if result is None:
            rule = self._rule(job)
            refusal = rule if isinstance(rule, str) else too_large(job.files, self.config.limits.decoded_bytes)
            if isinstance(rule, str) or refusal is not None:
                self._skip(job, str(refusal), facts)
                return
            self.audit.write("denoising", **facts, rule=rule.name, attempt=job.attempt, images=len(job.files), weights=self.model.weights_hash)
            result = self._denoise(job, rule, lost, facts)
        if result is not None:
            weights = result.details.get("weights")
            self.audit.write("denoised", **facts, images=len(result.outputs), weights=weights, destinations=list(job.destinations))
            if not self.queue.finish(job, result.outputs, result.note, result.details):
                logger.warning("lease lost, result not handed over series=%d", job.series_id)

    def _rule(self, job: Job) -> Rule | str:
        """Return the rule of a job, or why it's no longer denoised: `node.toml` may have changed since a rule decided."""
        rule = named(self.config, job.rule)
        if rule is None:
            header = next((header for header in map(read_header, job.files) if header is not None), None)
            rule = matching(self.config, header, calling_ae=job.calling_ae, called_ae=job.called_ae)
        if rule is None:
            return UNREADABLE
        return rule if rule.action == "denoise" else f"rule '{rule.name}' no longer has it denoised"

    def _denoise(self, job: Job, rule: Rule, lost: threading.Event, facts: dict[str, Any]) -> Result | None:
        """Denoise a series into the outbox; None when there was nothing to denoise, or it failed: then the queue knows."""

        def tell(_: str, done: int, total: int) -> None:
            self._watch()
            if lost.is_set() or self.stop.is_set():
                raise _Abandoned

        missing = sum(not path.is_file() for path in job.files)
        if missing:
            self._fail(job, f"{missing} of {len(job.files)} images have gone from the spool: restore them, then retry", facts)
            return None
        options = Options(mode=rule.mode, strength=rule.strength, suffix=_suffix(rule, job))
        with staging(self.spool.outboxes, job) as folder:
            link_sources(job.files, folder / "in")
            try:
                report = denoise_path(folder / "in", folder / "out", options, model=self.model, progress=tell)
            except (OneNexError, OSError) as error:
                raise NodeError(_without(_words(error), folder)) from error
            denoised = [one for one in report.series if one.status == "denoised"]
            why = _reasons([one for one in report.series if one.status != "denoised"], folder)
            failed = [one for one in report.series if one.status == "failed"]
            if not denoised and any(one.transient for one in failed):
                raise NodeError(why)
            if not denoised:
                self._fail(job, why, facts) if failed else self._skip(job, why, facts)
                return None
            items = tuple(item_of(path) for one in denoised for path in one.outputs)
            result = Result(outputs=items, note=why, details=_details(report, denoised, rule))
            return publish(folder / "out", self.spool.outbox(job.series_id, job.pass_number), job, result)

    def _skip(self, job: Job, reason: str, facts: dict[str, Any]) -> None:
        self.audit.write("skipped", **facts, reason=reason)
        self.queue.skip(job, reason)

    def _fail(self, job: Job, reason: str, facts: dict[str, Any]) -> None:
        self.audit.write("failed", **facts, reason=reason)
        logger.error("series failed series=%d attempt=%d reason=%s", job.series_id, job.attempt, reason)
        self.queue.fail(job, reason, final=True)

    def _postpone(self, job: Job, reason: str, lost: threading.Event) -> None:
        """Give a series back for another attempt after a while, or fail it if this was the last; then end this process.

        Raises
        ------
        TryAgain
            Always.
        """
        is_last = job.attempt >= self.config.node.attempts
        self.audit.write(
            "failed", series=job.series_id, series_hash=uid_hash(job.series_uid), **{"pass": job.pass_number}, reason=reason, final=is_last
        )
        logger.error("series failed series=%d attempt=%d final=%s reason=%s", job.series_id, job.attempt, is_last, reason)
        if not is_last:
            self.stop.wait(min(self.pause_s * 2 ** (job.attempt - 1), LONGEST_PAUSE_S))  # the lease goes on: no other worker runs into the same wall
        if not lost.is_set():
            self.queue.fail(job, reason, final=is_last)
        raise TryAgain(f"series {job.series_id} failed: {reason}")


def _suffix(rule: Rule, job: Job) -> str:
    """Return what ends the derived description: later passes have other pixels, so they need other UIDs and say why."""
    return f"{rule.suffix} pass {job.pass_number}".strip() if job.pass_number > 1 else rule.suffix


def _reasons(results: Sequence[SeriesResult], folder: Path) -> str:
    return "; ".join(dict.fromkeys(_without(one.reason or one.status, folder) for one in results))


def _words(error: Exception) -> str:
    """Return why a series failed: what OneNEX says itself; of others' errors no more than where, as they quote headers and UIDs."""
    if isinstance(error, OneNexError):
        return str(error)
    last = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(last.filename).name}:{last.lineno}"
    if isinstance(error, OSError):
        return f"a file cannot be read or written ({error.strerror or type(error).__name__}, {where}): see whether the disk is well"
    return f"unexpected {type(error).__name__} at {where}: please report it"


def _without(text: str, folder: Path) -> str:
    """Return a message without our temporary folder."""
    for place in (folder, folder.resolve()):
        text = (
            text.replace(f"{place}/in/", "")
            .replace(f"{place}/in", "the series")
            .replace(f"{place}/out", "the outbox")
            .replace(str(place), "the outbox")
        )
    return text


def _details(report: RunReport, denoised: Sequence[SeriesResult], rule: Rule) -> dict[str, Any]:
    """Return how a series was denoised, for the status page; nothing of it names a patient."""
    guards = [one.guard for one in denoised if one.guard is not None]
    return {
        "rule": rule.name,
        "mode": report.mode,
        "strength": report.strength,
        "seed": report.seed,
        "weights": report.weights_hash,
        "version": report.version,
        "seconds": round(report.seconds, 1),
        "images": sum(one.n_images for one in denoised),
        "guard": "; ".join(guard.text() for guard in guards),
        "guard_touched": sum(len(guard.touched) for guard in guards),
        "notes": list(dict.fromkeys(note for one in denoised for note in one.notes)),
    }
