"""A clock for the tests of the queue."""

import pytest

from onenex.node.database import clock


class Machine:
    """A clock that the test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.boot = 1000.0, "first"
        monkeypatch.setattr(clock, "now", lambda: self.now)
        monkeypatch.setattr(clock, "boot_id", lambda: self.boot)

    def restart(self) -> None:
        self.now, self.boot = 5.0, self.boot + "again"
