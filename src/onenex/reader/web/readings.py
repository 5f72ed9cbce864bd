"""The reading pages' answers: sessions, a case, what is said of it, and the admin's progress."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr, ValidationError
from starlette.exceptions import HTTPException

from onenex.reader.keeping.allowed import LONGEST_TEXT
from onenex.reader.keeping.refusals import Closed, Improper, NotYours, Outdated
from onenex.reader.keeping.views import Queued, SessionView, Shown, Stack
from onenex.reader.web.doors import refused, required
from onenex.reader.web.forms import blocks
from onenex.reader.web.site import Site

_SIDES = (("",), ("Left", "Right"))


class _Said(BaseModel):
    """An answer as the page's script sends it."""

    model_config = ConfigDict(extra="forbid")
    item: Annotated[StrictStr, Field(max_length=64)]
    where: Annotated[StrictStr, Field(max_length=64)] = ""
    value: Annotated[StrictInt, Field(ge=-1000, le=1000)] | None = None
    text: StrictStr = ""
    version: Annotated[StrictInt, Field(ge=0, le=10**6)]


class _Seen(BaseModel):
    """Reading time as the page's script sends it."""

    model_config = ConfigDict(extra="forbid")
    seconds: Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)]


def sessions(request: Request) -> Response:
    """`/`: a reader's sessions; an admin is sent to the progress."""
    site, who = _site(request), required(request)
    if who.is_admin:
        return RedirectResponse("/progress", 303)
    found = [_worded(one, _next(site, who.user, one.session) if one.is_open else None) for one in site.store.sessions(who.user)]
    return site.page(request, "sessions.html", sessions=found, stopped=site.store.is_unblinded())


def reading(request: Request, key: str) -> Response:
    """`/read/KEY`: one case. Cases are read in their order: for any other the next one is shown."""
    site, who = _site(request), required(request)
    try:
        site.store.may_read(who.user, key)
    except NotYours as error:
        raise HTTPException(404) from error
    except Closed:
        return RedirectResponse("/?note=closed", 303)
    one = site.store.shown(key)
    following = _next(site, who.user, one.session) if one else None
    if one is None or following is None:
        return RedirectResponse("/?note=closed", 303)
    if following.key != key:
        return RedirectResponse(f"/read/{following.key}", 303)
    site.store.seconds(who.user, key, 0.0, "opened")
    return site.page(
        request,
        "reading.html",
        one=one,
        number=one.position + 1,
        total=len(site.store.queue(who.user, one.session)),
        stack=one.images[0].stack,
        panes=_panes(one),
        blocks=blocks(one.reading.items, site.store.kept(key)),
        longest=LONGEST_TEXT,
    )


def answer(request: Request, key: str) -> Response:
    """`POST /read/KEY/answer`: keep one answer; `{"version": n}` once it is on the disk."""
    site, who = _site(request), required(request)
    try:
        said = _Said.model_validate(request.state.form)
        version = site.store.save(who.user, key, said.item, said.where, said.value, said.text, said.version)
    except ValidationError:
        return refused(request, "This is no answer to the question.", 422)
    except NotYours as error:
        raise HTTPException(404) from error
    except (Closed, Outdated) as error:
        return refused(request, _sentence(error), 409 if isinstance(error, Outdated) else 410)
    except Improper as error:
        return refused(request, _sentence(error), 422)
    return JSONResponse({"version": version})


def seen(request: Request, key: str) -> Response:
    """`POST /read/KEY/time`: add reading time."""
    site, who = _site(request), required(request)
    try:
        site.store.seconds(who.user, key, _Seen.model_validate(request.state.form).seconds)
    except ValidationError:
        return refused(request, "This is no time.", 422)
    except NotYours as error:
        raise HTTPException(404) from error
    except Closed as error:
        return refused(request, _sentence(error), 410)
    return Response(status_code=204)


def finish(request: Request, key: str) -> Response:
    """`POST /read/KEY/finish`: close a case for good, and go to the next one."""
    site, who = _site(request), required(request)
    try:
        site.store.finish(who.user, key)
    except NotYours as error:
        raise HTTPException(404) from error
    except Closed:
        return RedirectResponse("/?note=closed", 303)
    except Improper as error:
        return refused(request, _sentence(error), 422)
    one = site.store.shown(key)
    following = _next(site, who.user, one.session) if one else None
    return RedirectResponse(f"/read/{following.key}" if following else "/?note=finished", 303)


def progress(request: Request) -> Response:
    """`/progress`: how far the readers are, for admins; for anybody else there is no such page."""
    site = _site(request)
    if not request.state.who.is_admin:
        raise HTTPException(404)
    rows = [
        {
            "reader": one.reader,
            "session": one.session,
            "n": one.n,
            "n_done": one.n_done,
            "opens": "after the one before" if one.opens is None else _day(one.opens),
            "time": f"{one.seconds / 60:.0f} min",
            "last": "never" if one.last_wall is None else _moment(one.last_wall),
        }
        for one in site.store.progress()
    ]
    return site.page(request, "progress.html", rows=rows, stopped=site.store.is_unblinded())


def _site(request: Request) -> Site:
    site: Site = request.app.state.site
    return site


def _next(site: Site, reader: str, session: int) -> Queued | None:
    """Return what is to be read next in a session; None when all is finished."""
    return next((one for one in site.store.queue(reader, session) if not one.done), None)


def _worded(one: SessionView, following: Queued | None) -> dict[str, Any]:
    """Return a session for the list: what to do with it, or why nothing can be done."""
    words = {
        "session": one.session,
        "n": one.n,
        "n_done": one.n_done,
        "next": following.key if following else "",
        "verb": "",
        "sign": "",
        "label": "",
    }
    if one.done:
        return words | {"state": "done", "sign": "✓", "label": "Finished", "words": "Everything is read."}
    if one.is_open:
        training = " Training cases come first." if following and following.is_training else ""
        return words | {"state": "open", "verb": "Continue" if one.n_done else "Start", "words": f"{one.n - one.n_done} cases to read.{training}"}
    if one.opens is not None and one.opens > time.time():
        return words | {"state": "later", "sign": "◷", "label": "Opens later", "words": f"Opens on {_day(one.opens)}."}
    if one.opens is not None:
        return words | {"state": "later", "sign": "■", "label": "Closed", "words": "The study is closed."}
    return words | {"state": "later", "sign": "◷", "label": "Not yet", "words": "Opens some time after the session before is finished."}


def _panes(one: Shown) -> list[dict[str, Any]]:
    """Return what the page needs of each image: no more than shape, spacing and side."""
    names = _SIDES[len(one.images) - 1]
    return [
        {"stack": image.stack, "side": side, "name": f"{side} series. " if side else "", **_spacing(image.stack)}
        for image, side in zip(one.images, names, strict=True)
    ]


def _spacing(stack: Stack) -> dict[str, Any]:
    _, down, across = stack.spacing_mm or (1.0, 1.0, 1.0)
    return {"down": f"{down:.6g}", "across": f"{across:.6g}", "is_scaled": stack.spacing_mm is not None}


def _sentence(error: Exception) -> str:
    words = str(error)
    return f"{words[:1].upper()}{words[1:]}."


def _day(wall: float) -> str:
    return time.strftime("%A, %d %B %Y, %H:%M", time.localtime(wall))


def _moment(wall: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(wall))
