"""A report from end to end: a small cohort in, a page, tables and the documentation's excerpts out."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from onenex import seen
from onenex.cli import app
from onenex.errors import DataError
from onenex.evaluate.reporting import excerpt
from tests.evaluate.cohort.small import write_cohort


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A report by the command, and what it printed."""
    work = tmp_path_factory.mktemp("evaluated")
    cohort = write_cohort(work / "cohort")
    arguments = ["evaluate", str(cohort), "-o", str(work / "report"), "--methods", "onenex-fast,tv", "--workers", "0", "--patients", "^[a-z]+"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    return work / "report", done.output


class Page(HTMLParser):
    """Collects what the page refers to and whether its tags close."""

    VOID = ("meta", "img", "br", "input", "link")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        self.open += [] if tag in self.VOID else [tag]
        self.sources += [told["src"] or ""] if "src" in told else []
        self.links += [told["href"] or ""] if "href" in told else []
        self.ids |= {told["id"] or ""} if "id" in told else set()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_needs_nothing_else(made: tuple[Path, str]) -> None:
    page = Page((made[0] / "report.html").read_text(encoding="utf-8"))
    assert page.open == []
    assert page.sources
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)


def test_the_page_says_what_it_was_made_of(made: tuple[Path, str]) -> None:
    text = (made[0] / "report.html").read_text(encoding="utf-8")
    for words in ("data SHA-256", "seen in training", "weights", "command", "OneNEX fast", "TV", "Worst images", "By organ"):
        assert words in text
    assert len(re.findall('class="case"', text)) == 10


def test_conclusions_are_printed_and_kept(made: tuple[Path, str]) -> None:
    told = json.loads((made[0] / "summary.json").read_text(encoding="utf-8"))
    assert any(one["text"].startswith("PSNR, overall: OneNEX is") for one in told["findings"])
    for one in told["findings"]:
        assert one["text"] in made[1]
    assert made[1].rstrip().endswith("report.html")


def test_a_second_run_measures_nothing_and_says_the_same(made: tuple[Path, str]) -> None:
    cohort = made[0].parent / "cohort"
    arguments = ["evaluate", str(cohort), "-o", str(made[0]), "--methods", "onenex-fast,tv", "--workers", "0", "--patients", "^[a-z]+"]
    kept = {path: path.stat().st_mtime_ns for path in (made[0] / "measured").rglob("*.jsonl")}
    again = CliRunner().invoke(app, arguments)
    assert again.output == made[1]
    assert {path: path.stat().st_mtime_ns for path in (made[0] / "measured").rglob("*.jsonl")} == kept


def test_documentation_takes_its_figures_from_the_report(made: tuple[Path, str], tmp_path: Path) -> None:
    for folder in ("docs/explanation", "docs/images"):
        (tmp_path / folder).mkdir(parents=True)
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{excerpt.BEGIN}\nold\n{excerpt.END}\nafter\n", encoding="utf-8")
    excerpt.write(made[0], tmp_path)
    text = readme.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "| OneNEX fast |" in text
    page = (tmp_path / excerpt.PAGE).read_text(encoding="utf-8")
    assert "PSNR, overall: OneNEX is" in page
    assert (tmp_path / excerpt.PICTURE).read_bytes().startswith(b"\x89PNG")
    readme.write_text("no marks", encoding="utf-8")
    with pytest.raises(DataError, match="has no lines"):
        excerpt.write(made[0], tmp_path)


def test_a_report_that_was_stopped_is_no_source(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no whole report"):
        excerpt.write(tmp_path, tmp_path)


def test_scans_that_training_saw_are_refused_and_shown_when_allowed(made: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cohort = made[0].parent / "cohort"
    from onenex.scans import read_manifest

    known = seen.signatures(read_manifest(cohort)[:1])
    monkeypatch.setattr(seen, "read", lambda weights: known)
    arguments = ["evaluate", str(cohort), "-o", str(tmp_path / "r"), "--methods", "onenex-fast", "--workers", "0", "--no-segmentation"]
    refused = CliRunner().invoke(app, arguments)
    assert refused.exit_code == 3
    assert "training saw 4 images of 1 scans" in refused.output
    allowed = CliRunner().invoke(app, [*arguments, "--allow-seen"])
    assert allowed.exit_code == 0
    assert "TRAINING SAW 4" in (tmp_path / "r" / "report.html").read_text(encoding="utf-8")
