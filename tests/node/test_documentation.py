"""docs/reference/node.md says what the program does: every key and default, metric, status, page, event; and every example loads."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from onenex.node import receive
from onenex.node.config import NodeConfig, load_config
from onenex.node.queue import Queue
from onenex.node.records import State
from onenex.node.status import make_app
from onenex.node.web.metrics import exposition, health
from onenex.node.web.site import make_site

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "docs" / "reference" / "node.md").read_text(encoding="utf-8")
SOURCES = "\n".join(path.read_text(encoding="utf-8") for path in (REPOSITORY / "src" / "onenex" / "node").rglob("*.py"))
EXAMPLES = [
    (page.name, number, block)
    for page in sorted((REPOSITORY / "docs").rglob("*.md"))
    for number, block in enumerate(re.findall(r"^```toml\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL))
]


def section(title: str) -> str:
    """Return what stands under a heading."""
    assert f"\n{title}\n" in PAGE, f"docs/reference/node.md has no section {title}"
    level = title.split(" ", maxsplit=1)[0]
    return re.split(rf"\n#{{2,{len(level)}}} ", PAGE.split(f"\n{title}\n", 1)[1])[0]


def rows(title: str) -> Iterator[tuple[list[str], list[str]]]:
    """Yield the code words of the first column and all columns of each row."""
    for line in re.findall(r"^\|(.*)\|$", section(title), re.MULTILINE):
        columns = [one.strip() for one in line.split("|")]
        names = re.findall(r"`([^`]+)`", columns[0])
        if names:
            yield names, columns


def tables() -> dict[str, type[BaseModel]]:
    """Return the tables of node.toml by their heading."""
    found = {}
    for name, field in NodeConfig.model_fields.items():
        kinds = [one for one in (field.annotation, *get_args(field.annotation)) if isinstance(one, type) and issubclass(one, BaseModel)]
        brackets = "[[{}]]" if get_args(field.annotation)[1:] == (...,) else "[{}]"
        found[brackets.format(name)] = kinds[0]
    return found


def documented(value: Any) -> str:
    """Return a default as the page writes it."""
    if value is PydanticUndefined:
        return "required"
    if value is None:
        return "none"
    if value == {}:
        return "empty"
    if isinstance(value, tuple):
        return "`[]`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f'`"{value}"`' if isinstance(value, str) else f"`{value}`"


@pytest.mark.parametrize("heading", tables())
def test_every_key_and_default_is_documented_and_no_other(heading: str) -> None:
    page = {name: columns[2] for names, columns in rows(f"### `{heading}`") for name in names}
    code = {name: documented(field.get_default(call_default_factory=True)) for name, field in tables()[heading].model_fields.items()}
    assert page == code


def test_no_table_is_documented_that_there_is_not() -> None:
    assert set(re.findall(r"^### `(\[.*\])`$", PAGE, re.MULTILINE)) == set(tables())


def test_metrics(tmp_path: Path) -> None:
    text = exposition(health(Queue(tmp_path), tmp_path, 0)).decode()
    page = {name for names, _ in rows("## Metrics") for name in names if name.startswith("onenex_")}
    assert page == set(re.findall(r"^(onenex_\w+)", text, re.MULTILINE))
    assert set(State) <= set(re.findall(r"`([a-z-]+)`", section("## Metrics")))


def test_statuses() -> None:
    numbers = {name: value for name, value in vars(receive).items() if re.fullmatch(r"[A-Z][A-Z_]*", name) and isinstance(value, int)}
    answered = {f"{value:04X}" for name, value in numbers.items() if not name.endswith("_BYTES")}
    page = section("### As an acceptor").split("| C-STORE status |")[1].split("\n\n")[0]
    assert answered == set(re.findall(r"^\| ([0-9A-F]{4}) ", page, re.MULTILINE))


def test_pages(tmp_path: Path) -> None:
    config = NodeConfig.model_validate({"node": {"folder": tmp_path}, "destinations": [{"name": "web", "kind": "stow", "url": "http://localhost"}]})
    for route in make_app(make_site(config)).routes:
        path = re.sub(r"\{(\w+)\}", lambda found: "N" if found[1] == "series_id" else found[1].upper(), str(getattr(route, "path", "")))
        assert path == "/static" or re.search(rf"`{re.escape(path)}[?`]", section("## Status page")), f"{path} is not documented"


def test_log_events_exist() -> None:
    table = re.findall(r"^\| (?:error|warning|info) \|.*$", section("## Logs"), re.MULTILINE)
    named = re.findall(r"`([^`]+)`", "\n".join(table))
    assert len(named) > 20
    for one in named:
        assert one in SOURCES, f"nothing logs '{one}'"


def test_audit_events() -> None:
    page = {name for names, _ in rows("## Audit trail") for name in names}
    assert set(re.findall(r'udit[\w()]*\.write\(\s*"([a-z-]+)"', SOURCES)) <= page


@pytest.mark.parametrize(("page", "number", "block"), EXAMPLES, ids=[f"{page}-{number}" for page, number, _ in EXAMPLES])
def test_examples_are_sound(page: str, number: int, block: str) -> None:
    given = tomllib.loads(block)
    names = {"web"} | {name for rule in given.get("rules", []) for name in rule.get("destinations", [])}
    whole: dict[str, Any] = {"node": {"folder": "/nowhere"}}
    whole["destinations"] = [{"name": name, "kind": "stow", "url": "http://localhost"} for name in sorted(names)]
    if "tls = true" in block:
        whole["tls"] = {"certificate": "onenex.crt", "key": "onenex.key", "authorities": "ca.crt"}
    NodeConfig.model_validate({**whole, **given})


def test_installed_configuration_and_unit() -> None:
    config = load_config(REPOSITORY / "deploy" / "node.toml")
    unit = (REPOSITORY / "deploy" / "onenex-node.service").read_text(encoding="utf-8")
    assert config.node.folder == Path("/var/lib/onenex")
    assert "StateDirectory=onenex\n" in unit
    assert re.search(r"^ExecStart=\S+/onenex node serve /etc/onenex/node\.toml$", unit, re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """Return what links may name on a page, as GitHub makes it of headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_anchors_lead_somewhere() -> None:
    for page in (REPOSITORY / "docs").rglob("*.md"):
        for target, anchor in re.findall(r"\]\(([^)#\s:]*)#([^)\s]+)\)", page.read_text(encoding="utf-8")):
            there = (page.parent / target).resolve() if target else page
            assert anchor in anchors(there), f"{page.name} links to {target}#{anchor}, which does not exist"
