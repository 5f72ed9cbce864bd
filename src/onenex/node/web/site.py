"""What every answer of the status page needs: configuration, queue, spool, sessions and templates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jinja2
from fastapi import Request
from fastapi.responses import HTMLResponse

from onenex import __version__
from onenex.node.audit import Audit
from onenex.node.config import NodeConfig
from onenex.node.database import clock
from onenex.node.database.spool import Spool
from onenex.node.queue import Queue
from onenex.node.records import SeriesView
from onenex.node.web.login import Passwords
from onenex.node.web.metrics import Health, health
from onenex.node.web.showing import DELIVERY_STATES, STATES, Identities, Identity, Reader, scrubbed, shown
from onenex.node.web.thumbnails import Thumbnails
from onenex.web.passwords import Attempts
from onenex.web.sessions import Sessions

NOTES = {
    "retried": "The series starts again.",
    "not-retried": "Nothing to retry: the series has not failed, or somebody was faster.",
    "paused": "Paused. Images are still received.",
    "resumed": "Running again.",
    "login": "You are logged in.",
    "logout": "You are logged out.",
}
"""What `?note=` may say; nothing else in the address gets onto a page."""
_SIGNS = {state.value: words.sign for state, words in STATES.items()}
_WAY_SIGNS = {state.value: words.sign for state, words in DELIVERY_STATES.items()}


@dataclass(frozen=True, kw_only=True)
class Site:
    """One status page."""

    config: NodeConfig
    queue: Queue
    spool: Spool
    audit: Audit
    identities: Identities
    thumbnails: Thumbnails
    passwords: Passwords | None
    """None without a password file: nothing can be changed."""
    sessions: Sessions
    attempts: Attempts
    templates: jinja2.Environment

    def health(self) -> Health:
        """Return how the node is."""
        return health(self.queue, self.config.node.folder, self.config.limits.reserve_bytes)

    def page(self, request: Request, name: str, *, status: int = 200, **words: Any) -> HTMLResponse:
        """Return a page made from a template."""
        general = {
            "reader": request.state.reader,
            "ae_title": self.config.node.ae_title,
            "version": __version__,
            "login": self.passwords is not None,
            "note": NOTES.get(request.query_params.get("note", ""), ""),
            "signs": _SIGNS,
            "way_signs": _WAY_SIGNS,
        }
        return HTMLResponse(self.templates.get_template(name).render(general | words), status_code=status)

    def shown(self, view: SeriesView, reader: Reader) -> dict[str, Any]:
        """Return a series as this reader may see it."""
        free_text = reader.inside or view.reason or any(one.error for one in view.deliveries)
        identity = self.identities.of(view) if free_text else Identity()
        return shown(view, reader, identity, self.scrub_for(view, reader))

    def scrub_for(self, view: SeriesView, reader: Reader) -> Callable[[str], str]:
        """Return what takes out of a text about this series whatever this reader may not see."""
        if reader.patients:
            return str
        return lambda text: scrubbed(text, self.identities.of(view), self.config.node.folder) if text else ""


def make_site(config: NodeConfig) -> Site:
    """Open what the page needs.

    Raises
    ------
    NodeError, AccessError
        The folder, the password file or the key of sessions cannot be used.
    """
    folder = config.node.folder
    spool, queue = Spool(folder), Queue(folder)
    return Site(
        config=config,
        queue=queue,
        spool=spool,
        audit=Audit(folder),
        identities=Identities(queue.files),
        thumbnails=Thumbnails(folder),
        passwords=Passwords(config.status.password_file) if config.status.password_file else None,
        sessions=Sessions(folder / "status.key", clock.now, clock.boot_id()),
        attempts=Attempts(clock.now),
        templates=_templates(),
    )


def _templates() -> jinja2.Environment:
    """Return the pages' templates; what goes into them is escaped."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("onenex.node.web", "pages"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
