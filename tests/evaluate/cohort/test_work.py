"""Measuring a cohort: what is kept, what is done again, and what is refused."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from onenex import seen
from onenex.errors import DataError
from onenex.evaluate import evaluation
from onenex.evaluate.cohort import table, work
from onenex.evaluate.cohort.kept import Kept
from onenex.evaluate.cohort.methods import FAST, INPUT, Choice
from onenex.evaluate.cohort.samples import units
from onenex.evaluate.reporting import groups
from onenex.scans import load_images, read_manifest
from tests.evaluate.cohort.small import PLAN, order, write_cohort
from tests.model.weights import random_model


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cohort(tmp_path_factory.mktemp("cohort"))


def test_a_second_run_measures_nothing_and_says_the_same(cohort: Path, tmp_path: Path) -> None:
    first = evaluation.measure(cohort, order(tmp_path / "measured"))
    rows = groups.load(first.tables.images, "foreground")
    assert first.n_new == len(rows) > 0
    assert set(rows["method"]) == {INPUT, FAST}
    text = first.tables.images.with_suffix(".csv").read_text()
    second = evaluation.measure(cohort, order(tmp_path / "measured"))
    assert second.n_new == 0
    assert second.tables.images.with_suffix(".csv").read_text() == text


def test_a_killed_run_goes_on_where_it_was(cohort: Path, tmp_path: Path) -> None:
    plan = replace(PLAN, slices=None)
    whole = evaluation.measure(cohort, order(tmp_path / "a" / "measured", plan=plan))
    cache = tmp_path / "b" / "measured"
    told = order(cache, plan=plan)
    work.evaluate(units(cohort, plan)[0], told)
    (path, *_) = sorted(cache.rglob("*.jsonl"))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2]) + lines[2][:20])  # killed in the middle of a line
    resumed = evaluation.measure(cohort, told)
    assert 0 < resumed.n_new < whole.n_new
    assert _without_seconds(whole.tables.images) == _without_seconds(resumed.tables.images)


def _without_seconds(path: Path) -> list[dict[str, object]]:
    rows = groups.load(path, "foreground").drop(columns="seconds")
    return json.loads(rows.to_json(orient="records"))  # type: ignore[no-any-return]


def test_worker_processes_find_the_same(cohort: Path, tmp_path: Path) -> None:
    alone = evaluation.measure(cohort, order(tmp_path / "a" / "measured"))
    together = evaluation.measure(cohort, order(tmp_path / "b" / "measured"), workers=1)
    assert _without_seconds(alone.tables.images) == _without_seconds(together.tables.images)


def test_another_method_adds_only_itself(cohort: Path, tmp_path: Path) -> None:
    evaluation.measure(cohort, order(tmp_path / "measured"))
    n_images = len(groups.load(tmp_path / "images.parquet", "foreground")) // 2
    more = evaluation.measure(cohort, order(tmp_path / "measured", "onenex-fast", "tv"))
    assert more.n_new == n_images


def test_patients_are_found_in_ids(cohort: Path, tmp_path: Path) -> None:
    done = evaluation.measure(cohort, order(tmp_path / "measured"), patients="^[a-z]+")
    assert set(groups.load(done.tables.images, "foreground")["patient"]) == {"anna", "bert"}


def test_an_unknown_method_is_named_with_those_there_are(cohort: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no method is called magic: choose from onenex-fast, onenex-full, gaussian"):
        evaluation.measure(cohort, order(tmp_path / "measured", "magic"))


def test_a_mode_that_the_weights_lack_is_refused(tmp_path: Path) -> None:
    model, choice = random_model(tmp_path), Choice(names=("onenex-fast", "onenex-full"))
    with pytest.raises(DataError, match="these weights know mode 'fast' only: leave onenex-full out"):
        choice.methods(model)


def test_images_that_training_saw_are_refused(cohort: Path, tmp_path: Path) -> None:
    weights = tmp_path / "own.safetensors"
    infos = read_manifest(cohort)
    assert "not known" in evaluation.check_unseen(infos, weights, allow_seen=False)
    seen.write(weights, seen.signatures([]))
    assert "None of the images" in evaluation.check_unseen(infos, weights, allow_seen=False)
    seen.write(weights, seen.signatures(infos[:1]))
    with pytest.raises(DataError, match=r"training saw 4 images of 1 scans: anna_clean \(4\).*--allow-seen"):
        evaluation.check_unseen(infos, weights, allow_seen=False)
    assert "nothing is proven" in evaluation.check_unseen(infos, weights, allow_seen=True)


def test_weights_trained_on_remember_what_those_before_saw(cohort: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    earlier, later = (write_cohort(tmp_path / name, split="train", seed=seed) for name, seed in (("x", 1), ("y", 2)))
    seen.note(first, earlier)
    seen.note(second, later, first)
    known = seen.read(second)
    assert known is not None
    for info in (*read_manifest(earlier), *read_manifest(later)):
        assert seen.n_seen(info, known) == info.n_slices * (2 if info.kind == "pairs" else info.n_repeats)
    assert [seen.n_seen(info, known) for info in read_manifest(cohort) if info.kind != "clean"] == [0, 0]


def test_a_signature_knows_an_image_in_another_unit() -> None:
    image = np.random.default_rng(0).integers(0, 4096, (40, 30)).astype(np.uint16)
    assert seen.signature(image) == seen.signature(image.astype(np.float32) * np.float32(0.37) + 5)
    other = image.copy()
    other[3, 4] += 5000
    assert seen.signature(other) != seen.signature(image)
    assert seen.signature(image.T) != seen.signature(image)


def test_the_bundled_weights_say_what_they_saw() -> None:
    known = seen.read(Choice().model().path)
    assert known is not None
    assert len(known) > 1000


@pytest.mark.data
def test_the_bundled_weights_saw_the_training_scans_and_no_test_scan(data_dir: Path) -> None:
    known = seen.read(Choice().model().path)
    assert known is not None
    infos = {info.split: info for info in read_manifest(data_dir) if info.kind == "clean"}
    assert seen.n_seen(infos["train"], known) == len(load_images(infos["train"]))
    assert seen.n_seen(infos["test"], known) == 0


def test_a_cut_off_line_is_removed(tmp_path: Path) -> None:
    kept = Kept(path=tmp_path / "x" / "one.jsonl")
    kept.add({"number": 0, "slice": 3, "psnr": 1.0})
    kept.finish(PLAN, [(0, 3)])
    with kept.path.open("ab") as stream:
        stream.write(b'{"number": 0, "sl')
    assert [line["slice"] for line in kept.of(PLAN)] == [3]
    assert kept.path.read_bytes().endswith(b"\n")
    assert list(kept.of(replace(PLAN, slices=None))) == []


def test_tables_hold_a_row_an_image_and_method(cohort: Path, tmp_path: Path) -> None:
    evaluation.measure(cohort, order(tmp_path / "measured"))
    frame = groups.load(tmp_path / "images.parquet", "foreground")
    assert not frame.duplicated(["file", "condition", "input", "slice", "method"]).any()
    assert set(table.NUMBERS) <= set((tmp_path / "images.csv").read_text().splitlines()[0].split(","))
    assert frame["foreground_psnr"].notna().all()
    assert (frame.loc[frame["method"] == INPUT, "seconds"] < 0.01).all()
