"""What a run writes about itself: `log.jsonl` and, when tensorboard is installed, its event file."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)


class Journal:
    """Figures by step."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "log.jsonl"
        self._writer: Any = None
        try:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(folder))
        except ImportError:
            log.warning("tensorboard=missing log=%s", self._path)

    def write(self, step: int, values: dict[str, float]) -> None:
        """Append one line of figures."""
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"step": step, **{name: round(value, 6) for name, value in values.items()}}) + "\n")
        log.info("step=%d %s", step, " ".join(f"{name}={value:.5g}" for name, value in values.items()))
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)
