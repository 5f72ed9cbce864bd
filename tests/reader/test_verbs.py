"""`onenex study`, verb by verb, as a hospital would use it."""

import csv
import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from onenex.cli import app
from onenex.reader.seal import unseal
from onenex.reader.store import Store
from onenex.web.passwords import password_matches
from tests.reader.sources import ARMS, PASSPHRASE, Clock, read_all, write_protocol


def study(*words: object, given: str | None = None, passphrase: str | None = PASSPHRASE) -> Result:
    return CliRunner().invoke(app, ["study", *map(str, words)], input=given, env={"ONENEX_STUDY_PASSPHRASE": passphrase or ""})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hospital")
    write_protocol(folder, 6)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("onenex.reader.create._seed", lambda: 7)
        result = study("create", folder / "study.toml", "-o", folder / "STUDY", "--admin", "chief")
    assert result.exit_code == 0, result.output
    (folder / "said.txt").write_text(result.stdout, encoding="utf-8")
    return folder


def test_the_example_is_a_protocol_that_only_lacks_its_series(tmp_path: Path) -> None:
    result = study("example")
    assert result.exit_code == 0
    (tmp_path / "study.toml").write_text(result.stdout, encoding="utf-8")
    checked = study("check", tmp_path / "study.toml")
    assert checked.exit_code == 3
    assert re.search(r"case '.*', arm '.*': .* does not exist", checked.stderr)


def test_check_says_what_readers_would_have_to_do(folder: Path) -> None:
    result = study("check", folder / "study.toml")
    assert result.exit_code == 0, result.output
    assert "6 cases (1 for training), 6 patients, arms rapidarm, cleanedarm, longarm" in result.stdout
    assert len(re.findall(r"(anna|bela), session [12]: \d+ presentations", result.stdout)) == 4


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--margin", "0.5", "--sd", "1"), "44 cases of 44 patients: power 90"),
        (("--margin", "0.5", "--sd", "1", "--equivalence"), "cases of"),
        (("--margin", "0.1", "--only-test", "0.05", "--only-control", "0.05", "--share", "0.5"), "paired shares"),
        (("--margin", "0.5", "--sd", "1", "--readers", "2", "--reader-correlation", "0.5", "--lost", "0.1"), "must be usable"),
    ],
)
def test_size(words: tuple[str, ...], said: str) -> None:
    result = study("size", *words)
    assert result.exit_code == 0, result.output
    assert said in result.stdout


def test_size_without_a_spread_is_a_wrong_command_line() -> None:
    assert study("size", "--margin", "0.5").exit_code == 2
    assert study("size", "--margin", "-1", "--sd", "1").exit_code == 3


def test_create_prints_passwords_once_and_no_passphrase(folder: Path) -> None:
    said = (folder / "said.txt").read_text(encoding="utf-8")
    words = dict(re.findall(r"^  (\w+) +([a-z2-9-]{19})", said, re.MULTILINE))
    store = Store(folder / "STUDY")
    assert set(words) == set(store.readers()) == {"anna", "bela", "chief"}
    assert password_matches(words["bela"], store.readers()["bela"])
    assert f"commitment  {store.facts().commitment}" in said
    assert PASSPHRASE not in said
    store.close()
    assert study("create", folder / "study.toml", "-o", folder / "STUDY").exit_code == 3


def test_no_passphrase_no_study(folder: Path, tmp_path: Path) -> None:
    without = study("create", folder / "study.toml", "-o", tmp_path / "S", passphrase=None)
    assert (without.exit_code, list(tmp_path.iterdir())) == (3, [])
    assert "ONENEX_STUDY_PASSPHRASE" in without.stderr
    for content in (b"short\n", b"\xff\xfe\xff"):
        (tmp_path / "words").write_bytes(content)
        assert study("create", folder / "study.toml", "-o", tmp_path / "S", "--passphrase-file", tmp_path / "words").exit_code == 3
    assert study("create", folder / "study.toml", "-o", tmp_path / "S", "--passphrase", PASSPHRASE).exit_code == 2
    assert not (tmp_path / "S").exists()


