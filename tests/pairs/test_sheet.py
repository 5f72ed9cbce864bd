"""The contact sheet: what it shows and counts, that it needs nothing else and names nobody, and that a browser filters it."""

from __future__ import annotations

import base64
import io
import re
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from onenex.errors import DataError
from onenex.pairs.showing import sheet
from onenex.pairs.showing.sheet import DIFFERENCE_RANGE, MAX_SIDE, OTHER, Entry, kind_of, write_sheet
from onenex.series import FloatImages


def pictures(rows: int = 40, columns: int = 32, seed: int = 0) -> tuple[FloatImages, FloatImages, FloatImages]:
    """Fast scan, reference and difference of a ramp in a frame of air."""
    generator = np.random.default_rng(seed)
    reference = np.tile(np.linspace(0, 1000, columns, dtype=np.float32), (rows, 1))
    fast = (reference + generator.normal(0, 50, reference.shape)).astype(np.float32)
    return fast, reference, fast - reference


def entry(number: int, *, verdict: str = "accepted", organ: str = "head", vendor: str = "Siemens", reasons: tuple[str, ...] = ()) -> Entry:
    fast, reference, difference = pictures(seed=number)
    return Entry(
        id=f"{number:024x}", organ=organ, vendor=vendor, sequence="T2w", acceleration=4.0, verdict=verdict, reasons=reasons,
        scores={"NMI": 1.23456, "residual motion": float("nan")}, fast=fast, reference=reference, difference=difference, note="slice 3 of 9",
    )  # fmt: skip


