"""Rules: the first that matches decides, by any attribute; poisoned headers are read within bounds."""

import json
import re
import time
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from onenex.errors import NodeError
from onenex.node.attributes import text_of
from onenex.node.config import NodeConfig, load_config
from onenex.node.headers import HEADER_BYTES, read_header
from onenex.node.rules import UNREADABLE, decide, matching, named
from tests.dicom.make import make_enhanced, make_series, save

PACS = {"ae_title": "PACS", "host": "127.0.0.1", "port": 104}


def config_of(*rules: dict[str, Any]) -> NodeConfig:
    return NodeConfig.model_validate(
        {"node": {"folder": "/nowhere"}, "destinations": [{"name": "a", **PACS}, {"name": "b", **PACS}], "rules": list(rules)}
    )


def header_of(folder: Path, **attrs: object) -> Dataset:
    header = read_header(make_series(folder, 1, **attrs)[0])
    assert header is not None
    return header


def test_without_rules_everything_is_denoised_for_all(tmp_path: Path) -> None:
    route = decide(config_of(), header_of(tmp_path))
    assert (route.rule, route.action, route.destinations, route.originals, route.reason) == ("default", "denoise", ("a", "b"), "always", "")
    assert decide(config_of(), None) == route  # the worker says what is wrong with it


def test_the_first_rule_that_matches_decides(tmp_path: Path) -> None:
    config = config_of(
        {"name": "other scanner", "when": {"calling_ae": "^CT"}, "action": "refuse"},
        {"name": "hip", "when": {"SeriesDescription": "hip", "Manufacturer": "siemens"}, "mode": "full"},
        {"name": "t2", "when": {"SeriesDescription": "^T2_"}, "action": "pass", "destinations": ["b"], "originals": "with-result"},
        {"name": "rest", "originals": "never"},
    )
    header = header_of(tmp_path)
    route = decide(config, header, calling_ae="MR1")
    assert (route.rule, route.action, route.destinations, route.originals) == ("t2", "pass", ("b",), "with-result")
    assert "t2" in route.reason
    assert decide(config, header, calling_ae="CT1").action == "refuse"
    rest = decide(config, header_of(tmp_path / "2", SeriesDescription="t1"), calling_ae="MR1")
    assert (rest.rule, rest.destinations, rest.originals, rest.reason) == ("rest", ("a", "b"), "never", "")


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("SeriesDescription", "^t2_tse_tra$"), ("0008103E", "^t2_tse_tra$"), ("0008103e", "TSE"), ("MagneticFieldStrength", r"^1\.5$"),
        ("ImageType", r"ORIGINAL\\PRIMARY"), ("organ", "^head$"), ("vendor", "siemens"), ("field_strength_T", r"^1\.5$"), ("plane", "axial"),
        ("nex", "^1$"), ("acceleration", "^$"), ("00191011", "^private text$"), ("ReferencedImageSequence", "^$"), ("ProtocolName", "."),
    ],
)  # fmt: skip
def test_any_attribute_can_be_asked_for(tmp_path: Path, name: str, pattern: str) -> None:
    (path,) = make_series(tmp_path, 1)
    dataset = dcmread(path)
    dataset.private_block(0x0019, "VENDOR", create=True).add_new(0x11, "LO", "private text")
    dataset.ReferencedImageSequence = [Dataset()]
    save(dataset, path)
    header = read_header(path)
    assert header is not None
    assert re.search(pattern, text_of(header, name), re.IGNORECASE), text_of(header, name)
    rule = matching(config_of({"name": "asks", "when": {name: pattern}}), header)
    assert rule is not None
    assert rule.name == "asks"


