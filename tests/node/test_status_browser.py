"""The status page in Debian's Chromium, served for real: see a series arrive and its pictures, retry, pause and resume."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from onenex.node.records import State
from onenex.node.status import run
from tests.dicom.orthanc import free_ports
from tests.node.filled import FAMILY, NAME, PASSWORD, PATIENT_ID, TELLTALES, USER, Filled
from tests.node.hospital import listens, until

CHROMIUM = Path("/usr/bin/chromium")
SHOTS = os.environ.get("ONENEX_SHOTS")
"""Folder for screenshots, for people to look at; none by default."""


@pytest.fixture
def filled(tmp_path: Path) -> Filled:
    """A verified series, a passed-through one, a denoised one on its way, and a failed one."""
    filled = Filled(tmp_path)
    filled.complete(filled.arrive(filled.series(SeriesDescription="t2_tse_tra")))
    filled.denoise(filled.claim())
    filled.deliver(2)
    filled.complete(filled.arrive(filled.series(3, SeriesDescription="ep2d_diff_ADC")))
    filled.deliver()
    filled.queue.skip(filled.claim(), "an ADC map: ImageType (0008,0008) says ADC")
    filled.complete(filled.arrive(filled.series(12, rows=320, columns=260, SeriesDescription="t1_mprage_sag")))
    filled.denoise(filled.claim())
    filled.complete(filled.arrive(filled.series(SeriesDescription=f"pd_tse_cor {FAMILY}")))
    filled.deliver(2, verified=False)
    filled.give_up(f"PACS answered 0110 (processing failure): no patient {NAME} with id {PATIENT_ID}")
    filled.queue.fail(filled.claim(), "IM0003.dcm is truncated: send the series again from the scanner or PACS", final=True)
    return filled


@pytest.fixture
def address(filled: Filled) -> Iterator[str]:
    port, stop = free_ports(1)[0], threading.Event()
    serving = threading.Thread(target=run, args=(filled.config(port=port), stop))
    serving.start()
    until(lambda: listens(port), 20, "the status page does not listen")
    yield f"http://127.0.0.1:{port}"
    stop.set()
    serving.join(15)
    assert not serving.is_alive()


@pytest.fixture
def view(address: str) -> Iterator[Any]:
    """A browser's page that notes what it asked for and complained of."""
    if not CHROMIUM.is_file():
        pytest.skip("chromium not found: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as api:
        browser = api.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"])
        view = browser.new_page(viewport={"width": 1280, "height": 800})
        view.asked, view.complaints = [], []
        view.on("request", lambda request: view.asked.append(request.url))
        view.on("console", lambda message: view.complaints.append(message.text))
        view.on("pageerror", lambda error: view.complaints.append(str(error)))
        view.set_default_timeout(15_000)
        view.goto(address)
        yield view
        browser.close()


def shoot(view: Any, name: str) -> None:
    if SHOTS:
        view.screenshot(path=f"{SHOTS}/node-{name}.png", full_page=True)


def row(view: Any, series_id: int) -> Any:
    return view.locator(f"tr[data-id='{series_id}']")


@pytest.mark.debian
def test_browser_from_login_to_resume(filled: Filled, address: str, view: Any) -> None:
    assert view.locator("button").count() == 0
    shoot(view, "list-anybody")
    log_in(view)
    see_a_series_arrive(filled, view)
    see_its_pictures(view, address)
    retry_the_failed_one(filled, view, address)
    pause_and_resume(filled, view)
    assert ["status of 403" in one for one in view.complaints] == [True]  # the browser notes the wrong password
    assert [url for url in view.asked if not url.startswith(f"{address}/")] == []


def log_in(view: Any) -> None:
    view.get_by_role("link", name="Log in").click()
    view.get_by_label("User").fill(USER)
    view.get_by_label("Password").fill("wrong")
    view.get_by_role("button", name="Log in").click()
    assert "User or password is wrong." in view.get_by_role("alert").first.inner_text()
    shoot(view, "login")
    view.get_by_label("User").fill(USER)
    view.get_by_label("Password").fill(PASSWORD)
    view.keyboard.press("Enter")
    view.get_by_text("Logged in as").wait_for()


def see_a_series_arrive(filled: Filled, view: Any) -> None:
    assert row(view, 5).count() == 0
    filled.queue.announce("1.2.3.4", "1.2.3.4.5", 8)
    assert filled.arrive(filled.series(3, SeriesDescription="t2_flair", StudyInstanceUID="1.2.3.4", SeriesInstanceUID="1.2.3.4.5")) == 5
    row(view, 5).get_by_text("3 of 8").wait_for()  # by itself: nothing was clicked
    assert "Receiving" in row(view, 5).inner_text()
    assert "t2_flair" in row(view, 5).inner_text()
    text = view.locator("body").inner_text()
    assert [word for word in TELLTALES if word in text] == []
    shoot(view, "list")
    view.emulate_media(color_scheme="dark")
    shoot(view, "list-dark")
    view.emulate_media(color_scheme="light")


def see_its_pictures(view: Any, address: str) -> None:
    view.get_by_role("link", name="#3 3 · t1_mprage_sag").click()
    images = view.locator("#pictures img")
    images.nth(5).wait_for()
    view.wait_for_function("[...document.querySelectorAll('#pictures img')].every((one) => one.complete && one.naturalWidth > 0)")
    assert images.count() == 6
    assert images.first.get_attribute("alt") == "Image 4 of 12, original"
    shoot(view, "series")
    before, after = (grey(view, address, images.nth(index).get_attribute("src")) for index in (2, 3))
    assert before.shape == after.shape
    assert 0 < np.abs(before - after).mean() < 30
    assert np.corrcoef(before.ravel(), after.ravel())[0, 1] > 0.9
    view.set_viewport_size({"width": 420, "height": 800})
    assert view.evaluate("document.documentElement.scrollWidth") <= 420
    shoot(view, "series-narrow")
    view.set_viewport_size({"width": 1280, "height": 800})


def grey(view: Any, address: str, source: str) -> Any:
    import io

    answer = view.request.get(address + source)
    return np.asarray(Image.open(io.BytesIO(answer.body())).convert("L"), np.float32)


def retry_the_failed_one(filled: Filled, view: Any, address: str) -> None:
    view.goto(f"{address}/?state=failed")
    assert view.locator("tbody tr").count() == 1
    row(view, 4).get_by_role("link").click()
    view.wait_for_url("**/series/4")
    shoot(view, "failed")
    assert "truncated" in view.locator("main").inner_text()
    assert "no patient [hidden] with id [hidden]" in view.locator("main").inner_text()
    view.get_by_role("button", name="Retry series 4").click()
    view.get_by_text("The series starts again.").wait_for()
    found = filled.queue.one(4)
    assert found is not None
    assert found.state is State.COMPLETE
    filled.denoise(filled.claim())
    view.locator(".status[data-state=denoised]").wait_for()  # by itself again
    view.locator("figcaption", has_text="After").first.wait_for()


def pause_and_resume(filled: Filled, view: Any) -> None:
    view.get_by_role("link", name="OneNEX node").click()
    view.get_by_role("button", name="Pause").click()
    view.get_by_text("Nothing is denoised or sent").wait_for()
    assert filled.queue.paused()
    assert filled.queue.claim_delivery("send", 60) is None
    shoot(view, "paused")
    view.get_by_role("button", name="Resume").click()
    view.get_by_text("Running again.").wait_for()
    assert not filled.queue.paused()


@pytest.mark.debian
def test_browser_says_when_the_node_is_gone(filled: Filled, view: Any) -> None:
    view.route("**/*", lambda route: route.abort())
    view.get_by_text("The node has not answered since").wait_for()
    shoot(view, "gone")
    view.unroute("**/*")
    view.locator("#stale").wait_for(state="hidden")


@pytest.mark.debian
def test_browser_keeps_the_focus_when_the_list_changes(filled: Filled, view: Any) -> None:
    row(view, 2).get_by_role("link").focus()
    filled.arrive(filled.series(1))
    row(view, 5).wait_for()
    assert view.evaluate("document.activeElement.getAttribute('href')") == "/series/2"
