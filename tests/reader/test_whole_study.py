"""A whole study as a hospital does it: create, two readers in Chromium, one of whom crashes, unblind, analyse. `make test-study` has 60 cases.

The readers' bias, noise and taste are known; what the analysis finds must be what was planted.
"""

import csv
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import cohen_kappa_score
from typer.testing import CliRunner

import onenex
from onenex.cli import app
from onenex.reader.store import Store
from onenex.reader.unblinding import open_plan
from tests.dicom.make import phantom
from tests.dicom.orthanc import free_ports
from tests.node.hospital import SOURCE, listens, until
from tests.reader.simulated_reader import SimulatedReader, Taste, planted

CASES = int(os.environ.get("ONENEX_CASES", "8"))
SHOTS = os.environ.get("ONENEX_SHOTS")
PASSPHRASE = "correct horse battery staple"
EFFECT = {"fast": -1.2, "denoised": 0.3, "reference": 0.4}
TASTES = {
    "anna": Taste(bias=-0.2, noise=0.35, effect=EFFECT, seed=1),
    "bela": Taste(bias=0.2, noise=0.35, effect=EFFECT, seed=2),
}
PROTOCOL = """
title = "One average, denoised"
readers = ["anna", "bela"]
arms = ["fast", "denoised", "reference"]
sessions = 1
wash_out_days = 0
repeats = 0.2
cases_file = "cases.csv"
[[readings]]
name = "quality"
kind = "rating"
items = ["overall_quality", "snr"]
[analysis]
test = "denoised"
control = "reference"
comparator = "fast"
primary = "quality.overall_quality"
margin = 0.5
bootstrap = 1000
"""


