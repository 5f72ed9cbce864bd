"""The images of a case as raw numbers, alike in everything but the numbers: no name, date, tag or cache betrays what they are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from fastapi import Request
from fastapi.responses import Response, StreamingResponse
from starlette.exceptions import HTTPException

from onenex.errors import StudyError
from onenex.reader.keeping.refusals import Closed, NotYours
from onenex.reader.keeping.views import Image
from onenex.reader.web.site import Site

CHUNK_BYTES = 524_288
"""Read and sent at once: one slice of 512²."""

_MEDIA = "application/octet-stream"


def one_slice(request: Request, key: str, side: str, number: str) -> Response:
    """`/image/KEY/SIDE/SLICE`: one slice of 16-bit little-endian numbers, rows × columns; sides and slices count from 0."""
    path, image = _image(request, key, side)
    if not _is_number(number) or int(number) >= image.stack.n_slices:
        raise HTTPException(404)
    n_bytes = 2 * image.stack.rows * image.stack.columns
    return Response(b"".join(_parts(path, int(number) * n_bytes, n_bytes)), media_type=_MEDIA)


def all_slices(request: Request, key: str, side: str) -> Response:
    """`/image/KEY/SIDE/all`: all slices, one after the other."""
    path, image = _image(request, key, side)
    n_bytes = image.stack.n_bytes
    return StreamingResponse(_parts(path, 0, n_bytes), media_type=_MEDIA, headers={"Content-Length": str(n_bytes)})


def _image(request: Request, key: str, side: str) -> tuple[Path, Image]:
    """Return file and shape of an image that whoever asks may see now."""
    site: Site = request.app.state.site
    user = request.state.who.user
    if not user:
        raise HTTPException(403)
    try:
        site.store.may_read(user, key)
    except (NotYours, Closed) as error:
        raise HTTPException(404) from error
    one = site.store.shown(key)
    if one is None or not _is_number(side) or int(side) >= len(one.images):
        raise HTTPException(404)
    image = one.images[int(side)]
    return site.store.image_path(image.token), image


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 5


def _parts(path: Path, start: int, n_bytes: int) -> Iterator[bytes]:
    """Yield a stretch of a file.

    Raises
    ------
    StudyError
        It cannot be read, or is too short.
    """
    try:
        with path.open("rb", buffering=0) as file:
            for offset in range(start, start + n_bytes, CHUNK_BYTES):
                wanted = min(CHUNK_BYTES, start + n_bytes - offset)
                part = os.pread(file.fileno(), wanted, offset)
                if len(part) != wanted:
                    raise StudyError(f"{path} is too short: bring back the study's folder from a copy")
                yield part
    except OSError as error:
        raise StudyError(f"{path} cannot be read ({error.strerror}): bring back the study's folder from a copy") from error
