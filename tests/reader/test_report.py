"""The report: its first sentence, its numbers, its files; and looked at in a browser."""

from __future__ import annotations

import csv
import hashlib
import re
import shutil
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from onenex.reader.analysis import Analysis, analyse
from onenex.reader.export import read_responses
from onenex.reader.report import write
from onenex.reader.reporting.report_figures import Bar, stacked
from onenex.reader.reporting.report_tables import fixed
from tests.reader.simulated import plan, study

CHROMIUM = shutil.which("chromium")
FACTS = {"Created": "2026-03-01 09:12 UTC", "Unblinded": "2026-04-20 16:02 UTC by admin"}


@pytest.fixture(scope="module")
def analysis() -> Analysis:
    return analyse(study(n_patients=12), plan(title="Knee <script>alert(1)</script>", bootstrap=200))


@pytest.fixture(scope="module")
def page(analysis: Analysis, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(analysis, tmp_path_factory.mktemp("report"), facts=FACTS)


def test_it_starts_with_the_conclusion(analysis: Analysis, page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert f'<div class="verdict good"><p>{analysis.conclusion}</p>'.replace("<p>", "<p>") in text.replace("&lt;", "<").replace("&gt;", ">")
    assert text.index(analysis.conclusion[:40]) < text.index("Who read what")
    for name, value in FACTS.items():
        assert f"<dt>{name}</dt><dd>{value}</dd>" in text
    assert "quality.overall_quality, margin 0.5 grades" in text


def test_it_needs_nothing_else_and_runs_nothing(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "<script" not in text
    assert "Knee &lt;script&gt;" in text
    assert not re.search(r"(?:src|href)=\"(?!#)", text)
    assert "default-src 'none'" in text


def test_every_figure_is_well_formed(page: Path) -> None:
    found = re.findall(r"<svg.*?</svg>", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(found) == 1 + 4 + 1
    for one in found:
        ElementTree.fromstring(one)


def test_files_beside_it_hold_the_same_numbers(analysis: Analysis, page: Path) -> None:
    assert read_responses(page.parent / "responses.csv") == list(analysis.responses)
    with (page.parent / "primary.csv").open(encoding="utf-8", newline="") as stream:
        first, *others = csv.DictReader(stream)
    assert analysis.primary is not None
    assert float(first["result_bound"]) == analysis.primary.result.bound
    assert (first["item"], first["readers"]) == ("overall_quality", "reader1 reader2")
    assert [row["readers"] for row in others] == ["reader1", "reader2"]
    with (page.parent / "concordances.csv").open(encoding="utf-8", newline="") as stream:
        kappas = list(csv.DictReader(stream))
    assert [float(row["quadratic_value"]) for row in kappas if row["quadratic_value"]] == [
        one.quadratic.value for one in analysis.concordances if one.quadratic.value is not None
    ]


def test_checksums_are_those_of_the_files(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    files = [path for path in page.parent.iterdir() if path != page]
    assert len(files) > 12
    for path in files:
        assert f"<dt>{path.name}</dt><dd>SHA-256 {hashlib.sha256(path.read_bytes()).hexdigest()}</dd>" in text


@pytest.mark.parametrize(
    ("change", "tone", "said"),
    [
        ({"margin": 0.01}, "bad", "was not shown to be non-inferior"),
        ({"primary": None, "margin": None}, "", "No primary endpoint was tested"),
    ],
)
def test_other_conclusions(analysis: Analysis, tmp_path: Path, change: dict[str, object], tone: str, said: str) -> None:
    ratings = [one for one in analysis.responses if one.reading == "quality" and one.item == "overall_quality"]
    worse = [replace(one, value=max(1, one.value - (one.arms == ("denoised",)))) for one in ratings]
    text = write(analyse(worse, plan(**change, equivalence_margin=None, bootstrap=200)), tmp_path).read_text(encoding="utf-8")
    assert f'class="verdict {tone}"' in text
    assert said in text
    assert "Side by side" not in text
    assert not (tmp_path / "preferences.csv").exists()


def test_numbers_for_people() -> None:
    assert [fixed(one) for one in (-0.004, -0.126, 1.0, None)] == ["0.00", "−0.13", "1.00", "–"]


def test_bars_are_as_wide_as_their_share() -> None:
    drawn = ElementTree.fromstring(stacked([Bar(name="a & b", counts=(1, 3))], ("low", "high"), "x", better=True))
    wide = [float(one.get("width") or 0) for one in drawn.iter("rect") if one.get("height") == "17"]
    assert wide[1] == pytest.approx(3 * wide[0], abs=0.2)
    assert "a & b" in [one.text for one in drawn.iter("text")]


@pytest.mark.debian
@pytest.mark.skipif(CHROMIUM is None, reason="chromium not found: apt-get install chromium")
def test_it_fits_the_window(page: Path) -> None:
    """Nothing sticks out of a laptop's window but tables, which scroll; the browser has nothing to complain of."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            view = browser.new_page(viewport={"width": 1280, "height": 800})
            said: list[str] = []
            view.on("console", lambda message: said.append(message.text))
            view.goto(page.as_uri())
            assert view.evaluate("document.documentElement.scrollWidth") <= 1280
            assert view.evaluate("[...document.querySelectorAll('svg')].every(one => one.getBoundingClientRect().height > 30)")
            hidden = "[...document.querySelectorAll('.scroll')].filter(one => one.checkVisibility() && one.scrollWidth > one.clientWidth + 1).length"
            assert view.evaluate(hidden) == 0
            assert said == []
        finally:
            browser.close()
