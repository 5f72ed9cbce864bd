"""The web server of a reader study: for readers their sessions, cases and questions; for admins the progress.

Everything comes from this server: no page asks another host for anything. Nothing that leaves it tells an arm, a case or a patient.
"""

from __future__ import annotations

import logging
import socket
import threading
from contextlib import closing
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from onenex.errors import StudyError
from onenex.reader.web import doors, pictures, readings
from onenex.reader.web.site import Site, make_site
from onenex.web.safety import is_loopback

logger = logging.getLogger(__name__)

TICK_S = 0.5
"""How often the end is looked for."""


def run(
    folder: Path, stop: threading.Event, *, host: str = "127.0.0.1", port: int = 8090, certificate: Path | None = None, key: Path | None = None
) -> None:
    """Serve a study until `stop` is set.

    Parameters
    ----------
    folder
        The study's.
    host, port
        Where to listen.
    certificate, key
        PEM files, for TLS; without them passwords cross the network in the clear.

    Raises
    ------
    StudyError, AccessError
        The study, its key of sessions, the certificate or the address cannot be used.
    """
    if (certificate is None) != (key is None):
        raise StudyError("TLS needs both a certificate and its key: give both, or neither")
    site = make_site(folder, is_secure=certificate is not None)
    try:
        config = _server_config(make_app(site), certificate, key)
        with closing(_listener(host, port)) as listener:
            if certificate is None and not is_loopback(host):
                logger.warning("served without certificate: passwords cross the network in the clear host=%s", host)
            _serve(uvicorn.Server(config), listener, stop)
    finally:
        site.store.close()


def _serve(server: uvicorn.Server, listener: socket.socket, stop: threading.Event) -> None:
    """Serve until `stop` is set."""
    host, port = listener.getsockname()[:2]
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="reader study", daemon=True)
    thread.start()
    logger.info("reader study ready host=%s port=%d", host, port)
    try:
        while thread.is_alive() and not stop.wait(TICK_S):
            pass
        if not stop.is_set():
            raise StudyError(f"the server on {host}:{port} ended by itself: see the log")
    finally:
        server.should_exit = True
        thread.join(10)


def make_app(site: Site) -> FastAPI:
    """Return the web application."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, title="OneNEX reader study")
    app.state.site = site
    app.state.hashing = threading.BoundedSemaphore(doors.CHECKS_AT_ONCE)
    for path, handler in (
        ("/", readings.sessions),
        ("/read/{key}", readings.reading),
        ("/image/{key}/{side}/all", pictures.all_slices),
        ("/image/{key}/{side}/{number}", pictures.one_slice),
        ("/progress", readings.progress),
        ("/login", doors.login_form),
        ("/token", doors.token),
    ):
        app.add_api_route(path, handler, methods=["GET"], response_model=None)
    for path, handler in (
        ("/read/{key}/answer", readings.answer),
        ("/read/{key}/time", readings.seen),
        ("/read/{key}/finish", readings.finish),
        ("/login", doors.login),
        ("/logout", doors.logout),
    ):
        app.add_api_route(path, handler, methods=["POST"], response_model=None)
    app.mount("/static", StaticFiles(directory=Path(__file__).parent / "web" / "pages" / "static"))
    app.add_exception_handler(HTTPException, _explained)
    app.add_exception_handler(RequestValidationError, _explained)
    app.add_exception_handler(StudyError, _failed)
    app.add_exception_handler(doors.LoggedOut, _to_login)
    app.middleware("http")(doors.guarded)
    return app


async def _explained(request: Request, error: Exception) -> Response:
    """Say what is wrong. Whatever does not exist, or is somebody else's, gets the same words."""
    status = error.status_code if isinstance(error, HTTPException) else 404
    words = "You may not see this: log in first." if status == 403 else "There is nothing at this address."
    return doors.refused(request, words, 404 if status == 405 else status)


async def _failed(request: Request, error: Exception) -> Response:
    return doors.out_of_order(request, StudyError(str(error)))


async def _to_login(request: Request, _: Exception) -> Response:
    return RedirectResponse("/login", 303)


def _listener(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise StudyError(f"the study cannot be served on {host}:{port} ({error.strerror}): choose another --host or --port") from error
    return listener


def _server_config(app: FastAPI, certificate: Path | None, key: Path | None) -> uvicorn.Config:
    """Return uvicorn's settings: quiet, bounded, trusting no proxy's word on who asks.

    Raises
    ------
    StudyError
        The certificate or its key cannot be used.
    """
    config = uvicorn.Config(
        app,
        http="h11",
        h11_max_incomplete_event_size=doors.HEAD_BYTES,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=200,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=5,
        ssl_certfile=certificate,
        ssl_keyfile=key,
        lifespan="off",
        ws="none",
    )
    try:
        config.load()
    except OSError as error:
        raise StudyError(f"certificate {certificate} or key {key} cannot be used ({error}): give PEM files that belong together") from error
    return config
