"""Series and node in words for people: times, sizes, facts."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from onenex.node.records import SeriesView
from onenex.node.web.metrics import Health


def worded(one: Mapping[str, Any], view: SeriesView) -> dict[str, Any]:
    """Add to a series as shown what only people need: how long ago, and the one thing to know about it."""
    errors = [f"{way['destination']}: {way['error']}" for way in one["deliveries"] if way["error"]]
    return {
        "title": "",
        "patient": "",
        **one,
        "ago": ago(view.received_wall, time.time()),
        "received_text": local(view.received_wall),
        "remark": one["reason"] or "; ".join(dict.fromkeys(errors)),
    }


def ago(wall: float, now: float) -> str:
    """Return how long ago something was: "just now", "5 min ago", "3 h ago", "2 days ago"."""
    return "just now" if now - wall < 60 else f"{span(now - wall)} ago"


def span(seconds: float) -> str:
    """Return a length of time in its own unit, rounded down: "90 s", "5 min", "3 h", "2 days"."""
    for unit, length, least in (("days", 86_400, 172_800), ("h", 3600, 3600), ("min", 60, 60)):
        if seconds >= least:
            return f"{int(seconds // length)} {unit}"
    return f"{int(max(0.0, seconds))} s"


def local(wall: float) -> str:
    """Return a time on the node's own clock and zone."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(wall))


def node_facts(found: Health) -> list[tuple[str, str]]:
    """Return names and values of what matters about the node."""
    totals = found.totals
    waiting = int(totals.get("deliveries_pending", 0)) + int(totals.get("deliveries_claimed", 0))
    facts = [
        ("Images kept", f"{int(totals.get('images', 0)):,}"),
        ("Deliveries to send", f"{waiting:,}"),
        ("Waiting longest", span(float(totals.get("oldest_waiting_s", 0))) if totals.get("oldest_waiting_s") else "nothing waits"),
        ("Disk free", f"{found.disk_free_bytes / 2**30:,.0f} of {found.disk_total_bytes / 2**30:,.0f} GiB"),
    ]
    return facts if found.queue else facts[-1:]


def series_facts(view: SeriesView, one: Mapping[str, Any], details: Mapping[str, Any], scrub: Callable[[str], str]) -> list[tuple[str, str]]:
    """Return names and values of a series, what isn't known left out.

    Parameters
    ----------
    one
        The series as the reader may see it.
    details
        What the worker wrote down.
    scrub
        Takes out of a text what the reader may not see.
    """
    announced = f" of {view.n_expected} announced" if view.n_expected is not None else ""
    facts = [
        ("Patient", one["patient"]),
        ("Images", f"{view.n_images}{announced}"),
        ("Denoised images", f"{view.n_derived}" if view.n_derived else ""),
        ("Sent by", one["sender"]),
        ("Rule", view.rule),
        ("Pass", f"{view.pass_number}" if view.pass_number > 1 else ""),
        ("Attempts", f"{view.attempts}" if view.attempts else ""),
        ("First image", local(view.received_wall)),
        ("Last change", local(view.changed_wall)),
        *((name.replace("_", " ").capitalize(), scrub(value)) for name, value in _lines(details)),
        ("Series UID", one.get("series_uid", "")),
        ("Study UID", one.get("study_uid", "")),
        ("Series hash", one["series_hash"]),
        ("Study hash", one["study_hash"]),
    ]
    return [(name, value) for name, value in facts if value]


def _lines(details: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(str(name), _text(value)[:600]) for name, value in details.items()]


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key.replace('_', ' ')} {text}" for key, one in value.items() if (text := _text(one)))
    if isinstance(value, list | tuple):
        return "; ".join(_text(one) for one in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)
