"""Who gets in: sessions, the login form, forged forms, and the headers on every answer of the reading pages."""

from __future__ import annotations

import json
import logging
import secrets
import threading
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qsl

from fastapi import Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.concurrency import run_in_threadpool

from onenex.errors import StudyError
from onenex.reader.web.site import Site, Who
from onenex.web.passwords import NOBODY, password_matches
from onenex.web.safety import HEADERS, body_of, is_from_here, network_of, set_cookie, too_many
from onenex.web.sessions import Session

logger = logging.getLogger(__name__)

COOKIE, FORM_COOKIE = "onenex_reader", "onenex_reader_form"
"""Of somebody logged in; and of the login form alone."""
BODY_BYTES = 65_536
"""Largest form or answer that is read."""
DRAIN_BYTES = 8 * 2**20
"""Of a larger one so much is thrown away before it is refused, so that the sender hears why."""
HEAD_BYTES = 16_384
"""Largest headers that are read."""
CHECKS_AT_ONCE = 2
"""Passwords checked at the same time: each takes memory and a core."""

_CHECK_WAIT_S = 10.0
_JSON_PATHS = ("/answer", "/time")
"""Posted to by the page's own script; everything else is a form."""

Answer = Callable[[Request], Awaitable[Response]]


class LoggedOut(Exception):
    """The page needs a login."""


def login_form(request: Request) -> Response:
    """`/login`: the form, with a token that only this browser can send back."""
    return _login_page(request)


def login(request: Request) -> Response:
    """`POST /login`: check the password, and start a session."""
    site: Site = request.app.state.site
    user, password = request.state.form.get("user", "")[:64], request.state.form.get("password", "")
    address = network_of(request)
    wait_s = max(site.address_attempts.begin(address), site.attempts.begin(f"{address} {user}"))
    if wait_s > 0:
        logger.warning("login refused, too many attempts address=%s", address)
        return too_many(_login_page(request, f"Too many attempts. Try again in {int(wait_s // 60) + 1} minutes.", 429), wait_s)
    people = site.store.readers()
    hashed = people.get(user)
    if not _checked(request, password, hashed):
        return _login_page(request, "Too many people log in at once. Try again.", 503)
    if not request.state.is_right or hashed is None:
        logger.warning("login failed address=%s", address)
        site.store.log("login failed", address=address)
        return _login_page(request, "User or password is wrong.", 403)
    site.attempts.succeeded(f"{address} {user}")
    site.address_attempts.succeeded(address)
    site.store.log("login", by=user, address=address)
    welcome = RedirectResponse("/", 303)
    set_cookie(welcome, COOKIE, site.sessions.start(user, hashed), secure=site.is_secure)
    welcome.delete_cookie(FORM_COOKIE, path="/login")
    return welcome


def logout(request: Request) -> Response:
    """`POST /logout`: end the session, here and at the server."""
    site: Site = request.app.state.site
    session: Session = request.state.session
    site.sessions.end(session)
    site.store.log("logout", by=session.user)
    goodbye = RedirectResponse("/login?note=logout", 303)
    goodbye.delete_cookie(COOKIE)
    return goodbye


def token(request: Request) -> Response:
    """`/token`: the session's token, for a page that was loaded in an earlier one. Other sites' pages cannot read it."""
    who: Who = request.state.who
    if not who.user or not is_from_here(request):
        return JSONResponse({"error": "You are logged out."}, 403)
    return JSONResponse({"token": who.token})


async def guarded(request: Request, answer: Answer) -> Response:
    """Let through what may pass, and put the headers on what comes back."""
    site: Site = request.app.state.site
    try:
        await run_in_threadpool(_recognise, request, site)
        if sum(len(name) + len(value) for name, value in request.headers.raw) > HEAD_BYTES:
            response: Response | None = refused(request, "Your browser sends headers that are too long.", 431)
        else:
            response = await _forged(request, site) if request.method == "POST" else None
    except StudyError as error:
        response = out_of_order(request, error)
    if response is None:
        response = await answer(request)
    for name, value in HEADERS.items():
        response.headers[name] = value
    return response


def required(request: Request) -> Who:
    """Return who is logged in.

    Raises
    ------
    LoggedOut
        Nobody is.
    """
    who: Who = request.state.who
    if not who.user:
        raise LoggedOut
    return who


def refused(request: Request, words: str, status: int) -> Response:
    """Say no: as a page, or in JSON to the page's own script."""
    if _is_json(request):
        return JSONResponse({"error": words}, status)
    site: Site = request.app.state.site
    return site.page(request, "message.html", status=status, heading=HEADINGS.get(status, "Failed"), words=words)


def out_of_order(request: Request, error: StudyError) -> Response:
    """Say that the study cannot be used, and why in the log."""
    logger.error("page failed error=%s", error)
    return refused(request, "The study cannot be used at the moment. Tell whoever runs it: the log says more.", 503)


HEADINGS = {
    400: "That makes no sense",
    403: "Not allowed",
    404: "Not found",
    413: "Too much",
    422: "Not complete",
    429: "Too many attempts",
    431: "Too much",
    503: "Not now",
}
"""Of the page that says what is wrong."""


def _checked(request: Request, password: str, hashed: str | None) -> bool:
    """Check a password into `request.state.is_right`, an unknown user's against nobody's; False where too many are being checked."""
    hashing: threading.BoundedSemaphore = request.app.state.hashing
    if not hashing.acquire(timeout=_CHECK_WAIT_S):
        return False
    try:
        request.state.is_right = password_matches(password, hashed or NOBODY)
    finally:
        hashing.release()
    return True


def _login_page(request: Request, problem: str = "", status: int = 200) -> Response:
    site: Site = request.app.state.site
    nonce = secrets.token_hex(16)
    page = site.page(request, "login.html", status=status, problem=problem, form_token=site.sessions.token(f"login {nonce}"))
    set_cookie(page, FORM_COOKIE, nonce, path="/login", secure=site.is_secure)
    return page


def _recognise(request: Request, site: Site) -> None:
    """Find out who asks."""
    cookie = request.cookies.get(COOKIE, "")
    session = site.sessions.read(cookie, site.store.readers()) if cookie else None
    request.state.session, request.state.who = session, Who()
    if session is not None:
        request.state.who = Who(user=session.user, token=site.sessions.token(session.nonce), is_admin=site.store.is_admin(session.user))


async def _forged(request: Request, site: Site) -> Response | None:
    """Read what was sent; refuse it when too large, from another site's page, or without the token of this session."""
    body = await body_of(request, BODY_BYTES)
    if body is None:
        await body_of(request, DRAIN_BYTES)
        return refused(request, "This is too large: at most 64 KiB can be sent at once.", 413)
    is_json = _is_json(request)
    try:
        form = json.loads(body) if is_json else dict(parse_qsl(body.decode(), max_num_fields=20))
    except (ValueError, RecursionError):
        return refused(request, "This cannot be read.", 400)
    if not isinstance(form, dict) or is_json != request.url.path.endswith(_JSON_PATHS):
        return refused(request, "This cannot be read.", 400)
    request.state.form = form
    if request.url.path == "/login":
        nonce = f"login {request.cookies[FORM_COOKIE]}" if FORM_COOKIE in request.cookies else ""
    else:
        nonce = request.state.session.nonce if request.state.session else ""
    given = request.headers.get("x-token", "") if is_json else form.get("token", "")
    if is_from_here(request) and site.sessions.token_fits(given, nonce):
        return None
    return refused(request, "Log in, load the page again, and try once more.", 403)


def _is_json(request: Request) -> bool:
    return request.headers.get("content-type", "").partition(";")[0].strip() == "application/json"