def grey(uri: str) -> FloatImages:
    """Pixels of a picture on the page."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",", 1)[1]))), np.float32)


def cards(text: str) -> list[str]:
    return re.findall(r"<article.*?</article>", text, re.DOTALL)


def test_a_card_says_and_shows_all_of_its_pair(tmp_path: Path) -> None:
    one = entry(7, verdict="rejected", reasons=("residual motion 2.5 px <script>", "NMI 1.02 is below 1.1"))
    write_sheet([one], tmp_path / "new" / "sheet")
    text = (tmp_path / "new" / "sheet" / "page-0001.html").read_text(encoding="utf-8")
    (card,) = cards(text)
    for word in (one.id, "head · Siemens · T2w · 4×", "rejected", "1.23", "–", "slice 3 of 9", "residual motion 2.5 px &lt;script&gt;"):
        assert word in card
    fast, reference, difference = (grey(uri) for uri in re.findall(r'src="([^"]+)"', card))
    assert fast.shape == reference.shape == difference.shape == (40, 32)
    assert abs(reference[:, 16].mean() - 255 * 16 / 31 / 0.995) < 6
    assert abs(difference.mean() - 127.5) < 6
    assert difference.std() == pytest.approx(127.5 * 50 / (DIFFERENCE_RANGE * 995), rel=0.15)


def test_pages_are_complete_in_themselves(tmp_path: Path) -> None:
    index = write_sheet([entry(1)], tmp_path)
    for path in (index, tmp_path / "page-0001.html"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"https?://|@import|url\(", text)
        for target in re.findall(r'(?:src|href)="([^"#]{0,22})', text):
            assert target.startswith("data:image/jpeg;base64") or (tmp_path / target).is_file()


def test_index_counts_verdicts_reasons_and_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheet, "PER_PAGE", 3)
    reasons = [("NMI 1.02 is below 1.1",), ("NMI 1.05 is below 1.1", "clipped"), (), ("clipped",), ()]
    made = [entry(n, verdict="rejected" if why else "accepted", reasons=why, organ="knee" if n > 2 else "head") for n, why in enumerate(reasons)]
    text = write_sheet(iter(made), tmp_path).read_text(encoding="utf-8")
    plain = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text.split("<body>")[1]))
    assert "2 accepted, 3 rejected" in plain
    assert "head Siemens 1 2 knee Siemens 1 1" in plain
    assert "NMI … is below … 2 1 clipped 2 1 2" in plain
    assert "page 1 1 2 page 2 1 1" in plain
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.html", "page-0001.html", "page-0002.html"]
    assert 'href="page-0002.html#reason=clipped"' in text


def test_a_shorter_sheet_leaves_no_page_of_a_longer_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheet, "PER_PAGE", 1)
    write_sheet([entry(1), entry(2), entry(3)], tmp_path)
    write_sheet([entry(9)], tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.html", "page-0001.html"]
    assert entry(9).id in (tmp_path / "page-0001.html").read_text(encoding="utf-8")
    write_sheet([], tmp_path)
    assert "No pair was found" in (tmp_path / "index.html").read_text(encoding="utf-8")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.html"]


@pytest.mark.parametrize("name", ["Doe^Jane", "1.2.840.113619.2.5", "PAT0001", "abc", ""])
def test_a_pair_under_a_name_of_the_source_is_refused(tmp_path: Path, name: str) -> None:
    fast, reference, difference = pictures()
    bad = Entry(
        id=name, organ="head", vendor="GE", sequence="T1w", verdict="accepted", reasons=(), scores={},
        fast=fast, reference=reference, difference=difference,
    )  # fmt: skip
    with pytest.raises(DataError, match="not named by a hash") as caught:
        write_sheet([bad], tmp_path)
    assert not name or name not in str(caught.value)
    assert not list(tmp_path.glob("*.html"))


def test_pairs_without_pixels_holes_and_large_slices_are_shown_too(tmp_path: Path) -> None:
    fast, reference, difference = pictures(3 * MAX_SIDE - 5, 2 * MAX_SIDE)
    holes = reference.copy()
    holes[:, : MAX_SIDE // 2] = np.nan
    empty = np.full((4, 5), np.nan, np.float32)
    common = {"organ": "head", "vendor": "GE", "sequence": "T1w", "verdict": "rejected"}
    made = [
        Entry(id="0" * 24, **common),
        Entry(id="1" * 24, fast=fast, reference=holes, difference=difference, aspect=1.5, **common),
        Entry(id="2" * 24 + "-3", fast=empty, reference=empty, difference=empty, **common),
    ]
    write_sheet(made, tmp_path)
    none, large, nothing = cards((tmp_path / "page-0001.html").read_text(encoding="utf-8"))
    assert "No picture" in none
    shown = [grey(uri) for uri in re.findall(r'src="([^"]+)"', large)]
    assert [image.shape for image in shown] == [(190, 128)] * 3
    assert 'width="128" height="285"' in large
    assert shown[1][:, :28].max() < 8
    assert len(re.findall("<img", nothing)) == 3
    with pytest.raises(DataError, match=r"fast .* shape"):
        write_sheet([Entry(id="3" * 24, fast=np.zeros((2, 3, 4), np.float32), **common)], tmp_path)


def test_many_kinds_of_reasons_do_not_fill_the_memory(tmp_path: Path) -> None:
    words = [f"because of {chr(97 + n // 26)}{chr(97 + n % 26)} {n}" for n in range(130)]
    common = {"organ": "head", "vendor": "GE", "sequence": "T1w", "verdict": "rejected"}
    text = write_sheet((Entry(id=f"{n:024x}", reasons=(word,), **common) for n, word in enumerate(words)), tmp_path).read_text(encoding="utf-8")
    assert text.count("because of") == sheet.MAX_REASONS
    assert f'<td>{OTHER}</td><td class="n">30</td>' in text
    assert kind_of("2 of 30 slices: −1.5 mm") == "… of … slices: … mm"


def test_memory_is_that_of_a_page_however_long_the_sheet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheet, "PER_PAGE", 5)

    def peak(n_pages: int) -> int:
        tracemalloc.start()
        write_sheet((entry(n) for n in range(5 * n_pages)), tmp_path)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(1)
    assert peak(9) < 1.5 * peak(2)


@pytest.mark.debian
def test_browser_filters_by_choice_and_by_the_links_of_the_index(browser: Any, tmp_path: Path) -> None:
    made = [
        entry(1),
        entry(2, organ="knee"),
        entry(3, verdict="rejected", reasons=('clipped at 4095, "hard" & <fast>', "NMI 1.02 is below 1.1")),
        entry(4, verdict="rejected", reasons=("NMI 1.01 is below 1.1",), vendor="GE"),
    ]
    index = write_sheet(made, tmp_path)
    view, asked, complaints = browser.new_page(viewport={"width": 1100, "height": 900}), [], []
    view.on("request", lambda request: asked.append(request.url))
    view.on("console", lambda message: complaints.append(message.text))
    view.on("pageerror", lambda error: complaints.append(str(error)))
    view.goto((tmp_path / "page-0001.html").as_uri())
    shown = view.locator("article:visible code")
    assert shown.count() == 4
    assert view.evaluate("[...document.images].every(one => one.complete && one.naturalWidth > 0)")
    view.locator("select[data-filter=organ]").select_option("knee")
    assert shown.all_inner_texts() == [made[1].id]
    assert view.locator("#shown").inner_text() == "1 of 4"
    view.locator("select[data-filter=organ]").select_option("")
    view.locator("select[data-filter=verdict]").select_option("rejected")
    view.locator("select[data-filter=vendor]").select_option("GE")
    assert shown.all_inner_texts() == [made[3].id]
    view.goto(index.as_uri())
    view.locator("tr", has_text="clipped").locator("a").click()
    assert shown.all_inner_texts() == [made[2].id]
    assert complaints == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    for width in (360, 1600):
        view.set_viewport_size({"width": width, "height": 800})
        assert view.evaluate("document.documentElement.scrollWidth") <= width
    view.close()
