"""The QA page: what it says, that it needs nothing but itself, and that a browser shows it."""

import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onenex.report.collect import Collector, Findings, Look, representative
from onenex.report.page import MAX_SIDE, PAGE_BYTES, Entry, pictures_per_series, render
from onenex.report.png import png, to_bytes
from onenex.results import SeriesResult
from onenex.series import Acquisition, Denoised, FloatImages, FrameRef, Series, SliceStack
from tests.fake_model import FakeModel

SCALE, SIGMA = 1000.0, 40.0


def disc(shape: tuple[int, int, int] = (4, 96, 80), seed: int = 0) -> FloatImages:
    """A bright disc on nothing, with Gaussian noise."""
    generator = np.random.default_rng(seed)
    y, x = np.ogrid[-1 : 1 : shape[1] * 1j, -1 : 1 : shape[2] * 1j]
    return (SCALE * ((x**2 + y**2) < 0.7) + generator.normal(0, SIGMA, shape)).astype(np.float32)


def labels(images: FloatImages) -> list[str]:
    return [f"slice {index + 1}" for index in range(len(images))]


def look(_: int) -> Look:
    return Look()


def collected(images: FloatImages, shown: tuple[int, ...]) -> Findings:
    collector = Collector(shown, SCALE)
    denoised = FakeModel(sigma=SIGMA).denoise(images, Acquisition())
    collector.add(images, denoised, labels(images), lambda _: Look(window=(0.0, 1200.0)))
    return collector.findings()


def entry(status: str, description: str, *, reason: str | None = None, findings: Findings | None = None) -> Entry:
    stack = SliceStack(label="", frames=(FrameRef(path=Path("x")),), rows=96, columns=80)
    result = SeriesResult(
        path=Path("/scans/Doe^Jane"), series_uid="1.2", description=description, status=status, reason=reason, n_images=4, outputs=(), seconds=1.2
    )
    acquisition = Acquisition(vendor="Siemens", organ="head", nex=1.0, evidence={"vendor": "Manufacturer (0008,0070)"})
    series = Series(uid="1.2", path=Path("/scans/Doe^Jane"), description=description, number=7, acquisition=acquisition, stacks=(stack,), source=None)  # type: ignore[arg-type]
    return Entry.of(series, result, findings, Path("/scans/Doe^Jane"))


@pytest.fixture(scope="module")
def page() -> str:
    entries = [
        entry("denoised", "T2 <b>FLAIR</b>", findings=collected(disc(), (1, 2, 3))),
        entry("skipped", "ADC", reason="a derived map (ADC)"),
        entry("failed", "broken", reason="/scans/Doe^Jane/IM1.dcm is truncated: fetch it again"),
    ]
    return render(entries, {"mode": "fast", "weights": "0123456789ab"})


def test_page_names_series_settings_reasons_and_evidence(page: str) -> None:
    for text in ("0123456789ab", "a derived map (ADC)", "IM1.dcm is truncated", "Manufacturer (0008,0070)", "Not a medical device", "slice 3"):
        assert text in page
    assert "Not known: sequence, plane, field" in page


def test_page_escapes_header_text_and_holds_no_folder_names(page: str) -> None:
    assert "<b>FLAIR</b>" not in page
    assert "T2 &lt;b&gt;FLAIR" in page
    assert "Doe^" not in page
    assert "/scans" not in page


def test_page_refers_to_nothing_outside_itself(page: str) -> None:
    sources = re.findall(r'(?:src|href)="([^"]{0,40})', page)
    assert len(sources) == 3 * 7
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert not re.search(r"https?://|@import|url\(", page)


def test_numbers_of_a_perfect_answer_are_those_of_the_simulation() -> None:
    noisy = disc((6, 128, 128))
    truth = SCALE * (np.abs(noisy) > SCALE / 2).astype(np.float32)
    sigma = np.full_like(noisy, SIGMA)
    collector = Collector((), SCALE)
    collector.add(noisy, Denoised(images=truth, noise_sigma=sigma, mode="fast", strength=1.0, seed=0, weights_hash=""), labels(noisy), look)
    findings = collector.findings()
    assert findings.snr_before == pytest.approx(SCALE / SIGMA, rel=0.01)
    assert findings.noise_sigma == pytest.approx(SIGMA)
    assert findings.residual_sigma == pytest.approx(1.0, abs=0.03)
    assert findings.snr_after is None  # no detail is left to measure
    share = findings.histogram[18:22].sum() / findings.histogram.sum()
    assert share == pytest.approx(0.383, abs=0.02)  # of a unit normal within half a sigma


