"""`onenex acceptance` from end to end: table, verdict, JSON, picture, and the same again for the same seed."""

import json
import struct
from pathlib import Path

import pytest

from onenex.errors import OutOfDomain
from onenex.evaluate import acceptance
from onenex.evaluate.pictures.canvas import LIMIT_BYTES
from tests.model.weights import random_model


def test_untrained_weights_fail_and_everything_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    random_model(tmp_path)
    told: list[tuple[str, int, int]] = []
    found = acceptance.run(
        ("fast",), tmp_path / "out", quick=True, device="cpu", weights=tmp_path / "random.safetensors", progress=lambda *what: told.append(what)
    )
    assert not found.passed
    assert found.exit_code == 1
    written = json.loads((tmp_path / "out" / "acceptance.json").read_text(encoding="utf-8"))
    assert written["passed"] is False
    assert [mode["mode"] for mode in written["modes"]] == ["fast"]
    assert [check["name"] for check in written["modes"][0]["checks"]] == [check.name for check in found.modes[0].checks]
    assert all(
        {"label", "value", "spread", "margin", "passed", "text"} <= set(one) for check in written["modes"][0]["checks"] for one in check["measured"]
    )
    picture = (tmp_path / "out" / "acceptance.png").read_bytes()
    assert len(picture) <= LIMIT_BYTES
    assert min(struct.unpack(">II", picture[16:24])) > 300
    assert told[-1] == ("mode fast", found.n_scans, found.n_scans)
    said = capsys.readouterr().out
    assert "mode fast: FAIL" in said
    for check in found.modes[0].checks:
        assert check.name in said


def test_an_unknown_mode_is_refused(tmp_path: Path) -> None:
    random_model(tmp_path)
    with pytest.raises(OutOfDomain, match="mode 'slow' does not exist"):
        acceptance.run(("slow",), quick=True, device="cpu", weights=tmp_path / "random.safetensors")


def test_at_strength_0_only_the_gain_is_missing(tmp_path: Path) -> None:
    """The scan as it is keeps everything that the tests ask for, and gains nothing."""
    random_model(tmp_path)
    found = acceptance.run(("fast",), strength=0.0, quick=True, device="cpu", weights=tmp_path / "random.safetensors")
    (result,) = found.modes
    assert found.strength == 0
    by_name = {check.name: check for check in result.checks}
    assert not by_name["signal-to-noise ratio"].passed
    for name in ("low-contrast discs", "low-contrast detectability", "geometry", "uniformity", "ghosts", "zippers", "artefacts visible"):
        assert by_name[name].passed, name
