"""The contact sheet: every accepted and rejected pair as fast scan, reference and difference, on pages to browse and filter."""

from __future__ import annotations

import base64
import io
import logging
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from numpy.typing import NDArray

from onenex.errors import DataError
from onenex.report.png import to_bytes
from onenex.series import FloatImages

logger = logging.getLogger(__name__)

PER_PAGE = 200
MAX_SIDE = 192
"""Pixels; larger slices are averaged down by a whole factor."""
DIFFERENCE_RANGE = 0.25
"""The difference is shown from minus to plus this share of the reference's window: the same for all pairs, so that they compare."""
MAX_REASONS = 100
"""Kinds of reasons told apart on the sheet; further ones count as `OTHER`."""
OTHER = "other reasons"
ACCEPTED = "accepted"
_JPEG_QUALITY = 82
_ID = re.compile(r"[0-9a-f]{8,64}(-[0-9a-z]{1,16})*")
_NUMBER = re.compile(r"[-+−]?\d+(?:[.,]\d+)?")
_FILTERS = ("verdict", "reason", "organ", "vendor", "sequence")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One pair on the sheet, with nothing that tells whose it is."""

    id: str
    """A keyed hash (hexadecimal digits), perhaps with "-" and a number."""
    organ: str
    vendor: str
    sequence: str
    acceleration: float | None = None
    """Scan time of the reference over that of the fast scan."""
    verdict: str
    """`ACCEPTED`, or any other word for what was not: "rejected", "doubtful" …"""
    reasons: tuple[str, ...] = ()
    """Why, a sentence each; no word of the source's may be in them. Sentences that differ in their numbers only count as one."""
    scores: Mapping[str, float] = field(default_factory=dict)
    """Name → value, shown in this order; NaN shows as a dash."""
    fast: FloatImages | None = None
    """(row, column). None, like the next two, for a pair that was given up before its pixels were read."""
    reference: FloatImages | None = None
    """(row, column), on the grid of the fast scan, NaN where it shows nothing."""
    difference: FloatImages | None = None
    """(row, column), fast minus reference in the unit of the reference, its intensities mapped; NaN where there is none."""
    aspect: float = 1.0
    """Distance of rows over that of columns."""
    note: str = ""
    """What else is worth a line: "slice 7 of 24", "synthetic"."""


@dataclass(kw_only=True)
class _Index:
    """What is counted while the pages are written."""

    counts: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """(organ, vendor, verdict) → pairs."""
    reasons: Counter[str] = field(default_factory=Counter)
    pages_of: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    """Reason → pages that have it."""
    pages: list[Counter[str]] = field(default_factory=list)
    """Verdict → pairs, for each page."""


