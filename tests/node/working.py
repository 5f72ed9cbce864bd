"""A node's folder at work, without processes: series arrive, the clerk decides, a worker denoises with a quick model."""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from onenex.node.audit import Audit
from onenex.node.clerk import route_complete
from onenex.node.config import NodeConfig
from onenex.node.database import clock
from onenex.node.records import SeriesView
from onenex.node.worker import Worker
from onenex.series import Denoised
from tests.fake_model import FakeModel
from tests.node.filled import NAME, TELLTALES, Filled

PACS = {"ae_title": "PACS", "host": "127.0.0.1", "port": 104}
QUIET_S, EXPECTED_S = 60.0, 5.0


class Later:
    """Lets node time go by for every queue of this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.shift, now = 0.0, clock.now
        monkeypatch.setattr(clock, "now", lambda: now() + self.shift)

    def __call__(self, seconds: float) -> None:
        self.shift += seconds


class Hooked(FakeModel):
    """Does something before it denoises."""

    def __init__(self, hook: Callable[[], None], **how: Any) -> None:
        super().__init__(**how)
        self.hook = hook

    def denoise(self, *args: Any, **keywords: Any) -> Denoised:
        self.hook()
        return super().denoise(*args, **keywords)


class Site(Filled):
    """A node with two PACS."""

    def __init__(self, folder: Path, later: Later) -> None:
        super().__init__(folder)
        self.later, self.audit = later, Audit(self.folder)

    def settings(self, *rules: dict[str, Any], **tables: dict[str, Any]) -> NodeConfig:
        node = {"folder": self.folder, "device": "cpu", "lease_s": 20, **tables.pop("node", {})}
        merged: dict[str, Any] = {"limits": {"reserve_mb": 0}, "completion": {"quiet_s": QUIET_S, "expected_quiet_s": EXPECTED_S}, **tables}
        destinations = [{"name": "near", **PACS}, {"name": "far", **PACS}]
        return NodeConfig.model_validate({"node": node, "destinations": destinations, "rules": list(rules), **merged})

    def decided(self, config: NodeConfig, n_slices: int = 3, **attrs: Any) -> int:
        """Receive a series and let the clerk decide; return its number."""
        series_id = self.arrive(self.series(n_slices, rows=32, columns=24, **attrs))
        self.close(config)
        return series_id

    def close(self, config: NodeConfig) -> int:
        self.later(QUIET_S)
        return route_complete(config, self.queue, self.audit)

    def worker(self, config: NodeConfig, model: FakeModel | None = None, **how: Any) -> Worker:
        return Worker(config=config, model=model or FakeModel(), **{"pause_s": 0.0, **how})

    def one(self, series_id: int) -> SeriesView:
        view = self.queue.one(series_id)
        if view is None:
            raise AssertionError(f"series {series_id} is not there")
        return view

    def deliveries(self, series_id: int) -> list[str]:
        """Return "kind destination state images" of each."""
        return sorted(f"{one.kind} {one.destination} {one.state} {one.n_items}" for one in self.one(series_id).deliveries)

    def events(self, event: str = "") -> list[dict[str, Any]]:
        """Return the audit trail's lines, all or those of one event."""
        lines = [json.loads(line) for line in self.audit.path.read_text().splitlines()] if self.audit.path.exists() else []
        return [line for line in lines if event in ("", line["event"])]

    def outbox(self) -> list[str]:
        return sorted(path.name for path in self.spool.outboxes.iterdir())

    @contextmanager
    def discreet(self, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
        """Fail if the block says anything of a patient: in logs, audit trail, reasons or errors of deliveries."""
        with caplog.at_level(logging.INFO):
            yield
        said = [record.getMessage() for record in caplog.records] + [self.audit.path.read_text()]
        said += [view.reason for view in self.queue.view(limit=1000)] + [repr(dict(self.queue.details(view.series_id))) for view in self.queue.view()]
        found = [word for word in (*TELLTALES, NAME) for text in said if word in text]
        if found or not said:
            raise AssertionError(f"{found} in {said}")
