"""The reading page in Debian's Chromium, served for real: viewer, keys, questions, lost network, another machine."""

import base64
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from onenex.reader.keeping.views import Stack
from onenex.reader.store import Store
from tests.reader.served import PASSWORD, Made, make, reader, serving

SHOTS = os.environ.get("ONENEX_SHOTS")
"""Folder for screenshots, for people to look at; none by default."""
STACK = Stack(n_slices=12, rows=96, columns=80, spacing_mm=(3.0, 1.0, 2.0), window=(30_000, 40_000))
WANTED = [("quality", ("denoised",)), ("compare", ("denoised", "longscan")), ("spine", ("longscan",)), ("knee", ("denoised",))]


def draw(_: str, __: tuple[str, ...], side: int, stack: Stack) -> np.ndarray:
    """A disc that grows from slice to slice on a ramp; the same on both sides but for its grey."""
    down, across = np.mgrid[: stack.rows, : stack.columns]
    far = np.hypot(down - 48, 2 * (across - 40))
    return np.stack([np.where(far < 8 + 2 * z, 45_000 - 9_000 * side, 15_000 + 50 * down) for z in range(stack.n_slices)]).astype(np.uint16)


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return make(tmp_path / "study", WANTED, stack=STACK, draw=draw, readers=("anna",))


@pytest.fixture
def store(made: Made) -> Iterator[Store]:
    store = made.store()
    yield store
    store.close()


@pytest.fixture
def address(made: Made) -> Iterator[str]:
    with serving(made.folder) as address:
        yield address


@pytest.fixture
def view(address: str, browser: Any) -> Iterator[Any]:
    """A browser's page at the first case that notes what it asked for and complained of."""
    context = browser.new_context(viewport={"width": 1600, "height": 900}, has_touch=True)
    view = context.new_page()
    view.asked, view.complaints = [], []
    view.on("request", lambda request: view.asked.append(request.url))
    view.on("console", lambda message: view.complaints.append(message.text))
    view.on("pageerror", lambda error: view.complaints.append(str(error)))
    view.set_default_timeout(15_000)
    log_in(view, address)
    view.get_by_role("link", name="Start").click()
    view.wait_for_selector(".all-images")
    yield view
    context.close()


def log_in(view: Any, address: str) -> None:
    view.goto(f"{address}/login")
    view.get_by_label("User").fill("anna")
    view.get_by_label("Password").fill(PASSWORD)
    view.get_by_role("button", name="Log in").click()
    view.get_by_text("Your sessions").wait_for()
    shoot(view, "sessions")


def shoot(view: Any, name: str) -> None:
    if SHOTS:
        view.screenshot(path=f"{SHOTS}/reader-{name}.png")


def seen(view: Any) -> dict[str, str]:
    """What the viewer says of itself, once it has drawn."""
    view.evaluate("new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)))")
    words = {name: view.locator(f"#{name}").inner_text() for name in ("number", "window", "zoom")}
    return words | {"painted": view.locator("canvas").first.get_attribute("data-painted"), "grey": pixels(view)}


def at(view: Any, number: str) -> None:
    """Waits until the viewer has come to that slice: a wheel's event may come after the call that turned it."""
    view.locator("#number", has_text=number).wait_for()


def pixels(view: Any, side: int = 0) -> str:
    return str(view.locator("canvas").nth(side).evaluate("(canvas) => canvas.toDataURL()"))


def saved(view: Any) -> None:
    view.locator("#saved.good").wait_for()


@pytest.mark.debian
def test_a_session_by_keyboard(made: Made, store: Store, address: str, view: Any) -> None:
    keys = [one.key for one in made.of("anna")]
    for key, digits in zip(keys, ("32143", "5", "123452", "12345"), strict=True):
        view.wait_for_url(f"**/read/{key}")
        view.wait_for_selector(".all-images")
        view.keyboard.press("ArrowDown")
        for digit in digits:
            view.keyboard.press(digit)
        saved(view)
        shoot(view, store.queue("anna", 1)[keys.index(key)].reading)
        assert view.evaluate("document.activeElement.id") == "finish"
        view.keyboard.press("Enter")
    view.get_by_text("This session is finished. Thank you.").wait_for()
    shoot(view, "finished")
    said = [{(one.item, one.where): one.value for one in store.answers(key)} for key in keys]
    assert list(said[0].values()) == [3, 2, 1, 4, 3]
    assert said[1] == {("preference", ""): 2}
    assert list(said[2].values()) == [1, 2, 3, 4, 5, 2]
    assert list(said[3].values()) == [1, 2, 3, 4, 5]
    assert all(one.done for one in store.queue("anna", 1))
    shown = [store.shown(key) for key in keys]
    assert all(one is not None and 0 < one.seconds < 20 for one in shown)
    assert view.complaints == []
    assert [url for url in view.asked if not url.startswith(f"{address}/")] == []