def write_sheet(entries: Iterable[Entry], folder: Path) -> Path:
    """Write the sheet: `index.html` and `page-0001.html` … of `PER_PAGE` pairs, each complete in itself.

    A page is held in memory, never more, so `entries` may be a generator of any length. Pages of an earlier sheet in `folder`
    go.

    Parameters
    ----------
    entries
        In the order in which they are to be shown.
    folder
        Made when missing.

    Returns
    -------
    Path
        `index.html`.

    Raises
    ------
    DataError
        An id that is no hash, images that are not (row, column), or a folder that cannot be written.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("onenex.pairs.showing", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page, index = environment.get_template("sheet.html"), _Index()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number, chunk in enumerate(_chunks(entries), start=1):
            cards = [_card(entry, index, number) for entry in chunk]
            index.pages.append(Counter(entry.verdict for entry in chunk))
            choices = {name: sorted({value for card in cards for value in _values(card, name)}, key=str.casefold) for name in _FILTERS}
            _put(folder / _name(number), page.render(number=number, cards=cards, choices=choices, range=DIFFERENCE_RANGE, accepted=ACCEPTED))
        for stale in folder.glob("page-*.html"):
            if stale.name not in {_name(number + 1) for number in range(len(index.pages))}:
                stale.unlink()
        _put(folder / "index.html", environment.get_template("sheet_index.html").render(**_summary(index)))
    except OSError as error:
        raise DataError(f"{folder}: the contact sheet cannot be written ({error}): check that the disk has room and the folder is yours") from error
    logger.info("event=sheet_written n_pairs=%d n_pages=%d", index.counts.total(), len(index.pages))
    return folder / "index.html"


def kind_of(reason: str) -> str:
    """Return a reason without its numbers: what it has in common with others of its kind."""
    return _NUMBER.sub("…", reason)


def _name(number: int) -> str:
    return f"page-{number:04d}.html"


def _put(path: Path, text: str) -> None:
    """Write a file as a whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _chunks(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    chunk: list[Entry] = []
    for entry in entries:
        chunk.append(entry)
        if len(chunk) == PER_PAGE:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _card(entry: Entry, index: _Index, page: int) -> dict[str, Any]:
    """Return what the template shows of a pair, and count it."""
    if not _ID.fullmatch(entry.id):
        raise DataError("an entry of the contact sheet is not named by a hash: name it with pairs.deidentify.keyed_hash, never as the source does")
    kinds = list(dict.fromkeys(_known(kind_of(reason), index) for reason in entry.reasons))
    index.counts[entry.organ, entry.vendor, entry.verdict] += 1
    for kind in kinds:
        index.reasons[kind] += 1
        if page not in index.pages_of[kind][-1:]:
            index.pages_of[kind].append(page)
    return {
        "id": entry.id, "organ": entry.organ, "vendor": entry.vendor, "sequence": entry.sequence, "verdict": entry.verdict, "note": entry.note,
        "acceleration": "" if entry.acceleration is None else f"{entry.acceleration:.3g}×", "reasons": entry.reasons, "kinds": kinds,
        "scores": [(name, _number(value)) for name, value in entry.scores.items()], "pictures": _pictures(entry),
    }  # fmt: skip


def _known(kind: str, index: _Index) -> str:
    return kind if kind in index.reasons or len(index.reasons) < MAX_REASONS else OTHER


def _values(card: Mapping[str, Any], name: str) -> list[str]:
    return list(card["kinds"]) if name == "reason" else [str(card[name])]


def _number(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else "–"


def _pictures(entry: Entry) -> list[dict[str, Any]]:
    """Return the three pictures: both scans in their own window, the difference in a share of the reference's."""
    made = []
    black, white = _window(entry.reference)
    reach = DIFFERENCE_RANGE * (white - black)
    shown = (
        ("fast", entry.fast, _window(entry.fast)),
        ("reference", entry.reference, (black, white)),
        ("difference", entry.difference, (-reach, reach)),
    )
    for name, image, window in shown:
        if image is None:
            continue
        if image.ndim != 2 or 0 in image.shape:
            raise DataError(f"the {name} of a pair on the contact sheet has shape {image.shape}: give one slice (row, column)")
        small = _shrunk(image)
        rows, columns = small.shape
        height = max(1, round(rows * entry.aspect))
        made.append({"name": name, "uri": _jpeg(to_bytes(small, *window)), "width": columns, "height": height})
    return made


def _window(image: FloatImages | None) -> tuple[float, float]:
    """Return (black, white): 0 or the darkest percentile, and the 99.5th."""
    finite = np.zeros(1) if image is None else image[np.isfinite(image)]
    if not finite.size:
        return 0.0, 1.0
    low, high = np.percentile(finite, [1.0, 99.5])
    return (float(min(low, 0.0)), float(high)) if high > min(low, 0.0) else (float(low), float(low) + 1.0)


def _shrunk(image: FloatImages) -> FloatImages:
    """Average whole blocks until the longer side fits `MAX_SIDE`; what is left over at the far edges is not shown."""
    factor = math.ceil(max(image.shape) / MAX_SIDE)
    if factor == 1 or min(image.shape) < factor:
        return image
    rows, columns = (n // factor for n in image.shape)
    return np.asarray(image[: rows * factor, : columns * factor].reshape(rows, factor, columns, factor).mean(axis=(1, 3)), np.float32)


def _jpeg(grey: NDArray[np.uint8]) -> str:
    """Return a grey picture as a `data:` URI. JPEG: noise as PNG would be four times the size, and these are for the eye."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(grey).save(stream, "JPEG", quality=_JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def _summary(index: _Index) -> dict[str, Any]:
    """Return what the index page shows."""
    verdicts = sorted({verdict for _, _, verdict in index.counts}, key=lambda verdict: (verdict != ACCEPTED, verdict))
    groups = sorted({(organ, vendor) for organ, vendor, _ in index.counts}, key=lambda pair: (pair[0].casefold(), pair[1].casefold()))
    total = {verdict: sum(n for key, n in index.counts.items() if key[2] == verdict) for verdict in verdicts}
    return {
        "verdicts": verdicts,
        "total": total,
        "range": DIFFERENCE_RANGE,
        "rows": [(organ, vendor, [index.counts[organ, vendor, verdict] for verdict in verdicts]) for organ, vendor in groups],
        "reasons": [(kind, n, [(page, _name(page)) for page in index.pages_of[kind]]) for kind, n in index.reasons.most_common()],
        "pages": [(number, _name(number), [page[verdict] for verdict in verdicts]) for number, page in enumerate(index.pages, start=1)],
    }