def scans(data: Path | None) -> Iterator[NDArray[np.float32]]:
    """Yield reference slices for ever (slice, row, column): real ones where there are any, in turn with phantoms."""
    files = sorted((data / "test").glob("head_patient*.npz")) if data else []
    number = 0
    while True:
        if files and number % 2:
            images = np.load(files[(number // 2) % len(files)])["images"].astype(np.float32)
            first = (number // 2 // len(files) * 2 + len(images) // 2) % (len(images) - 1)
            yield images[first : first + 2]
        else:
            yield phantom(2, 96, 80, seed=number).astype(np.float32)
        number += 1


@pytest.fixture
def material(tmp_path: Path) -> Path:
    """Series of every arm: a reference, the same with noise, and that denoised."""
    root = Path(os.environ.get("ONENEX_DATA", Path(__file__).resolve().parents[2].parent / "shared" / "data"))
    if not (root / "test").is_dir():
        print(f"real scans not found at {root}: phantoms only")
    model = onenex.load()
    rows = [["name", "patient", "fast", "denoised", "reference", "training"]]
    for number, reference in zip(range(CASES + 1), scans(root if (root / "test").is_dir() else None), strict=False):
        noise = np.random.default_rng(number).normal(0, 0.08 * reference.max(), (2, *reference.shape))
        fast = np.hypot(reference + noise[0], noise[1]).astype(np.float32)
        arms = {"fast": fast, "denoised": model.denoise(fast).images, "reference": reference}
        for arm, images in arms.items():
            volume = nibabel.Nifti1Image(np.round(images).astype(np.int16).T, np.diag([1.0, 1.0, 4.0, 1.0]))
            nibabel.save(volume, tmp_path / f"{arm}{number:02d}.nii.gz")
        is_training = "true" if number == CASES else "false"
        rows.append([f"case{number:02d}", f"P{number:02d}", *(f"{arm}{number:02d}.nii.gz" for arm in arms), is_training])
    with (tmp_path / "cases.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    (tmp_path / "study.toml").write_text(PROTOCOL)
    return tmp_path


def onenex_study(*arguments: str) -> str:
    found = CliRunner().invoke(app, ["study", *arguments], env={"ONENEX_STUDY_PASSPHRASE": PASSPHRASE})
    assert found.exit_code == 0, found.output
    return found.output


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Run `onenex study serve` as a process."""
    (port,) = free_ports(1)
    command = [sys.executable, "-c", "from onenex.cli import main; main()", "study", "serve", str(folder), "--port", str(port)]
    with (folder.parent / "serve.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "PYTHONPATH": str(SOURCE)})
        try:
            until(lambda: listens(port), 30, (folder.parent / "serve.log").read_text)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(20)


def shoot(view: Any, name: str) -> None:
    if SHOTS:
        view.screenshot(path=f"{SHOTS}/study-{name}.png")


@pytest.mark.debian
def test_what_was_planted_is_found(material: Path, browser: Any) -> None:
    folder, report = material / "study", material / "report"
    told = onenex_study("create", str(material / "study.toml"), "-o", str(folder))
    passwords = dict(re.findall(r"^  (\w+) +(\S+)", told, re.M))
    store = Store(folder)
    sealed = {one.key: one for one in open_plan(store, PASSPHRASE).presentations}
    with served(folder) as address:
        for name, taste in TASTES.items():
            grades = {key: taste.grades(one.case, one.arms[0], one.repeat) for key, one in sealed.items() if one.reader == name}
            reader = SimulatedReader(browser, address, name, passwords[name], grades.__getitem__)
            if name == "bela":
                assert not reader.read(crash_at=len(grades) // 2, shoot=shoot)
            assert reader.read(shoot=shoot)
            assert reader.n_read == len(grades)
    for key, one in sealed.items():
        said = {answer.item: answer.value for answer in store.answers(key)}
        assert list(said.values()) == TASTES[one.reader].grades(one.case, one.arms[0], one.repeat), "an answer was lost or changed"
    onenex_study("unblind", str(folder))
    onenex_study("analyse", str(folder), "-o", str(report))
    _shows(browser, report)
    _recovers(report)


def _shows(browser: Any, report: Path) -> None:
    view = browser.new_page(viewport={"width": 1300, "height": 1000})
    view.goto(next(report.glob("*.html")).as_uri())
    if SHOTS:
        view.screenshot(path=f"{SHOTS}/study-report.png", full_page=True)
    assert "non-inferior" in view.content()
    view.close()


def _table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def _recovers(report: Path) -> None:
    """Hold the report's numbers against what is true of the readers' tastes."""
    tastes = list(TASTES.values())
    truth = {arm: planted(tastes, arm) for arm in EFFECT}
    contrasts = [row for row in _table(report / "contrasts.csv") if row["item"] == "overall_quality"]
    assert {(row["arm"], row["baseline"]) for row in contrasts} >= {("denoised", "fast"), ("denoised", "reference")}
    for row in contrasts:
        wanted = truth[row["arm"]].mean() - truth[row["baseline"]].mean()
        assert _within(wanted, row, "difference_interval"), (row["arm"], row["baseline"], wanted, row["difference_value"])
    effects = {row["baseline"]: float(row["difference_value"]) for row in contrasts if row["arm"] == "denoised"}
    assert effects["fast"] > 0.7
    assert abs(effects["reference"]) < 0.4
    inter = [row for row in _table(report / "concordances.csv") if (row["kind"], row["item"], row["arm"]) == ("inter", "overall_quality", "denoised")]
    (row,) = inter
    wanted = cohen_kappa_score(*truth["denoised"], weights="quadratic")
    assert _within(wanted, row, "quadratic_asymptotic"), (wanted, row["quadratic_value"])
    means = {(row["reader"], row["arm"]): row for row in _table(report / "ratings.csv") if row["item"] == "overall_quality"}
    for number, name in enumerate(TASTES):
        for arm in EFFECT:
            assert _within(truth[arm][number].mean(), means[name, arm], "mean_interval"), (name, arm)
    bias = [float(means["bela", arm]["mean_value"]) - float(means["anna", arm]["mean_value"]) for arm in EFFECT]
    assert min(bias) > -0.2
    assert np.mean(bias) > 0.1
    (primary,) = [row for row in _table(report / "primary.csv") if " " in row["readers"]]
    print(f"{CASES} cases: denoised less fast {effects['fast']:.2f}, less reference {effects['reference']:.2f}, bound {primary['result_bound']}")
    if CASES >= 40:
        assert float(primary["result_bound"]) > -0.5, "as good as the reference within the margin, but not found"


def _within(value: float, row: dict[str, str], interval: str) -> bool:
    return float(row[f"{interval}_low"]) <= value <= float(row[f"{interval}_high"])
