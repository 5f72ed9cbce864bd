"""Answers in Debian's Chromium: a lost network, a new login, another screen, and what people with keyboards alone can do."""

from typing import Any

import pytest

from onenex.reader.store import Store
from tests.reader.served import Made, reader
from tests.reader.test_viewer_browser import address, at, log_in, made, saved, shoot, store, view

__all__ = ["address", "made", "store", "view"]


def value(store: Store, made: Made, item: str = "overall_quality") -> int | None:
    return next((one.value for one in store.answers(made.of("anna")[0].key) if one.item == item), None)


@pytest.mark.debian
def test_answers_wait_for_a_lost_network(made: Made, store: Store, view: Any) -> None:
    view.context.set_offline(True)
    view.keyboard.press("3")
    view.get_by_text("Not saved: the server does not answer").wait_for()
    view.keyboard.press("2")
    shoot(view, "offline")
    assert value(store, made) is None
    assert view.evaluate("Object.entries({...localStorage, ...sessionStorage}).length") == 0
    view.keyboard.press("ArrowDown")  # images are here already
    view.context.set_offline(False)
    saved(view)
    assert (value(store, made), value(store, made, "snr")) == (3, 2)


@pytest.mark.debian
def test_answers_wait_for_a_new_login(made: Made, store: Store, address: str, view: Any) -> None:
    view.context.clear_cookies()
    view.keyboard.press("3")
    view.get_by_text("you are logged out").wait_for()
    shoot(view, "logged-out")
    assert value(store, made) is None
    with view.context.expect_page() as opened:
        view.get_by_role("link", name="Log in").click()
    other = opened.value
    log_in(other, address)
    saved(view)
    assert value(store, made) == 3


@pytest.mark.debian
def test_another_screen_is_not_overwritten(made: Made, store: Store, address: str, view: Any) -> None:
    with reader(address, "anna") as anna:
        anna.save(made.of("anna")[0].key, item="overall_quality", value=4)
    view.keyboard.press("1")
    view.get_by_text("answered on another screen").wait_for()
    assert value(store, made) == 4
    with view.expect_navigation():
        view.get_by_role("button", name="Load again").click()
    view.wait_for_selector(".all-images")
    assert view.locator("input[name=overall_quality-0]:checked").get_attribute("value") == "4"
    assert view.locator(".current").get_attribute("data-item") == "snr"  # goes on with what is open


@pytest.mark.debian
def test_finish_asks_for_what_is_missing_and_takes_the_last_words(made: Made, store: Store, view: Any) -> None:
    key = made.of("anna")[0].key
    for digit in "3214":
        view.keyboard.press(digit)
    view.get_by_role("button", name="Finish case").click(force=True)
    assert view.url.endswith(key)
    assert view.locator(".current").get_attribute("data-item") == "confidence"
    view.keyboard.press("5")
    view.get_by_label("Remarks?").fill("w 3 grün <i>")
    view.get_by_role("button", name="Finish case").click(force=True)
    view.wait_for_url(f"**/read/{made.of('anna')[1].key}")
    said = {one.item: one.text or one.value for one in store.answers(key)}
    assert said == {"overall_quality": 3, "snr": 2, "sharpness": 1, "artefacts": 4, "confidence": 5, "comment": "w 3 grün <i>"}


@pytest.mark.debian
def test_keys_rest_where_people_write_and_when_switched_off(made: Made, store: Store, view: Any) -> None:
    view.get_by_label("Remarks?").focus()
    view.keyboard.type("r3w")
    view.keyboard.press("Escape")
    view.keyboard.press("?")
    view.get_by_role("dialog").wait_for()
    shoot(view, "help")
    view.keyboard.press("3")
    view.get_by_label("Use keys with letters and digits").uncheck()
    view.keyboard.press("Escape")
    view.get_by_role("dialog").wait_for(state="hidden")
    view.keyboard.press("3")
    view.keyboard.press("ArrowDown")
    at(view, "8 / 12")
    saved(view)
    assert {one.item: one.text for one in store.answers(made.of("anna")[0].key)} == {"comment": "r3w"}


@pytest.mark.debian
def test_arrows_scroll_and_never_change_an_answer_up_or_down(made: Made, store: Store, view: Any) -> None:
    view.locator("input[name=snr-0]").nth(1).check()
    saved(view)
    view.keyboard.press("ArrowDown")
    view.keyboard.press("ArrowUp")
    view.keyboard.press("ArrowDown")
    at(view, "8 / 12")
    assert value(store, made, "snr") == 2


CONTRAST = """() => {
  const light = (rgb) => rgb.map((one) => one / 255).map((one) => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4)
    .reduce((sum, one, index) => sum + one * [0.2126, 0.7152, 0.0722][index], 0);
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const behind = (one) => { for (; one; one = one.parentElement) { const c = parse(getComputedStyle(one).backgroundColor);
    if (c.length === 3 || c[3] === 1) return c.slice(0, 3); } return [0, 0, 0]; };
  const bad = [];
  for (const one of document.querySelectorAll("body *")) {
    const has = [...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!has || !one.checkVisibility() || one.matches(".skip, canvas")) continue;
    const [a, b] = [light(parse(getComputedStyle(one).color).slice(0, 3)), light(behind(one))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) bad.push([one.outerHTML.slice(0, 80), (a + 0.05) / (b + 0.05)]);
  }
  return bad;
}"""


@pytest.mark.debian
def test_everything_has_a_name_and_contrast_and_can_be_reached(address: str, view: Any) -> None:
    view.keyboard.press("3")
    saved(view)
    assert view.evaluate(CONTRAST) == []
    unnamed = view.evaluate(
        "() => [...document.querySelectorAll('button, input, textarea, a, canvas, [role=radiogroup]')].filter((one) => one.type !== 'hidden'"
        " && !one.labels?.length && !one.getAttribute('aria-label') && !one.textContent.trim()).map((one) => one.outerHTML)"
    )
    assert unnamed == []
    reached = set()
    for _ in range(40):
        view.keyboard.press("Tab")
        reached.add(view.evaluate("document.activeElement.id || document.activeElement.name || document.activeElement.dataset.do || ''"))
    assert {"slice", "finish", "snr-0", "comment-0", "r", "?", "pixels"} <= reached
    view.set_viewport_size({"width": 400, "height": 800})
    assert view.evaluate("document.documentElement.scrollWidth") <= 400
    shoot(view, "narrow")
    view.goto(address)
    assert view.evaluate(CONTRAST) == []
