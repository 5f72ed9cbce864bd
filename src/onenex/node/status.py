"""The status page: a small web server that reads the queue, and lets those who log in retry, pause and resume.

Without `status.password_file` nothing can be changed and only this machine gets an answer. With it, anybody on the network may
read states and reasons; pictures, descriptions and buttons need a login. Nothing on it comes from or goes to another host.
"""

from __future__ import annotations

import logging
import socket
import threading
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from onenex.errors import NodeError
from onenex.node.config import NodeConfig
from onenex.node.database import clock
from onenex.node.web import answers
from onenex.node.web.doors import CHECKS_AT_ONCE, guarded, login, login_form, logout
from onenex.node.web.metrics import QUEUE_ERRORS
from onenex.node.web.site import Site, make_site
from onenex.web.safety import is_loopback

logger = logging.getLogger(__name__)

PRUNE_S, TICK_S = 300.0, 0.5
"""How often pictures of forgotten series are deleted, and how often the page's end is looked for."""

_HEADINGS = {400: "That makes no sense", 403: "Not allowed", 404: "Not found", 405: "Not found", 413: "Too much", 429: "Too many attempts"}


def run(config: NodeConfig, stop: threading.Event) -> None:
    """Serve the page until `stop` is set.

    Raises
    ------
    NodeError
        The address cannot be used, or the password file, certificate or folder is no good.
    """
    site = make_site(config)
    listener = _listener(config)
    server = uvicorn.Server(_server_config(config, make_app(site)))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="status", daemon=True)
    thread.start()
    host, port = listener.getsockname()[:2]
    logger.info("status page ready host=%s port=%d login=%s", host, port, site.passwords is not None)
    tidy = 0.0
    try:
        while thread.is_alive() and not stop.wait(TICK_S):
            if clock.now() >= tidy:
                _tidy(site)
                tidy = clock.now() + PRUNE_S
        if not stop.is_set():
            raise NodeError(f"the status page on {host}:{port} ended by itself: see the log")
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


def make_app(site: Site) -> FastAPI:
    """Return the web application."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, title="OneNEX node")
    app.state.site = site
    app.state.hashing = threading.BoundedSemaphore(CHECKS_AT_ONCE)
    for path, handler in (
        ("/", answers.series_list),
        ("/series/{series_id}", answers.series_page),
        ("/series/{series_id}/pictures", answers.series_pictures),
        ("/series/{series_id}/pictures/{key}/{name}", answers.picture),
        ("/api/series", answers.api_list),
        ("/api/series/{series_id}", answers.api_one),
        ("/metrics", answers.metrics),
        ("/healthz", answers.healthz),
        ("/login", login_form),
    ):
        app.add_api_route(path, handler, methods=["GET"], response_model=None)
    for path, handler in (
        ("/series/{series_id}/retry", answers.retry),
        ("/pause", answers.pause),
        ("/resume", answers.resume),
        ("/login", login),
        ("/logout", logout),
    ):
        app.add_api_route(path, handler, methods=["POST"], response_model=None)
    app.mount("/static", StaticFiles(directory=Path(__file__).parent / "web" / "pages" / "static"))
    app.add_exception_handler(HTTPException, _explained)
    app.add_exception_handler(RequestValidationError, _explained)
    app.middleware("http")(guarded)
    return app


async def _explained(request: Request, error: Exception) -> Response:
    """Say what is wrong, as a page, or in JSON to those who asked for that."""
    status = error.status_code if isinstance(error, HTTPException) else 404
    words = str(error.detail) if isinstance(error, HTTPException) and str(error.detail).endswith(".") else "There is nothing at this address."
    if request.url.path.startswith("/api/"):
        return JSONResponse({"error": words}, status)
    site: Site = request.app.state.site
    return site.page(request, "message.html", status=status, heading=_HEADINGS.get(status, "Failed"), words=words)


def _listener(config: NodeConfig) -> socket.socket:
    """Bind the page's address; this machine's own without a password file, whatever the configuration says."""
    host, port = config.status.host, config.status.port
    if config.status.password_file is None and not is_loopback(host):
        logger.warning("status page without password_file answers this machine alone configured_host=%s", host)
        host = "127.0.0.1"
    if config.status.certificate is None and not is_loopback(host):
        logger.warning("status page without certificate: passwords cross the network in the clear host=%s", host)
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise NodeError(f"the status page cannot use {host}:{port} ({error.strerror}): change [status] host or port in node.toml") from error
    return listener


def _server_config(config: NodeConfig, app: FastAPI) -> uvicorn.Config:
    """Return uvicorn's settings: quiet, bounded, trusting no proxy's word on who asks."""
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=100,
        timeout_keep_alive=10,
        timeout_graceful_shutdown=5,
        ssl_certfile=config.status.certificate,
        ssl_keyfile=config.status.key,
        lifespan="off",
        ws="none",
    )


def _tidy(site: Site) -> None:
    try:
        site.thumbnails.prune(lambda series_id: site.queue.one(series_id) is not None)
    except QUEUE_ERRORS as error:
        logger.error("pictures could not be tidied error=%s", type(error).__name__)
