"""`onenex batch`, with actors that die of one series: python poisoned.py SRC -o DST --ray ADDRESS."""

import importlib
import os
import signal
import sys

from onenex.batch import Row, Unit
from onenex.cluster import stream
from onenex.cluster.actors import Denoise


class Mortal(Denoise):
    """Dies of a series, as of want of memory."""

    def _attempt(self, unit: Unit) -> Row:
        if unit.source.endswith("s003"):
            os.kill(os.getpid(), signal.SIGKILL)
        return super()._attempt(unit)


if __name__ == "__main__":
    from onenex.cli import main

    stream.Denoise = importlib.import_module("tests.cluster.poisoned").Mortal  # by its name, so that actors find it
    sys.argv[0] = "batch"
    sys.argv.insert(0, "onenex")
    main()
