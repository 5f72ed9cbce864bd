"""The status page's answers: lists, one series, pictures, JSON, numbers; and the buttons."""

from __future__ import annotations

from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import FileResponse, JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from onenex.node.audit import uid_hash
from onenex.node.records import SeriesView, State
from onenex.node.web.metrics import exposition
from onenex.node.web.showing import STATES, Reader
from onenex.node.web.site import Site
from onenex.node.web.wording import node_facts, series_facts, worded

PAGE_ROWS = 50
"""Series on one page of the list."""
MOST_ROWS = 1000
"""Series that `/api/series` gives at once."""

_LONGEST_ID = 18


def series_list(request: Request) -> Response:
    """`/`: the series, the latest first."""
    site, reader = _site(request), request.state.reader
    state, offset = _state(request), _number(request, "offset", 0, 10**9)
    found = site.health()
    views = site.queue.view(state=state, limit=PAGE_ROWS + 1, offset=offset)
    return site.page(
        request,
        "list.html",
        series=[worded(site.shown(view, reader), view) for view in views[:PAGE_ROWS]],
        health=found,
        facts=node_facts(found),
        chosen=state.value if state else "",
        total=sum(found.counts.values()),
        filters=[(one.value, STATES[one].label, found.counts.get(one, 0)) for one in State],
        here=_list_url(state, offset),
        newer=_list_url(state, max(0, offset - PAGE_ROWS)) if offset else None,
        older=_list_url(state, offset + PAGE_ROWS) if len(views) > PAGE_ROWS else None,
    )


def series_page(request: Request, series_id: str) -> Response:
    """`/series/ID`: all that is known of one."""
    site, reader = _site(request), request.state.reader
    view = _view(site, series_id)
    one = worded(site.shown(view, reader), view)
    details = site.queue.details(view.series_id)
    return site.page(
        request,
        "series.html",
        one=one,
        facts=series_facts(view, one, details, site.scrub_for(view, reader)),
        pictures_why=_no_pictures(site, view, reader),
    )


def series_pictures(request: Request, series_id: str) -> Response:
    """`/series/ID/pictures`: draws them at the first look."""
    site, reader = _site(request), request.state.reader
    view = _view(site, series_id)
    why = _no_pictures(site, view, reader)
    if why:
        raise HTTPException(404 if reader.inside else 403, why)
    outbox = site.spool.outbox(view.series_id, view.pass_number)
    after = sorted(outbox.rglob("*.dcm")) if view.n_derived else []
    found = site.thumbnails.of(view.series_id, view.pass_number, site.queue.files(view.series_id), after)
    waiting = view.state in (State.COMPLETE, State.CLAIMED)
    return site.page(request, "pictures.html", one=site.shown(view, reader), found=found, waiting=waiting)


def picture(request: Request, series_id: str, key: str, name: str) -> Response:
    """`/series/ID/pictures/KEY/NAME`: one PNG file, drawn before."""
    site, reader = _site(request), request.state.reader
    view = _view(site, series_id)
    why = _no_pictures(site, view, reader)
    if why:
        raise HTTPException(404 if reader.inside else 403, why)
    path = site.thumbnails.file(key, name) if key.startswith(f"{view.series_id}-") else None
    if path is None:
        raise HTTPException(404, "There is no such picture.")
    return FileResponse(path, media_type="image/png")


def retry(request: Request, series_id: str) -> Response:
    """`POST /series/ID/retry`: start a failed series again."""
    site = _site(request)
    view = _view(site, series_id)
    done = site.queue.retry(view.series_id)
    if done:
        site.audit.write("retry", series=view.series_id, series_uid=uid_hash(view.series_uid), by=request.state.reader.user)
    return RedirectResponse(f"/series/{view.series_id}?note={'retried' if done else 'not-retried'}", 303)


def pause(request: Request) -> Response:
    """`POST /pause`: denoise and send nothing more."""
    return _paused(request, True)


def resume(request: Request) -> Response:
    """`POST /resume`."""
    return _paused(request, False)


def _paused(request: Request, on: bool) -> Response:
    site = _site(request)
    site.queue.pause(on)
    note = "paused" if on else "resumed"
    site.audit.write(note, by=request.state.reader.user)
    return RedirectResponse(f"/?note={note}", 303)


def api_list(request: Request) -> Response:
    """`/api/series?state=&limit=&offset=`: the list in JSON."""
    site, reader = _site(request), request.state.reader
    limit, offset = _number(request, "limit", 100, MOST_ROWS), _number(request, "offset", 0, 10**9)
    views = site.queue.view(state=_state(request), limit=limit, offset=offset)
    counts = site.queue.counts()
    return JSONResponse(
        {
            "series": [site.shown(view, reader) for view in views],
            "counts": {state.value: counts.get(state, 0) for state in State},
            "paused": site.queue.paused(),
        }
    )


def api_one(request: Request, series_id: str) -> Response:
    """`/api/series/ID`: one series in JSON."""
    site = _site(request)
    return JSONResponse(site.shown(_view(site, series_id), request.state.reader))


def metrics(request: Request) -> Response:
    """`/metrics`: for Prometheus."""
    return Response(exposition(_site(request).health()), media_type="text/plain; version=0.0.4; charset=utf-8")


def healthz(request: Request) -> Response:
    """`/healthz`: 200 while images can be taken, else 503."""
    found = _site(request).health()
    answer = {
        "status": "ok" if found.well else "failing",
        "queue": found.queue,
        "disk": found.disk,
        "disk_free_bytes": found.disk_free_bytes,
        "paused": found.paused,
        "failed": found.counts.get(State.FAILED, 0),
        "oldest_waiting_s": round(float(found.totals.get("oldest_waiting_s", 0.0)), 1),
    }
    return JSONResponse(answer, 200 if found.well else 503)


def _site(request: Request) -> Site:
    site: Site = request.app.state.site
    return site


def _view(site: Site, series_id: str) -> SeriesView:
    plain = series_id.isascii() and series_id.isdigit() and len(series_id) <= _LONGEST_ID
    view = site.queue.one(int(series_id)) if plain else None
    if view is None:
        raise HTTPException(404, "There is no such series. It may have been deleted after its time.")
    return view


def _no_pictures(site: Site, view: SeriesView, reader: Reader) -> str:
    """Say why a reader gets no pictures; "" when there may be some."""
    if not site.config.status.thumbnails:
        return "Pictures are switched off in node.toml."
    if not reader.inside:
        return "Log in to see pictures."
    return "Pictures are drawn once all images are here." if view.state is State.RECEIVED else ""


def _state(request: Request) -> State | None:
    asked = request.query_params.get("state", "")
    if asked and asked not in set(State):
        raise HTTPException(400, f"There is no such state. There are: {', '.join(State)}.")
    return State(asked) if asked else None


def _number(request: Request, name: str, default: int, most: int) -> int:
    asked = request.query_params.get(name, "")
    if not asked:
        return default
    if not asked.isascii() or not asked.isdigit() or len(asked) > 10:
        raise HTTPException(400, f"{name} must be a whole number.")
    return min(int(asked), most)


def _list_url(state: State | None, offset: int) -> str:
    query = urlencode(({"state": state.value} if state else {}) | ({"offset": str(offset)} if offset else {}))
    return f"/?{query}" if query else "/"
