"""`onenex node status | retry | pause | resume | password | audit`: what they print, what they change, how they end."""

import io
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from onenex.cli import app
from onenex.node import verbs
from onenex.node.records import State
from onenex.node.web.login import Passwords
from tests.node.filled import PASSWORD, TELLTALES
from tests.node.working import Later, Site

CONFIG = """[node]
folder = "node"
[[destinations]]
name = "near"
ae_title = "PACS"
host = "127.0.0.1"
port = 104
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    (tmp_path / "node.toml").write_text(CONFIG)
    return Site(tmp_path, Later(monkeypatch))


def run(site: Site, verb: str, *arguments: object, answer: str | None = None) -> Result:
    return CliRunner().invoke(
        app, ["node", verb, *([str(site.base / "node.toml")] if verb != "password" else []), *map(str, arguments)], input=answer
    )


def failed(site: Site) -> int:
    series_id = site.decided(site.settings({"name": "all", "destinations": ["near"]}), 2)
    site.queue.fail(site.claim(), "the pixels are damaged", final=True)
    return series_id


def test_status_tells_series_deliveries_and_reasons(site: Site) -> None:
    one, two = failed(site), site.arrive(site.series(1, rows=16, columns=16))
    done = run(site, "status")
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[0] == "1 received, 1 failed"
    assert [line.split()[0] for line in lines[2:]] == [str(two), str(one)], "the latest first"
    assert "original to near: pending (0 of 2)" in done.stdout
    assert "the pixels are damaged" in done.stdout
    assert not [word for word in TELLTALES if word in done.stdout]
    assert len(run(site, "status", "--limit", 1).stdout.splitlines()) == 3


def test_status_as_json(site: Site) -> None:
    series_id = failed(site)
    said = json.loads(run(site, "status", "--json").stdout)
    assert (said["paused"], said["counts"]["failed"], said["totals"]["images"]) == (False, 1, 2)
    (row,) = said["series"]
    assert (row["number"], row["state"], row["reason"], row["from"]) == (series_id, "failed", "the pixels are damaged", "SCANNER1")
    assert row["deliveries"][0] == {
        "kind": "original", "destination": "near", "state": "pending", "items": 2, "sent": 0, "verified": 0, "attempts": 0, "error": "",
    }  # fmt: skip
    assert not [word for word in TELLTALES if word in json.dumps(said)]


def test_status_of_an_empty_node(site: Site) -> None:
    done = run(site, "status")
    assert (done.exit_code, done.stdout.splitlines()[0]) == (0, "no series")


def test_without_a_queue_nothing_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "node.toml").write_text(CONFIG.replace('"node"', '"elsewhere"'))
    site = Site(tmp_path, Later(monkeypatch))
    for verb in ("status", "retry", "pause", "resume", "audit"):
        done = run(site, verb)
        assert done.exit_code == 3
        assert "holds no node's queue" in done.stderr
    assert not (tmp_path / "elsewhere").exists()
    (tmp_path / "node.toml").write_text("[node]\n")
    assert run(site, "status").exit_code == 3


def test_retry_starts_failed_series_again(site: Site) -> None:
    one, two = failed(site), failed(site)
    done = run(site, "retry", one)
    assert (done.exit_code, done.stdout) == (0, "1 series start again\n")
    assert [site.one(number).state for number in (one, two)] == [State.COMPLETE, State.FAILED]
    assert run(site, "retry", "--all").stdout == "1 series start again\n"
    assert site.one(two).state is State.COMPLETE
    events = site.events("retry")
    assert [event["series"] for event in events] == [one, two]
    assert all(event["by"] for event in events)


def test_retry_says_what_it_cannot(site: Site) -> None:
    one = failed(site)
    done = run(site, "retry", one, 99)
    assert (done.exit_code, done.stdout) == (3, "1 series start again\n")
    assert "not failed, or not there: 99" in done.stderr
    done = run(site, "retry")
    assert done.exit_code == 3
    assert "which series?" in done.stderr
    assert run(site, "retry", "--all").stdout == "0 series start again\n"


def test_pause_and_resume(site: Site) -> None:
    site.decided(site.settings(), 1)
    assert "nothing is denoised or sent" in run(site, "pause").stdout
    assert site.queue.paused()
    assert site.queue.claim("worker", 60, 3) is None
    assert run(site, "status").stdout.startswith("paused; 1 complete")
    assert run(site, "resume").stdout == "resumed\n"
    assert not site.queue.paused()
    assert [event["event"] for event in site.events()][-2:] == ["paused", "resumed"]


def test_the_audit_trail_is_checked(site: Site) -> None:
    assert run(site, "audit").stdout == "0 events, unbroken\n"
    failed(site)
    run(site, "pause")
    assert run(site, "audit").stdout == "2 events, unbroken\n"
    lines = site.audit.path.read_text().splitlines()
    site.audit.path.write_text("\n".join([lines[0].replace("SCANNER1", "SCANNER2"), *lines[1:]]) + "\n")
    done = run(site, "audit")
    assert done.exit_code == 3
    assert "line 2" in done.stderr


def test_a_password_line_opens_the_page(site: Site) -> None:
    done = run(site, "password", "radiographer", answer=f"{PASSWORD}\n")
    assert done.exit_code == 0
    line = done.stdout.strip()
    assert line.startswith("radiographer:$scrypt$")
    assert PASSWORD not in line
    file = site.base / "passwords"
    file.write_text(line + "\n")
    assert Passwords(file).check("radiographer", PASSWORD)
    assert not Passwords(file).check("radiographer", "wrong horse")
    for user, word in (("a:b", PASSWORD), ("radiographer", "")):
        assert run(site, "password", user, answer=f"{word}\n").exit_code == 3


def test_a_password_is_asked_for_twice(site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(verbs.sys, "stdin", terminal)
    for words, message in (([PASSWORD, "other"], "differ"), ([PASSWORD, PASSWORD], "")):
        answers = iter(words)
        monkeypatch.setattr(verbs.getpass, "getpass", lambda _, answers=answers: next(answers))
        if message:
            with pytest.raises(verbs.NodeError, match=message):
                verbs.password("me")
        else:
            verbs.password("me")
    assert capsys.readouterr().out.startswith("me:$scrypt$")


def test_who_runs_it_is_named_even_where_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr(verbs.getpass, "getuser", unknown)
    assert verbs._user().startswith("uid ")


def test_a_wrong_configuration_keeps_serve_from_starting(site: Site) -> None:
    (site.base / "node.toml").write_text(CONFIG + "[limits]\nobject_gb = 1\n")
    done = run(site, "serve")
    assert done.exit_code == 3
    assert "[limits] object_gb" in done.stderr
