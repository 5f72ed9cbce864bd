"""What every page needs against strangers: headers, whole forms from our own pages only, and who asks."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from fastapi import Request
from fastapi.responses import Response

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}
"""On every answer: nothing from other hosts, no frames, no cache."""


def set_cookie(answer: Response, name: str, value: str, *, secure: bool, path: str = "/") -> None:
    """Give a browser a cookie that no script reads and no other site's page sends; `secure`: over TLS only."""
    answer.set_cookie(name, value, path=path, httponly=True, samesite="strict", secure=secure)


def too_many(answer: Response, wait_s: float) -> Response:
    """Say in the header of a refusal when the next try is allowed, seconds from now."""
    answer.headers["Retry-After"] = str(int(wait_s) + 1)
    return answer


async def body_of(request: Request, limit_bytes: int) -> bytes | None:
    """Return what was sent, None if that is more than `limit_bytes`."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > limit_bytes:
            return None
    return body


def is_from_here(request: Request) -> bool:
    """Whether a browser sent this from one of our own pages, as far as its headers tell."""
    origin, fetch_site = request.headers.get("origin"), request.headers.get("sec-fetch-site", "same-origin")
    return (origin is None or urlsplit(origin).netloc == request.headers.get("host")) and fetch_site in ("same-origin", "none")


def network_of(request: Request) -> str:
    """Return who tries to log in: the address; of IPv6 the network, for one machine has as many addresses as it likes."""
    host = request.client.host if request.client else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    return str(ipaddress.ip_network((address, 64), strict=False)) if address.version == 6 else host


def is_loopback(host: str) -> bool:
    """Whether a name or address is this machine's own."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