@pytest.mark.debian
def test_keys_and_mouse_move_the_images(view: Any) -> None:
    start = seen(view)
    assert start["number"] == "7 / 12"
    for key, number in (("ArrowDown", 8), ("ArrowUp", 7), ("PageDown", 12), ("PageUp", 7), ("Home", 1), ("ArrowUp", 1), ("End", 12)):
        view.keyboard.press(key)
        now = seen(view)
        assert (now["number"], now["painted"]) == (f"{number} / 12", str(number - 1))
    view.keyboard.press("r")
    assert seen(view) == start
    for key, changed in (("w", "window"), ("Shift+W", "window"), ("l", "window"), ("Shift+L", "window"), ("+", "zoom"), ("-", "zoom")):
        before = seen(view)
        view.keyboard.press(key)
        now = seen(view)
        assert now[changed] != before[changed], key
        assert now["grey"] != before["grey"], key
    view.keyboard.press("r")
    for action in ("Shift+ArrowLeft", "i"):
        view.keyboard.press(action)
        assert seen(view)["grey"] != start["grey"], action
        view.keyboard.press("r")
        assert seen(view) == start
    box = view.locator("canvas").bounding_box()
    view.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    view.mouse.wheel(0, 120)
    at(view, "8 / 12")
    for button, changed in (("left", "grey"), ("right", "window"), ("middle", "zoom")):
        view.keyboard.press("r")
        view.mouse.move(box["x"] + 300, box["y"] + 300)
        view.mouse.down(button=button)
        view.mouse.move(box["x"] + 380, box["y"] + 240, steps=4)
        view.mouse.up(button=button)
        assert seen(view)[changed] != start[changed], button
    view.get_by_role("button", name="Reset").click()
    assert seen(view) == start
    assert view.complaints == []


@pytest.mark.debian
def test_grey_is_the_window_and_the_bar_is_true(view: Any) -> None:
    view.keyboard.press("i")
    seen(view)
    picture = base64.b64decode(pixels(view).partition(",")[2])
    grey = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"))[..., 0]
    size = grey.shape[::-1]
    middle = grey[size[1] // 2, size[0] // 2]
    assert middle == round((45_000 - (30_000 - 0.5 - 39_999 / 2)) / 39_999 * 255)
    across, down = (grey == middle).any(0).sum(), (grey == middle).any(1).sum()
    assert across == pytest.approx(down, rel=0.1)  # pixels twice as wide as high: the disc is round
    bar = view.locator(".bar").bounding_box()["width"]
    millimetres = int(view.locator(".length").inner_text().removesuffix(" mm"))
    assert down / bar * millimetres == pytest.approx(2 * (8 + 2 * 6), rel=0.05)


@pytest.mark.debian
def test_two_series_move_as_one(made: Made, store: Store, address: str, view: Any) -> None:
    with reader(address, "anna") as anna:
        anna.answer_all(made.of("anna")[0].key, store)
        anna.finish(made.of("anna")[0].key)
    view.goto(f"{address}/read/{made.of('anna')[1].key}")
    view.wait_for_selector(".all-images")
    for key in ("ArrowDown", "+", "w", "l", "Shift+ArrowUp"):
        before = [pixels(view, side) for side in (0, 1)]
        view.keyboard.press(key)
        seen(view)
        after = [pixels(view, side) for side in (0, 1)]
        assert all(old != new for old, new in zip(before, after, strict=True)), key
        assert len({view.locator("canvas").nth(side).get_attribute("data-painted") for side in (0, 1)}) == 1
    shoot(view, "compare-zoomed")


@pytest.mark.debian
def test_touch_scrolls_and_pinches(view: Any) -> None:
    start, session = seen(view), view.context.new_cdp_session(view)

    def touch(kind: str, *points: tuple[int, int]) -> None:
        touches = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})

    touch("touchStart", (500, 500))
    for y in range(490, 420, -10):
        touch("touchMove", (500, y))
    touch("touchEnd")
    assert int(seen(view)["number"].split()[0]) > 7
    view.keyboard.press("r")
    touch("touchStart", (450, 400), (550, 400))
    for wide in range(60, 160, 20):
        touch("touchMove", (500 - wide, 400), (500 + wide, 400))
    touch("touchEnd")
    zoom = int(re.sub(r"\D", "", seen(view)["zoom"]))
    assert zoom > 150
    assert seen(view)["number"] == start["number"]
