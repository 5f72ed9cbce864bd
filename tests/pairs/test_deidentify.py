"""Keyed hashes: the same with the same salt, useless without it; the salt is private and stays apart; the search for leaks finds them."""

import base64
import gzip
import logging
import os
import stat
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, PngImagePlugin
from pyarrow import parquet

from onenex.errors import DataError
from onenex.pairs.packing.deidentify import default_salt, keyed_hash, load_salt, salt_check
from tests.pairs.leaks import leaks

SALT, OTHER = bytes(range(32)), bytes(range(1, 33))
NAME, NUMBER, DATE, UID = "DOE^JANE", "PAT-4711-X", "19630412", "1.2.826.0.1.3680043.8.498.77"


def test_a_hash_is_a_function_of_salt_kind_and_parts() -> None:
    same = keyed_hash(SALT, "patient", NUMBER, "issuer")
    assert keyed_hash(SALT, "patient", f" {NUMBER}\0", "issuer ") == same
    others = {
        keyed_hash(OTHER, "patient", NUMBER, "issuer"),
        keyed_hash(SALT, "study", NUMBER, "issuer"),
        keyed_hash(SALT, "patient", f"{NUMBER}issuer"),
        keyed_hash(SALT, "patient", NUMBER, "issue", "r"),
    }
    assert len(others | {same}) == 5
    assert len(same) == 24
    assert int(same, 16) > 0


def test_the_hash_is_the_published_one() -> None:
    """HMAC-SHA256 over length-prefixed parts, worked out here from its definition (RFC 2104)."""
    from hashlib import sha256

    message = b"".join(len(part).to_bytes(8, "big") + part for part in (b"patient", b"ab"))
    key = SALT.ljust(64, b"\0")
    inner = sha256(bytes(byte ^ 0x36 for byte in key) + message).digest()
    assert keyed_hash(SALT, "patient", "ab") == sha256(bytes(byte ^ 0x5C for byte in key) + inner).hexdigest()[:24]


def test_nobody_is_not_somebody() -> None:
    with pytest.raises(DataError, match="a patient without a name"):
        keyed_hash(SALT, "patient", " ", "\0")


def test_the_salt_is_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "salt"
    first = load_salt(path, tmp_path / "built")
    assert len(first) == 32
    assert load_salt(path, tmp_path / "elsewhere") == first
    assert load_salt(tmp_path / "other", tmp_path / "built") != first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["salt"]
    assert first.hex() not in salt_check(first)


def test_the_salt_is_kept_where_settings_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert default_salt() == tmp_path / "onenex" / "pairs-salt"
    assert load_salt(None, tmp_path / "built") == load_salt(default_salt(), tmp_path / "built")


@pytest.mark.parametrize("where", ["built/salt", "built/below/salt", "built/../built/salt", "link/salt"])
def test_the_salt_never_lies_with_the_data(tmp_path: Path, where: str) -> None:
    (tmp_path / "built").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "built")
    with pytest.raises(DataError, match="would lie in the built folder"):
        load_salt(tmp_path / where, tmp_path / "built")
    assert not list((tmp_path / "built").iterdir())


@pytest.mark.parametrize(
    ("content", "message"), [("abcd", "has 2 bytes, 32 are needed"), ("no salt", "cannot be read"), ("é" * 64, "cannot be read")]
)
def test_what_is_no_salt_is_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "salt").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        load_salt(tmp_path / "salt", tmp_path / "built")


def test_an_open_salt_is_pointed_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    load_salt(tmp_path / "salt", tmp_path / "built")
    assert "salt_open" not in caplog.text
    (tmp_path / "salt").chmod(0o644)
    with caplog.at_level(logging.WARNING):
        load_salt(tmp_path / "salt", tmp_path / "built")
    assert "event=salt_open_to_others" in caplog.text
    assert str(tmp_path) not in caplog.text


def test_two_processes_agree_on_one_salt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one makes its salt between our look and our writing."""
    link, path = os.link, tmp_path / "salt"

    def late(source: Path, target: Path) -> None:
        path.write_text("ab" * 32, encoding="ascii")
        path.chmod(0o600)
        link(source, target)

    monkeypatch.setattr(os, "link", late)
    assert load_salt(path, tmp_path / "built") == bytes([0xAB]) * 32
    assert [one.name for one in tmp_path.iterdir()] == ["salt"]


def plant(folder: Path, where: str) -> None:
    path = folder / f"x.{where}"
    if where == "parquet":
        parquet.write_table(pa.table({"note": ["a", f"of {NAME}"]}), path, compression="zstd")
    elif where == "metadata":
        parquet.write_table(pa.table({"note": ["a"]}).replace_schema_metadata({"by": NAME}), path)
    elif where in ("png", "zpng", "ipng"):
        told = PngImagePlugin.PngInfo()
        if where == "ipng":
            told.add_itxt("Title", NAME, zip=True)
        else:
            told.add_text("Title", NAME, zip=where == "zpng")
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(path, "png", pnginfo=told)
    elif where == "html":
        plant(folder, "zpng")
        picture = base64.b64encode((folder / "x.zpng").read_bytes()).decode()
        (folder / "x.zpng").unlink()
        path.write_text(f'<img src="data:image/png;base64,{picture}">', encoding="utf-8")
    elif where == "npy":
        np.save(path, np.zeros(3, [(NAME, "u2")]))
    elif where == "gz":
        path.write_bytes(gzip.compress(NAME.encode()))
    elif where == "utf16":
        path.write_bytes(NAME.encode("utf-16"))
    elif where == "name":
        (folder / NAME).mkdir()
    else:
        path.write_text({"json": '{"a": "doe^jane"}', "log": f"event=x who={NAME}", "escaped": "DOE&#94;JANE"}[where], encoding="utf-8")


@pytest.mark.parametrize("where", ["parquet", "metadata", "png", "zpng", "ipng", "html", "npy", "gz", "utf16", "name", "json", "log", "escaped"])
def test_leaks_are_found(tmp_path: Path, where: str) -> None:
    plant(tmp_path, where)
    assert [one.split(": ")[1] for one in leaks(tmp_path, [NAME, NUMBER, DATE, UID])] == [NAME]


def test_what_says_nothing_is_no_leak(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(keyed_hash(SALT, "patient", NAME), encoding="utf-8")
    (tmp_path / "b.bin").write_bytes(zlib.compress(b"other"))
    assert leaks(tmp_path, [NAME, NUMBER, DATE, UID]) == []
