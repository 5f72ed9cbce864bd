"""`onenex node check`: what would happen to each series of a folder, what is hardly meant so, and all that keeps a configuration from working."""

import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from onenex.cli import app
from onenex.errors import DataError
from onenex.node.check import errors, verdicts, warnings
from onenex.node.config import NodeConfig, load_config
from onenex.node.worker import Worker
from tests.dicom.make import make_enhanced, make_series
from tests.node.hospital import write_config
from tests.node.working import Later, Site

PACS = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": 104}


def config_file(folder: Path, *rules: dict[str, Any], **tables: Any) -> Path:
    return write_config(folder, port=11112, http_port=8080, destinations=[PACS], rules=list(rules), **tables)


def run(*arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["node", "check", *map(str, arguments)])
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Series of a scanner, one of each kind."""
    base = tmp_path / "scanner"
    make_series(base / "a", 3, SeriesNumber=1, SeriesDescription="t2 tra")
    make_series(base / "b", 2, SeriesNumber=2, SeriesDescription="adc", ImageType=["DERIVED", "PRIMARY", "ADC"])
    make_series(base / "c", 1, SeriesNumber=3, SeriesDescription="scout", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    make_series(base / "d", 2, SeriesNumber=4, SeriesDescription="spectro")
    make_series(base / "e", 2, SeriesNumber=5, SeriesDescription="secret study")
    make_series(base / "f", 2, SeriesNumber=6, SeriesDescription="knee pd", BodyPartExamined="KNEE")
    make_series(base / "g", 1, 800, 800, SeriesNumber=7, SeriesDescription="huge")
    make_enhanced(base / "h.dcm", 2, SeriesNumber=8, SeriesDescription="enhanced")
    (base / "readme.txt").write_text("no DICOM")
    return base


RULES = (
    {"name": "no spectra", "when": {"SeriesDescription": "spectro"}, "action": "pass"},
    {"name": "not ours", "when": {"SeriesDescription": "secret"}, "action": "refuse"},
    {"name": "knees", "when": {"organ": "knee"}, "strength": 0.8, "originals": "with-result"},
)


def test_every_series_of_a_folder_is_told(tmp_path: Path, folder: Path) -> None:
    config = load_config(config_file(tmp_path, *RULES, limits={"decoded_mb": 1}))
    found = {one.series: one for one in verdicts(config, folder)}
    rows = {name: (one.n_images, one.rule, one.action, one.mode, one.destinations, one.originals) for name, one in found.items()}
    assert rows == {
        "1 · t2 tra": (3, "default", "denoise", "fast", ("pacs",), "always"),
        "2 · adc": (2, "default", "pass", "", ("pacs",), "always"),
        "3 · scout": (1, "default", "pass", "", ("pacs",), "always"),
        "4 · spectro": (2, "no spectra", "pass", "", ("pacs",), "always"),
        "5 · secret study": (2, "not ours", "refuse", "", (), "always"),
        "6 · knee pd": (2, "knees", "denoise", "fast, strength 0.8", ("pacs",), "with-result"),
        "7 · huge": (1, "default", "pass", "", ("pacs",), "always"),
        "8 · enhanced": (1, "default", "denoise", "fast", ("pacs",), "always"),
    }
    for name, word in (("2 · adc", "ADC"), ("3 · scout", "localiser"), ("4 · spectro", "no spectra"), ("5 · secret study", "nothing is forwarded"),
                       ("7 · huge", "decoded_mb"), ("1 · t2 tra", "")):  # fmt: skip
        assert word in found[name].reason
    assert found["1 · t2 tra"].reason == ""


def test_who_sends_decides_too(tmp_path: Path, folder: Path) -> None:
    rule = {"name": "mr9", "when": {"calling_ae": "^MR9$", "called_ae": "^OTHER$"}, "action": "refuse"}
    config = load_config(config_file(tmp_path, rule))
    assert {one.action for one in verdicts(config, folder / "a")} == {"denoise"}
    assert {one.action for one in verdicts(config, folder / "a", calling_ae="MR9", called_ae="OTHER")} == {"refuse"}
    (file,) = verdicts(config, folder / "a" / "im0000.dcm")
    assert file.n_images == 1
    with pytest.raises(DataError, match="no DICOM"):
        verdicts(config, folder / "readme.txt")


def test_the_node_does_what_check_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(tmp_path, Later(monkeypatch))
    config = site.settings(*RULES)
    kinds = [{}, {"ImageType": ["DERIVED", "PRIMARY", "ADC"]}, {"SeriesDescription": "spectro"}, {"SeriesDescription": "secret"}]
    for kind in kinds:
        files = site.series(2, rows=32, columns=24, **kind)
        (said,) = verdicts(config, files[0].parent)
        series_id = site.arrive(files)
        site.close(config)
        Worker.once(site.worker(config))
        did = {"verified": "denoise", "denoised": "denoise", "passed-through": "pass", "failed": "refuse"}[site.one(series_id).state]
        assert did == said.action
        assert site.one(series_id).reason == said.reason


def test_the_command_prints_a_table(tmp_path: Path, folder: Path) -> None:
    path = config_file(tmp_path, *RULES)
    code, out, err = run(path, folder)
    assert (code, err) == (0, "")
    assert f"{path}: sound, 1 peers, 3 rules, 1 destinations" in out.replace("\n", "")
    lines = [line for line in out.splitlines() if "knee pd" in line]
    assert len(lines) == 1
    assert all(word in lines[0] for word in ("knees", "denoise", "fast, strength 0.8", "pacs", "with-result"))
    assert not (tmp_path / "node").exists(), "a dry run makes nothing"
    assert "Test^Phantom" not in out
    code, out, err = run(path, tmp_path / "gone")
    assert code == 3
    assert "holds no DICOM file" in err


# ── warnings and errors ──


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"peers": []}, "nobody may send"),
        ({"rules": [{"name": "all"}, {"name": "never"}]}, "rule 'all' matches everything"),
        ({"rules": [{"name": "bare", "originals": "never"}]}, "rule 'bare' forwards no originals"),
        ({}, "there is no [tls]"),
    ],
)
def test_what_is_hardly_meant_is_warned_of(tmp_path: Path, tables: dict[str, Any], words: str) -> None:
    rules = tables.pop("rules", [])
    path = config_file(tmp_path, *rules, **tables)
    assert any(words in one for one in warnings(load_config(path)))
    code, out, _ = run(path)
    assert code == 0
    assert words in out.replace("\n", "")
    assert len(list(warnings(load_config(path)))) == len({words, "there is no [tls]"})


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """Make a self-signed certificate and its key."""
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, who = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(who).issuer_name(who).public_key(key.public_key()).serial_number(1)
    signed = made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1)).sign(key, hashes.SHA256())
    paths = folder / f"{name}.pem", folder / f"{name}.key"
    paths[0].write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    paths[1].write_bytes(key.private_bytes(*plain))
    return paths


def test_certificates_are_tried(tmp_path: Path) -> None:
    (one, key), (_, other) = certificate(tmp_path, "one"), certificate(tmp_path, "other")
    good = {"certificate": str(one), "key": str(key), "authorities": str(one)}
    assert list(errors(load_config(config_file(tmp_path, tls=good)))) == []
    assert "there is no [tls]" not in "".join(warnings(load_config(config_file(tmp_path, tls=good))))
    for change, words in (
        ({"key": str(other)}, "belong together"),
        ({"certificate": "gone.pem"}, "No such file"),
        ({"authorities": str(key)}, "[tls] authorities"),
    ):
        code, _, err = run(config_file(tmp_path, tls=good | change))
        assert (code, words in err) == (3, True), err
    path = config_file(tmp_path, status={"port": 8080, "certificate": str(one), "key": str(other)})
    assert any("[status]" in one and "belong together" in one for one in errors(load_config(path)))


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"status": {"password_file": "gone"}}, "[status] password_file"),
        ({"status": {"password_file": "."}}, "[status] password_file"),
        ({"node": {"weights": "gone.safetensors"}}, "[node] weights"),
        ({"node": {"folder": "file/below"}}, "cannot be written to"),
        ({"rules": [{"name": "best", "mode": "full"}]}, "rule 'best' asks for mode full"),
    ],
)
def test_what_cannot_work_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tables: dict[str, Any], words: str) -> None:
    import onenex.model

    class FastOnly:
        modes = ("fast",)

    monkeypatch.setattr(onenex.model, "load", lambda *_: FastOnly())
    (tmp_path / "file").write_text("")
    path = config_file(tmp_path, *tables.pop("rules", []), **tables)
    code, out, err = run(path)
    assert code == 3
    assert err.startswith(f"onenex: {path}: ")
    assert words in err
    assert "sound" not in out


def test_weights_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"none")
    (said,) = errors(load_config(config_file(tmp_path, node={"weights": "w.safetensors"})))
    assert said.startswith("[node] weights: ")


def test_secrets_that_may_not_be_read_and_a_folder_that_may_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("t")
    web = {"name": "web", "kind": "stow", "url": "https://pacs/dicom-web", "token_file": "token"}
    path = write_config(tmp_path, port=1, http_port=2, destinations=[web])
    config = load_config(path)
    assert list(errors(config)) == []
    monkeypatch.setattr(os, "access", lambda file, _: not str(file).endswith("token"))  # root may read everything
    assert list(errors(config)) == [f"destination 'web' token_file: {tmp_path / 'token'} is not there, or may not be read"]
    monkeypatch.setattr(os, "access", lambda _, how: not how & os.W_OK)
    assert [one.partition(":")[0] for one in errors(config)] == ["[node] folder"]


def test_the_example_is_sound_but_for_its_folder() -> None:
    config: NodeConfig = load_config(Path(__file__).resolve().parents[2] / "deploy" / "node.toml")
    assert [one for one in errors(config) if "[node] folder" not in one] == []
    assert len(list(warnings(config))) == 1
