"""`onenex batch` and `onenex batch-status` from the outside."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from onenex.batch import local
from onenex.cli import app
from tests.batch.archive import Fake
from tests.dicom.make import make_series

RUNNER = CliRunner()


def call(*arguments: object) -> tuple[int, str, str]:
    result = RUNNER.invoke(app, [str(one) for one in arguments])
    return result.exit_code, result.stdout, result.stderr


def test_an_archive_and_its_state(archive: Path, tmp_path: Path, fake: Fake) -> None:
    out = tmp_path / "out"
    code, said, _ = call("batch", archive, "-o", out, "--workers", 0, "--json")
    assert code == 5
    assert json.loads(said)["units"] == {"denoised": 4, "skipped": 1, "failed": 1}
    code, said, _ = call("batch", archive, "-o", out, "--workers", 0)
    assert (code, said.splitlines()[0]) == (0, "nothing was left to do")
    code, said, _ = call("batch-status", out)
    assert code == 0
    assert "units     4 denoised, 1 skipped, 1 failed" in said
    assert "damaged header" in said
    code, said, _ = call("batch-status", out, "--json")
    status = json.loads(said)
    assert status["slices"] == 3 * 2 + 5
    assert status["mode"] == "fast"
    assert [reason[0] for reason in status["reasons"]] == ["failed", "skipped"]


def test_settings_reach_the_model_and_may_not_change(archive: Path, tmp_path: Path, fake: Fake) -> None:
    arguments = ("batch", archive, "-o", tmp_path / "out", "--workers", 0)
    code, _, _ = call(*arguments, "--mode", "full", "--steps", 3, "--samples", 2, "--no-guard", "--limit", 3)
    assert code == 5
    asked = fake.settings[-1]
    assert (asked.mode, asked.n_steps, asked.n_samples, asked.guard) == ("full", 3, 2, False)
    code, _, said = call(*arguments)
    assert code == 3
    assert "made otherwise" in said
    assert "mode full instead of fast" in said
    assert call(*arguments, "--overwrite")[0] == 5
    assert call(*arguments, "--retry", "--limit", 1)[0] == 5


def test_what_the_user_knows_better_holds_for_the_whole_archive(archive: Path, tmp_path: Path, fake: Fake) -> None:
    arguments = ("batch", archive, "-o", tmp_path / "out", "--workers", 0)
    told = ("--organ", "knee", "--vendor", "ge", "--sequence", "T2w", "--acceleration", 2, "--mode", "full", "--uncertainty", "--guard-maps")
    assert call(*arguments, *told)[0] == 5
    asked = [one for one in fake.acquisitions if one.organ != "unknown"]  # the mode is tried on nothing first
    assert len(asked) == 4
    assert {(one.organ, one.vendor, one.sequence, one.acceleration) for one in asked} == {("knee", "ge", "T2w", 2.0)}
    assert fake.settings[-1].n_samples == 8
    assert list((tmp_path / "out").rglob("*uncertainty*"))
    code, _, said = call(*arguments, "--mode", "full")
    assert code == 3
    assert "organ knee instead of None" in said


def test_another_engine_makes_another_archive(archive: Path, tmp_path: Path, fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(local, "_model", lambda _device, _weights, engine: asked.append(engine) or fake)
    arguments = ("batch", archive, "-o", tmp_path / "out", "--workers", 0)
    assert call(*arguments, "--engine", "onnx")[0] == 5
    assert set(asked) == {"onnx"}
    code, _, said = call(*arguments)
    assert code == 3
    assert "engine onnx instead of torch" in said


def test_nothing_to_denoise_has_a_code_of_its_own(tmp_path: Path, fake: Fake) -> None:
    make_series(tmp_path / "in", 2, ImageType=["DERIVED", "PRIMARY", "ADC"])
    assert call("batch", tmp_path / "in", "-o", tmp_path / "out", "--workers", 0)[0] == 4


def test_a_slip_is_said_in_a_line(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert call("batch", archive, "-o", out, "--mode", "slow")[0] == 2
    assert call("batch", archive, "-o", out, "--steps", 5)[0] == 2
    assert call("batch", archive, "-o", out, "--user", "me")[0] == 2
    code, _, said = call("batch", tmp_path / "gone", "-o", out)
    assert code == 3
    assert "does not exist" in said
    code, _, said = call("batch", archive, "-o", out, "--user", "me", "--password-file", tmp_path / "gone")
    assert code == 3
    assert "cannot be read" in said
    code, _, said = call("batch-status", tmp_path / "nothing")
    assert code == 3
    assert "no ledger" in said


@pytest.mark.parametrize("secret", ["--password-file", "--token-file"])
def test_secrets_come_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, secret: str) -> None:
    seen = []
    monkeypatch.setattr("onenex.batch.local.run", lambda job, **_: seen.append(job.access) or (_ for _ in ()).throw(OSError("enough")))
    (tmp_path / "secret").write_text("hush\n")
    user = ("--user", "me") if secret == "--password-file" else ()
    assert call("batch", "dicomweb+http://127.0.0.1:9/x", "-o", tmp_path / "out", *user, secret, tmp_path / "secret")[0] == 3
    (access,) = seen
    assert "hush" in (access.password, access.token)