def test_a_new_password_takes_the_place_of_the_old(folder: Path) -> None:
    assert study("reader", folder / "STUDY", "anna", given="correct horse\n").exit_code == 0
    assert study("reader", folder / "STUDY", "deputy", "--admin", given="battery staple\n").exit_code == 0
    store = Store(folder / "STUDY")
    assert password_matches("correct horse", store.readers()["anna"])
    assert store.is_admin("deputy")
    store.close()
    for words, given in ((("zoe",), "long enough\n"), (("anna",), "short\n"), (("deputy",), "long enough\n"), (("a b",), "long enough\n")):
        assert study("reader", folder / "STUDY", *words, given=given).exit_code == 3


def test_status_tells_progress_and_no_arms(folder: Path) -> None:
    result = study("status", folder / "STUDY")
    assert result.exit_code == 0, result.output
    assert "Knees: blinded" in result.stdout
    found = json.loads(study("status", folder / "STUDY", "--json").stdout)
    places = {(one["reader"], one["session"], one["n_done"]) for one in found["progress"]}
    assert places == {(name, session, 0) for name in ("anna", "bela") for session in (1, 2)}
    assert not [word for word in (*ARMS, "kniefall") if word in result.stdout or word in json.dumps(found)]
    assert study("status", folder).exit_code == 3


def test_serve_answers_and_ends_on_sigterm(folder: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "onenex.cli", "study", "serve", str(folder / "STUDY"), "--port", str(port)]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL, env={**os.environ})
    try:
        page = b""
        for _ in range(400):
            try:
                page = urllib.request.urlopen(f"http://127.0.0.1:{port}/login", timeout=5).read()
                break
            except OSError:
                time.sleep(0.1)
        assert b"<form" in page
    finally:
        server.send_signal(signal.SIGTERM)
    assert server.wait(20) == 0
    assert study("serve", folder / "STUDY", "--certificate", "x.pem").exit_code == 3


def steps_of(place: Path) -> dict[str, int]:
    """Let no reader answer the same of all cases, and readers differ."""
    plan = unseal((place / "sealed.bin").read_bytes(), PASSPHRASE)
    return {one.key: int(one.case[-1]) + (one.reader == "bela" and one.case == "kniefall1") for one in plan.presentations}


def test_from_blind_to_report(folder: Path, tmp_path: Path) -> None:
    place = folder / "STUDY"
    for verb in ("analyse", "export"):
        early = study(verb, place, "-o", tmp_path / verb)
        assert early.exit_code == 3
        assert "still blinded" in early.stderr
    assert study("reader", place, "second", "--admin", given="battery staple\n").exit_code == 0
    assert "Give --by" in study("unblind", place).stderr
    assert "unfinished" in study("unblind", place, "--by", "chief").stderr
    assert "no admin" in study("unblind", place, "--by", "anna", "--incomplete").stderr
    store = Store(place, wall=(clock := Clock(time.time())))
    read_all(store, clock, steps_of(place))
    assert "passphrase is wrong" in study("unblind", place, "--by", "chief", passphrase="another passphrase").stderr
    assert not store.is_unblinded()
    done = study("unblind", place, "--by", "chief")
    assert done.exit_code == 0, done.output
    assert store.is_unblinded()
    store.close()
    assert "passphrase is wrong" in study("analyse", place, "-o", tmp_path / "R", passphrase="another passphrase").stderr
    (tmp_path / "words.txt").write_text(PASSPHRASE + "\n", encoding="utf-8")
    exported = study("export", place, "-o", tmp_path / "OUT", "--passphrase-file", tmp_path / "words.txt", passphrase=None)
    assert exported.exit_code == 0, exported.output
    with (tmp_path / "OUT" / "responses.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["arm"] for row in rows} == set(ARMS)
    assert {row["case"] for row in rows} == {f"kniefall{number}" for number in range(5)}
    store = Store(place)
    assert hashlib.sha256((tmp_path / "OUT" / "plan.json").read_bytes()).hexdigest() == store.facts().commitment
    analysed = study("analyse", place, "-o", tmp_path / "R")
    assert analysed.exit_code == 0, analysed.exception
    assert list((tmp_path / "R").glob("*.html"))
    assert [one.event for one in store.events()][-5:] == ["unsealing failed", "unblinded", "unsealing failed", "exported", "analysed"]
    assert "unblinded by chief" in study("status", place).stdout
    store.close()
