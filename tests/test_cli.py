"""The command line: JSON, exit codes, one-line errors, and nothing left behind when it is stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from typer.testing import CliRunner

import onenex
from onenex import console
from onenex.cli import app
from onenex.dicom.synthesise import Protocol, write_mr_series
from onenex.physics.phantom import head_phantom
from tests.fake_model import FakeModel
from tests.test_pipeline import SERIES_KEYS

REPOSITORY = Path(__file__).resolve().parents[1]
SLOW = (
    "import onenex.model; from tests.fake_model import FakeModel; onenex.model.load = lambda device='auto', engine='torch': FakeModel(delay=0.4);"
    "from onenex.cli import main; main()"
)


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeModel:
    """The fake model in the place of the bundled one."""
    import onenex.model

    model = FakeModel()
    monkeypatch.setattr(onenex.model, "load", lambda device="auto", engine="torch": model)
    return model


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """A folder with one series of three images."""
    write_mr_series(head_phantom((3, 40, 32), supersampling=1), tmp_path / "scan", Protocol(description="T2w head"))
    return tmp_path / "scan"


def make_adc(folder: Path) -> None:
    for path in folder.iterdir():
        dataset = dcmread(path)
        dataset.ImageType = ["DERIVED", "PRIMARY", "DIFFUSION", "ADC"]
        dataset.save_as(path)


def call(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def test_denoise_json_lists_every_series_and_stdout_holds_nothing_else(scan: Path, tmp_path: Path) -> None:
    code, out, err = call("denoise", scan, "-o", tmp_path / "out", "--json", "--seed", 7, "--strength", 0.5)
    answer = json.loads(out)
    assert (code, err) == (0, "")
    (series,) = answer["series"]
    assert series.keys() == SERIES_KEYS
    assert (series["status"], series["n_images"], len(series["outputs"])) == ("denoised", 3, 3)
    assert (answer["seed"], answer["strength"], answer["mode"]) == (7, 0.5, "fast")
    assert all(Path(path).is_file() for path in [*series["outputs"], answer["page"]])


def test_denoise_says_in_words_what_became_of_each_series(scan: Path, tmp_path: Path) -> None:
    code, out, _ = call("denoise", scan, "-o", tmp_path / "out")
    assert code == 0
    assert "denoised  T2w head: 3 images" in out
    assert f"page      {tmp_path / 'out' / 'qa.html'}" in out


def test_exit_code_4_when_everything_is_skipped(scan: Path, tmp_path: Path) -> None:
    make_adc(scan)
    code, out, _ = call("denoise", scan, "-o", tmp_path / "out", "--json")
    assert code == console.ExitCode.NOTHING_TO_DENOISE == 4
    assert "ADC" in json.loads(out)["series"][0]["reason"]
    assert call("inspect", scan)[0] == 4


def test_exit_code_5_when_a_series_fails(scan: Path, tmp_path: Path, fake: FakeModel) -> None:
    fake.refuse = "head"
    code, out, _ = call("denoise", scan, "-o", tmp_path / "out")
    assert code == console.ExitCode.SOME_FAILED == 5
    assert "failed    T2w head: the fake refuses this organ" in out


def test_exit_code_3_is_one_line_on_stderr_and_an_object_with_json(tmp_path: Path) -> None:
    code, out, err = call("denoise", tmp_path / "absent", "-o", tmp_path / "out", "--json")
    assert code == console.ExitCode.CANNOT_START == 3
    assert err.count("\n") == 1
    assert "absent does not exist" in err
    assert json.loads(out)["error"]["type"] == "DataError"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("arguments", [["--strength", "1.5"], ["--mode", "psychic"], ["--seed", "-1"], ["--nonsense"]])
def test_exit_code_2_for_a_wrong_command_line(scan: Path, tmp_path: Path, arguments: list[str]) -> None:
    assert call("denoise", scan, "-o", tmp_path / "out", *arguments)[0] == 2
    assert not (tmp_path / "out").exists()


def test_inspect_tells_what_would_happen_why_and_how_it_knows(scan: Path) -> None:
    code, out, _ = call("inspect", scan, "--json")
    (series,) = json.loads(out)["series"]
    assert (code, series["would"], series["reason"]) == (0, "denoise", None)
    assert series["acquisition"]["organ"] == "head"
    assert "BodyPartExamined" in series["evidence"]["organ"]
    assert series["stacks"][0]["slices"] == 3
    text = call("inspect", scan)[1]
    assert "would denoise" in text
    assert "organ: head  (BodyPartExamined" in text


def test_version_two_ways() -> None:
    assert call("version")[:2] == call("--version")[:2] == (0, f"{onenex.__version__}\n")


def test_help_documents_the_exit_codes_and_imports_nothing_heavy() -> None:
    code = "import sys; from onenex.cli import app\ntry: app(['--help'])\nexcept SystemExit: pass\n"
    check = "sys.exit(any(name in sys.modules for name in ('torch', 'pydicom', 'matplotlib', 'scipy', 'nibabel')))"
    done = subprocess.run([sys.executable, "-c", code + check], capture_output=True, text=True, check=False, env=environment())
    assert done.returncode == 0, done.stderr
    for word in ("denoise", "inspect", "demo", "doctor", "train", "benchmark", "Exit codes: 0"):
        assert word in done.stdout


def test_doctor_reports_versions_codecs_weights_and_a_timed_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    import onenex.model

    model = FakeModel()
    model.device = "cpu"  # type: ignore[attr-defined]
    monkeypatch.setattr(onenex.model, "load", lambda device="auto", engine="torch": model)
    code, out, _ = call("doctor", "--json")
    diagnosis = json.loads(out)
    values = {finding["name"]: finding["value"] for finding in diagnosis["findings"]}
    assert (code, diagnosis["healthy"]) == (0, True)
    assert values["onenex"] == onenex.__version__
    assert "JPEG 2000 Image Compression" in values
    assert values["weights"].startswith("SHA-256 0123456789ab")
    assert values["256 × 256 slice"].endswith(" ms")


def test_doctor_ends_with_1_and_advice_when_the_weights_are_unfit(monkeypatch: pytest.MonkeyPatch) -> None:
    import onenex.model
    from onenex.errors import WeightsMismatch

    def broken(device: str = "auto") -> None:
        raise WeightsMismatch("the weights are for another network: reinstall onenex")

    monkeypatch.setattr(onenex.model, "load", broken)
    code, out, _ = call("doctor")
    assert code == 1
    assert "BAD model" in out
    assert "reinstall onenex" in out


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(REPOSITORY / "src"), str(REPOSITORY)])}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_in_the_middle_leaves_no_half_output(tmp_path: Path, number: signal.Signals, code: int) -> None:
    write_mr_series(np.tile(head_phantom((1, 40, 32), supersampling=1), (40, 1, 1)), tmp_path / "scan", Protocol(description="long"))
    command = [sys.executable, "-c", SLOW, "denoise", str(tmp_path / "scan"), "-o", str(tmp_path / "out")]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores SIGINT, and so would its children
    process = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, before)
    try:
        deadline = time.monotonic() + 120
        while not list(tmp_path.glob(".out.onenex-*/.onenex-part")):
            assert process.poll() is None, process.stderr
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(0.5)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == code
    assert (out, err.count("\n")) == ("", 1)
    assert "nothing was written" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scan"]


def test_progress_shows_the_time_left_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    with console.progress_bar() as tell:
        assert tell is None
    assert capfd.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    with console.progress_bar() as tell:
        assert tell is not None
        tell("T2w head", 1, 4)
    assert "1/4" in capfd.readouterr().err