def test_an_enhanced_image_speaks_by_its_functional_groups(tmp_path: Path) -> None:
    header = read_header(make_enhanced(tmp_path / "e.dcm"))
    assert header is not None
    assert text_of(header, "RepetitionTime") == "4000.0"
    assert text_of(header, "acceleration") == "2"
    assert text_of(header, "fat_suppressed") == "no"


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"name": "x", "when": {"SeriesDescripton": "t2"}}, "SeriesDescripton"),
        ({"name": "x", "when": {"SeriesDescription": "("}}, "regular expression"),
        ({"name": "default"}, "same name"),
        ({"name": "x", "suffix": "a\nb"}, "printed"),
        ({"name": "x", "action": "pass", "originals": "never"}, "refuse"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(tmp_path: Path, rule: dict[str, Any], message: str) -> None:
    lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in rule.items() if key != "when")
    when = ", ".join(f"{key} = {json.dumps(value)}" for key, value in rule.get("when", {}).items())
    (tmp_path / "node.toml").write_text(
        '[node]\nfolder = "."\n[[destinations]]\nname = "a"\nae_title = "P"\nhost = "h"\nport = 104\n' + f"[[rules]]\n{lines}\nwhen = {{ {when} }}\n"
    )
    with pytest.raises(NodeError, match=re.escape(message)):
        load_config(tmp_path / "node.toml")


def test_two_rules_may_not_share_a_name() -> None:
    with pytest.raises(ValueError, match="same name"):
        config_of({"name": "x"}, {"name": "x"})
    assert named(config_of({"name": "x", "mode": "full"}), "x").mode == "full"  # type: ignore[union-attr]
    assert named(config_of(), "x") is None


def test_a_header_that_cannot_be_read_goes_on_unless_the_sender_alone_decides() -> None:
    config = config_of({"name": "ct", "when": {"calling_ae": "^CT"}, "action": "refuse"}, {"name": "t2", "when": {"SeriesDescription": "t2"}})
    route = decide(config, None, calling_ae="MR")
    assert (route.rule, route.action, route.destinations, route.originals, route.reason) == ("", "pass", ("a", "b"), "always", UNREADABLE)
    assert decide(config, None, calling_ae="CT").action == "refuse"


# ── bounds ──


def test_damaged_files_have_no_header(tmp_path: Path) -> None:
    (path,) = make_series(tmp_path, 1)
    whole = path.read_bytes()
    for name, content in (("empty", b""), ("text", b"nothing DICOM" * 99), ("cut", whole[:200])):
        (tmp_path / name).write_bytes(content)
        assert read_header(tmp_path / name) is None
    assert read_header(tmp_path / "gone") is None


def test_a_long_header_is_read_as_far_as_the_bound(tmp_path: Path) -> None:
    (path,) = make_series(tmp_path, 1)
    dataset = dcmread(path)
    dataset.private_block(0x7001, "VENDOR", create=True).add_new(0x10, "OB", b"\1" * (2 * HEADER_BYTES))
    dataset.ImageComments = "c" * 9000
    save(dataset, path)
    header = read_header(path)
    assert header is not None
    assert text_of(header, "SeriesDescription") == "t2_tse_tra"
    assert len(text_of(header, "ImageComments")) == 1024
    assert text_of(header, "70011010") == ""


def test_enhanced_headers_beyond_the_bound_keep_what_comes_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_enhanced(tmp_path / "e.dcm", 40)
    monkeypatch.setattr("onenex.node.headers.HEADER_BYTES", 9000)
    header = read_header(path)
    assert header is not None
    assert text_of(header, "RepetitionTime") == "4000.0"


def test_a_deflated_bomb_is_inflated_up_to_the_bound(tmp_path: Path) -> None:
    (path,) = make_series(tmp_path, 1, transfer_syntax=DeflatedExplicitVRLittleEndian)
    header = read_header(path)
    assert header is not None
    assert text_of(header, "SeriesDescription") == "t2_tse_tra"
    (plain,) = make_series(tmp_path / "plain", 1, transfer_syntax=ExplicitVRLittleEndian)
    dataset = dcmread(plain)
    del dataset.PixelData
    save(dataset, plain)
    whole = path.read_bytes()
    start = 132 + 12 + int.from_bytes(whole[140:144], "little")
    body = plain.read_bytes()[132 + 12 + int.from_bytes(plain.read_bytes()[140:144], "little") :]
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = packer.compress(body + b"\xe0\x7f\x10\x00OW\0\0" + (2**30).to_bytes(4, "little"))
    bomb += b"".join(packer.compress(bytes(2**20)) for _ in range(48)) + packer.flush()
    path.write_bytes(whole[:start] + bomb)
    tracemalloc.start()
    began = time.monotonic()
    header = read_header(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert header is not None
    assert text_of(header, "SeriesDescription") == "t2_tse_tra"
    assert peak < 4 * HEADER_BYTES
    assert time.monotonic() - began < 5
