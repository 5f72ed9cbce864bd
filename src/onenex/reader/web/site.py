"""What every answer of the reading pages needs: the study, sessions and templates."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from fastapi import Request
from fastapi.responses import HTMLResponse

from onenex import __version__
from onenex.reader.store import Store
from onenex.web.passwords import Attempts
from onenex.web.sessions import Sessions

NOTES = {
    "logout": "You are logged out.",
    "finished": "This session is finished. Thank you.",
    "closed": "This case cannot be opened: it is finished, or its session is not open.",
}
"""What `?note=` may say; nothing else in the address gets onto a page."""
KEY_FILE = "pages.key"
"""Signs the session cookies; in the study's folder."""
TRIES_OF_ADDRESS = 30
"""Failed logins of one address, whoever it tries to be: readers may share one. Of one name it is `passwords.TRIES`."""

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, kw_only=True)
class Who:
    """Who looks."""

    user: str = ""
    """Empty when nobody is logged in."""
    token: str = ""
    """For forms and saved answers."""
    is_admin: bool = False


@dataclass(frozen=True, kw_only=True)
class Site:
    """One study's pages."""

    store: Store
    title: str
    sessions: Sessions
    attempts: Attempts
    """By address and name."""
    address_attempts: Attempts
    """By address alone."""
    templates: jinja2.Environment
    is_secure: bool
    """Served over TLS: cookies never go without it."""

    def page(self, request: Request, name: str, *, status: int = 200, **words: Any) -> HTMLResponse:
        """Return a page made from a template."""
        general = {
            "who": getattr(request.state, "who", Who()),
            "study": self.title,
            "version": __version__,
            "note": NOTES.get(request.query_params.get("note", ""), ""),
        }
        return HTMLResponse(self.templates.get_template(name).render(general | words), status_code=status)


def make_site(folder: Path, *, is_secure: bool = False, store: Store | None = None) -> Site:
    """Open what the pages need.

    Parameters
    ----------
    folder
        The study's, as `onenex study create` made it.
    is_secure
        Whether they are served over TLS.
    store
        The study where it is open already.

    Raises
    ------
    StudyError, AccessError
        The folder or the key of sessions cannot be used.
    """
    store = store or Store(folder)
    now, boot = (time.monotonic, _BOOT_ID.read_text(encoding="ascii").strip()) if _BOOT_ID.exists() else (time.monotonic, secrets.token_hex(16))
    return Site(
        store=store,
        title=store.facts().title,
        sessions=Sessions(folder / KEY_FILE, now, boot),
        attempts=Attempts(now),
        address_attempts=Attempts(now, tries=TRIES_OF_ADDRESS),
        templates=_templates(),
        is_secure=is_secure,
    )


def _templates() -> jinja2.Environment:
    """Return the pages' templates; what goes into them is escaped."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("onenex.reader.web", "pages"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
