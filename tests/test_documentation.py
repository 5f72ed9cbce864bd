"""Nothing public without documentation: verbs, options, names, exit codes, recipes; and no dead links."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import onenex
from onenex.cli import app
from onenex.console import ExitCode
from onenex.train.recipes import RECIPES

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")])


def text(name: str) -> str:
    return (REPOSITORY / "docs" / "reference" / name).read_text(encoding="utf-8")


def verbs(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield every verb below a command. Typer has a click of its own, so classes say nothing."""
    children = getattr(command, "commands", None)
    if children is None:
        yield name, command
        return
    for child_name, child in children.items():
        yield from verbs(child, f"{name} {child_name}")


VERBS = list(verbs(typer.main.get_command(app), "onenex"))


def test_verbs_are_found() -> None:
    names = [name for name, _ in VERBS]
    assert {"onenex denoise", "onenex benchmark capacity", "onenex node serve", "onenex study create"} <= set(names)
    assert any(one.param_type_name == "option" for one in dict(VERBS)["onenex denoise"].params)


@pytest.mark.parametrize(("name", "command"), VERBS, ids=[name for name, _ in VERBS])
def test_verbs_and_options_are_documented(name: str, command: Any) -> None:
    page = text("cli.md")
    assert f"## `{name}" in page, f"docs/reference/cli.md has no section for {name}"
    section = page.split(f"## `{name}", 1)[1].split("\n## ", 1)[0]
    for parameter in command.params:
        if parameter.param_type_name == "option":
            for option in (*parameter.opts, *parameter.secondary_opts):
                if option not in ("--help", "-h"):
                    heading = section.split("\n")[0].replace("`", " ").split()
                    assert f"`{option}`" in section or option in heading, f"{name}: {option} is not in its section of docs/reference/cli.md"
    assert command.help, f"{name} has no help text"


@pytest.mark.parametrize("name", onenex.__all__)
def test_public_names_exist_and_are_documented(name: str) -> None:
    assert getattr(onenex, name).__doc__
    assert f"`{name}" in text("api.md"), f"docs/reference/api.md says nothing of {name}"


def test_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        _ = onenex.nonsense
    assert set(onenex.__all__) <= set(dir(onenex))


def test_exit_codes_are_documented() -> None:
    page = text("cli.md")
    codes = {int(code) for row in re.findall(r"^\| ([0-9, ]+) \|", page, re.MULTILINE) for code in row.split(",")}
    assert {int(code) for code in ExitCode} - codes <= {int(ExitCode.BROKEN_PIPE)}


def test_recipes_are_documented() -> None:
    pages = " ".join(page.read_text(encoding="utf-8") for page in PAGES)
    for name in RECIPES:
        assert f"train {name}" in pages


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(REPOSITORY)) for page in PAGES])
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http:", "https:", "mailto:")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}, which does not exist"


def test_decisions_are_numbered_without_gaps() -> None:
    numbers = [int(path.name[:4]) for path in sorted((REPOSITORY / "docs" / "decisions").glob("*.md"))]
    assert numbers == list(range(1, len(numbers) + 1))
