"""The guard on the QA page: which slice is shown, in which words and colours."""

import re
from dataclasses import replace

import numpy as np

from onenex.model.examination import examine
from onenex.model.modes import Settings
from onenex.report.collect import Collector
from onenex.report.guard import MAX_ROWS, described, overlay, overlay_bar, overlay_palette, plain
from onenex.report.page import render
from onenex.results import GuardSummary, TouchedSlice
from onenex.series import Acquisition
from tests.fake_model import FakeModel
from tests.report.test_page import SCALE, SIGMA, disc, entry, labels, look


def judged(touched: dict[int, float], *, guard: bool = True) -> str:
    """The page of a series whose guard doubts these slices."""
    images = disc((8, 96, 80))
    collector = Collector((2, 4, 6), SCALE)
    settings = Settings(mode="full", n_samples=3, guard=guard)
    collector.add(images, FakeModel(sigma=SIGMA, touched=touched).denoise(images, Acquisition(), mode=settings), labels(images), look)
    one = entry("denoised", "T2", findings=collector.findings())
    result = replace(one.result, settings={"mode": "full", "samples": 3, "guard": guard}, notes=("a note",))
    return render([replace(one, result=result)], {})


def test_the_slice_that_the_guard_likes_least_is_shown_first_even_if_it_is_none_of_the_representative_ones() -> None:
    text = judged({0: 0.1, 3: 0.5})
    assert re.findall(r'<span class="bad"[^>]*>(slice [0-9]+), doubted', text) == ["slice 4"]
    assert re.search(r'value="3" checked><span class="bad"[^>]*>slice 4', text)
    assert text.count("Guard: at most 150 % of its limit") == 1
    assert text.count("Guard: at most 25 % of its limit") == 3
    assert text.index('<th scope="row">slice 4') < text.index('<th scope="row">slice 1')


def test_without_doubts_the_middle_slice_is_shown_first() -> None:
    text = judged({})
    assert "all 8 slices passed" in text
    assert re.search(r'value="1" checked><span>slice 5', text)
    assert ", doubted" not in text


def test_reasons_are_given_in_plain_words_and_as_they_were() -> None:
    text = judged({3: 0.5})
    assert "a spot was taken away or added that noise does not explain" in text
    assert "spot of radius 3.2 pixels at row 0, column 5: 9.3 σ, limit 6.2 σ" in text
    assert "50 % of its tissue shows measured pixels again" in text


def test_every_check_of_the_guard_has_plain_words() -> None:
    scan = np.abs(disc((1, 96, 80))[0])
    found = examine(scan, scan, scan, np.full_like(scan, SIGMA))
    assert len(found.checks) > 5
    assert [str(check) for check in found.checks if not plain(str(check))] == []
    assert plain("the moon was full") == ""


def test_uncertainty_notes_and_a_guard_that_is_off_are_shown() -> None:
    text = judged({}, guard=False)
    assert text.count("Uncertainty, from 3 samples") == 3
    assert "a note" in text
    assert 'class="banner"' in text
    assert "Guard: at most" not in text
    assert 'class="banner"' not in judged({})


def test_many_doubted_slices_make_a_short_table() -> None:
    touched = tuple(TouchedSlice(label=f"slice {i}", share_given_up=0.1, kept=0.9, reasons=()) for i in range(MAX_ROWS + 5))
    found = described(GuardSummary(n_slices=40, touched=touched), on=True)
    assert (len(found["rows"]), found["more"]) == (MAX_ROWS, 5)
    assert described(None, on=True)["headline"] == "nothing to judge"


def test_suspicion_colours_what_is_near_its_limit_and_nothing_else() -> None:
    grey = np.full((1, 4), 0.5, np.float32)
    colours = overlay_palette()[overlay(grey, np.array([[0.0, 0.59, 0.8, 5.0]], np.float32))][0].astype(int)
    assert list(colours[:, 0] - colours[:, 2] > 20) == [False, False, True, True]
    assert all(len(set(colour)) == 1 for colour in colours[:2].tolist())
    assert colours[3, 0] - colours[3, 1] > colours[2, 0] - colours[2, 1]
    assert len(np.unique(overlay_palette()[overlay_bar()[0]], axis=0)) == 8