def test_snr_after_follows_the_fall_of_the_noise_left() -> None:
    noisy = disc((6, 128, 128))
    truth = SCALE * (np.abs(noisy) > SCALE / 2).astype(np.float32)
    half = (truth + noisy) / 2
    collector = Collector((), SCALE)
    collector.add(
        noisy, Denoised(images=half, noise_sigma=np.full_like(noisy, SIGMA), mode="fast", strength=1.0, seed=0, weights_hash=""), labels(noisy), look
    )
    assert collector.findings().snr_after == pytest.approx(2 * SCALE / SIGMA, rel=0.03)


def test_collector_without_foreground_or_noise_says_nothing_rather_than_infinity() -> None:
    empty = collected(np.zeros((2, 32, 32), np.float32), (0,))
    assert (empty.snr_before, empty.snr_after, empty.noise_sigma, empty.residual_sigma) == (None, None, None, None)
    clean = Collector((), SCALE)
    clean.add(disc(), FakeModel(sigma=0.0).denoise(disc(), Acquisition()), labels(disc()), look)
    assert clean.findings().snr_before is None
    assert "–" in render([entry("denoised", "empty", findings=empty)], {})


def test_many_or_large_series_keep_the_page_small() -> None:
    assert representative(12, 3) == (3, 6, 9)
    assert representative(1, 3) == (0,)
    assert representative(0, 3) == ()
    assert pictures_per_series([512 * 512]) == 3
    assert pictures_per_series([512 * 512] * 20) == 1
    assert pictures_per_series([512 * 512] * 200) == 0
    large = collected(disc((1, 2 * MAX_SIDE, 2 * MAX_SIDE)), (0,))
    text = render([entry("denoised", "large", findings=large)], {})
    assert "shown at 1/2 of its resolution" in text
    assert len(text) * 3 < PAGE_BYTES


def test_thin_images_are_shown_too() -> None:
    assert 'height="1"' in render([entry("denoised", "thin", findings=collected(disc((1, 1, 3000)), (0,)))], {})


def test_png_is_what_the_standard_says() -> None:
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    data = png(pixels)
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", data[16:24]) == (4, 3)
    length = struct.unpack(">I", data[33:37])[0]
    lines = np.frombuffer(zlib.decompress(data[41 : 41 + length]), np.uint8).reshape(3, 5)
    np.testing.assert_array_equal(lines[:, 1:], pixels)


def test_grey_levels_are_linear_and_clipped() -> None:
    np.testing.assert_array_equal(to_bytes(np.array([[-1.0, 0.0, 0.5, 1.0, 9.0, np.nan]]), 0, 1), [[0, 0, 128, 255, 255, 0]])
    np.testing.assert_array_equal(to_bytes(np.array([[1.0, 2.0]]), 2, 2), [[0, 255]])


@pytest.fixture
def view(browser: Any, page: str, tmp_path: Path) -> Iterator[Any]:
    """The page in headless Chromium, with lists of what it asked for and complained of."""
    file = tmp_path / "qa.html"
    file.write_text(page, encoding="utf-8")
    view = browser.new_page(viewport={"width": 1100, "height": 900})
    view.asked, view.complaints = [], []
    view.on("request", lambda request: view.asked.append(request.url))
    view.on("console", lambda message: view.complaints.append(message.text))
    view.on("pageerror", lambda error: view.complaints.append(str(error)))
    view.goto(file.as_uri())
    yield view
    view.close()


@pytest.mark.debian
def test_browser_shows_the_page_and_the_slider_works(view: Any) -> None:
    stage, slider = view.locator(".stage:visible"), view.locator("input[type=range]:visible")
    assert stage.count() == 1
    half = stage.screenshot()
    slider.focus()
    view.keyboard.press("Home")
    denoised = stage.screenshot()
    view.keyboard.press("End")
    scanned = stage.screenshot()
    assert len({half, denoised, scanned}) == 3
    stage.click(position={"x": 0.25 * stage.bounding_box()["width"], "y": 60})
    assert float(slider.input_value()) == pytest.approx(25, abs=1)
    view.locator("text=slice 4").first.click()
    assert view.locator(".view:visible").get_attribute("data-view") == "2"
    rows = view.locator("#not-denoised tbody tr").all_inner_texts()
    assert ["skipped" in rows[0], "failed" in rows[1]] == [True, True]
    assert view.complaints == []
    assert [url for url in view.asked if not url.startswith(("file:", "data:"))] == []


@pytest.mark.debian
@pytest.mark.parametrize("width", [340, 700, 1600])
def test_browser_needs_no_sideways_scrolling(view: Any, width: int) -> None:
    view.set_viewport_size({"width": width, "height": 800})
    assert view.evaluate("document.documentElement.scrollWidth") <= width
