"""Who gets in: sessions, the login form, forged forms, strangers, and the headers on every answer of the status page."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qsl

from fastapi import Request
from fastapi.responses import PlainTextResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from onenex.node.web.metrics import QUEUE_ERRORS
from onenex.node.web.showing import Reader
from onenex.node.web.site import Site
from onenex.web.safety import HEADERS, body_of, is_from_here, is_loopback, network_of, set_cookie, too_many
from onenex.web.sessions import Session

logger = logging.getLogger(__name__)

COOKIE, FORM_COOKIE = "onenex_session", "onenex_form"
"""Of somebody logged in; and of the login form alone."""
FORM_BYTES = 8192
"""Largest form that is read."""
CHECKS_AT_ONCE = 2
"""Passwords checked at the same time: each takes memory and a core."""

_FAILED = "The node's queue or folder cannot be used at the moment. The log says more."
_CHECK_WAIT_S = 10.0

Answer = Callable[[Request], Awaitable[Response]]


def login_form(request: Request) -> Response:
    """`/login`: the form, with a token that only this browser can send back."""
    return _login_page(request)


def login(request: Request) -> Response:
    """`POST /login`: check the password, and start a session."""
    site: Site = request.app.state.site
    if site.passwords is None:
        raise HTTPException(404, "No password file is set up.")
    user, password = request.state.form.get("user", ""), request.state.form.get("password", "")
    address = network_of(request)
    wait_s = site.attempts.begin(address)
    if wait_s > 0:
        logger.warning("login refused, too many attempts address=%s", address)
        return too_many(_login_page(request, f"Too many attempts. Try again in {int(wait_s // 60) + 1} minutes.", 429), wait_s)
    if not request.app.state.hashing.acquire(timeout=_CHECK_WAIT_S):
        return _login_page(request, "Too many people log in at once. Try again.", 503)
    try:
        right = site.passwords.check(user, password)
    finally:
        request.app.state.hashing.release()
    hashed = site.passwords.users().get(user)
    if not right or hashed is None:
        logger.warning("login failed address=%s", address)
        site.audit.write("login-failed", address=address)
        return _login_page(request, "User or password is wrong.", 403)
    site.attempts.succeeded(address)
    site.audit.write("login", by=user, address=address)
    welcome = RedirectResponse("/?note=login", 303)
    set_cookie(welcome, COOKIE, site.sessions.start(user, hashed), secure=site.config.status.certificate is not None)
    welcome.delete_cookie(FORM_COOKIE, path="/login")
    return welcome


def logout(request: Request) -> Response:
    """`POST /logout`: end the session, here and at the node."""
    site: Site = request.app.state.site
    session: Session = request.state.session
    site.sessions.end(session)
    site.audit.write("logout", by=session.user)
    goodbye = RedirectResponse("/?note=logout", 303)
    goodbye.delete_cookie(COOKIE)
    return goodbye


def _login_page(request: Request, problem: str = "", status: int = 200) -> Response:
    site: Site = request.app.state.site
    if site.passwords is None:
        raise HTTPException(404, "No password file is set up.")
    nonce = secrets.token_hex(16)
    page = site.page(request, "login.html", status=status, problem=problem, form_token=site.sessions.token(f"login {nonce}"))
    set_cookie(page, FORM_COOKIE, nonce, path="/login", secure=site.config.status.certificate is not None)
    return page


async def guarded(request: Request, answer: Answer) -> Response:
    """Let through what may pass, and put the headers on what comes back."""
    site: Site = request.app.state.site
    request.state.session = session = _session(request, site)
    request.state.reader = _reader(site, session)
    try:
        refusal = _stranger(request, site) or (await _forged(request, site, session) if request.method == "POST" else None)
        response = refusal or await answer(request)
    except QUEUE_ERRORS as error:
        logger.error("page failed path=%s error=%s", request.url.path, type(error).__name__)
        response = PlainTextResponse(_FAILED, 503)
    for name, value in HEADERS.items():
        response.headers[name] = value
    return response


def _session(request: Request, site: Site) -> Session | None:
    if site.passwords is None:
        return None
    return site.sessions.read(request.cookies.get(COOKIE, ""), site.passwords.users())


def _reader(site: Site, session: Session | None) -> Reader:
    inside = session is not None or site.passwords is None
    return Reader(
        user=session.user if session else "",
        token=site.sessions.token(session.nonce) if session else "",
        inside=inside,
        patients=inside and site.config.status.show_patients,
    )


def _stranger(request: Request, site: Site) -> Response | None:
    """Without a password file, refuse whoever isn't at this machine: also through a proxy, or a name that a stranger made point here."""
    if site.passwords is not None:
        return None
    here = request.client is not None and is_loopback(request.client.host) and is_loopback(request.url.hostname or "")
    forwarded = any(name in request.headers for name in ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip"))
    if here and not forwarded:
        return None
    return PlainTextResponse("This page answers its own machine only: set status.password_file in node.toml to open it to others.", 403)


async def _forged(request: Request, site: Site, session: Session | None) -> Response | None:
    """Read the form; refuse one that is too large, comes from another site's page, or lacks the token of this session."""
    body = await body_of(request, FORM_BYTES)
    if body is None:
        return PlainTextResponse("This form is too large.", 413)
    try:
        request.state.form = form = dict(parse_qsl(body.decode(), max_num_fields=20))
    except ValueError:
        return PlainTextResponse("This is no form.", 400)
    if request.url.path == "/login":
        nonce = f"login {request.cookies[FORM_COOKIE]}" if FORM_COOKIE in request.cookies else ""
    else:
        nonce = session.nonce if session else ""
    if is_from_here(request) and site.sessions.token_fits(form.get("token", ""), nonce):
        return None
    return PlainTextResponse("Not allowed: log in, load the page again, and press the button once more.", 403)
