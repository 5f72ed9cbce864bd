"""The clerk: finds the series that are complete, lets a rule decide, and keeps the node's folder tidy. There is one.

It may be killed at any instant: a decision is in the audit trail before it's in the queue, so at worst the trail holds one twice.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from onenex.node.audit import Audit, uid_hash
from onenex.node.config import NodeConfig
from onenex.node.database.spool import Spool
from onenex.node.headers import read_header
from onenex.node.queue import Queue
from onenex.node.records import Route, SeriesView
from onenex.node.retention import keep_house
from onenex.node.rules import decide

logger = logging.getLogger(__name__)

TICK_S = 0.5
"""Between two looks for complete series."""
TIDY_EVERY_S = 300.0
"""Between two rounds of retention; the first comes at once."""
LOOK_AT_FILES = 5
"""Files of a series that are tried until one has a readable header."""


def run(config: NodeConfig, stop: threading.Event) -> None:
    """Keep the queue going until `stop` is set.

    Raises
    ------
    NodeError
        Queue, spool or audit trail do not answer: start the clerk again.
    """
    folder = config.node.folder
    queue, spool, audit = Queue(folder), Spool(folder, config.limits.reserve_bytes), Audit(folder)
    adopted = queue.recover(spool)
    logger.info("clerk ready adopted=%d", adopted)
    if adopted:
        audit.write("recovered", images=adopted)
    tidied = -TIDY_EVERY_S
    while not stop.is_set():
        route_complete(config, queue, audit)
        if time.monotonic() - tidied >= TIDY_EVERY_S:
            _tidy(config, queue, spool, audit)
            tidied = time.monotonic()
        stop.wait(TICK_S)


def _tidy(config: NodeConfig, queue: Queue, spool: Spool, audit: Audit) -> None:
    """Do a round of retention; a file that cannot be deleted must not keep series from going on."""
    try:
        keep_house(config, queue, spool, audit)
    except OSError as error:
        logger.error("retention failed, it is tried again in %d s error='%s'", TIDY_EVERY_S, error.strerror)


def route_complete(config: NodeConfig, queue: Queue, audit: Audit) -> int:
    """Send every complete series on the way that its rule decides; return how many."""
    n_routed = 0
    for series_id in queue.close_quiet(config.completion.quiet_s, config.completion.expected_quiet_s):
        view = queue.one(series_id)
        if view is None:
            continue
        route = _decide(config, queue.files(series_id), view)
        audit.write(
            "decided",
            series=series_id,
            series_hash=uid_hash(view.series_uid),
            **{"pass": view.pass_number},
            images=view.n_images,
            sender=view.calling_ae,
            rule=route.rule,
            action=route.action,
            originals=route.originals,
            destinations=list(route.destinations),
            reason=route.reason,
        )
        is_routed = queue.route(series_id, route)
        n_routed += is_routed
        logger.info("series decided series=%d rule='%s' action=%s images=%d routed=%s", series_id, route.rule, route.action, view.n_images, is_routed)
    return n_routed


def _decide(config: NodeConfig, files: Sequence[Path], view: SeriesView) -> Route:
    """Let the rules judge a series by the first of its files that can be read; where that breaks, the originals go on."""
    try:
        header = next((header for header in map(read_header, files[:LOOK_AT_FILES]) if header is not None), None)
        return decide(config, header, calling_ae=view.calling_ae, called_ae=view.called_ae)
    except Exception as error:  # one odd header must not stop all other series
        logger.exception("series could not be judged series=%d", view.series_id)
        names = tuple(one.name for one in config.destinations)
        reason = f"no rule could judge it (unexpected {type(error).__name__}): please report it"
        return Route(rule="", action="pass", destinations=names, originals="always", reason=reason)
