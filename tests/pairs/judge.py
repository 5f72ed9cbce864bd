"""Judges a folder built of the generated hospital against its truth: pairs found and missed, false ones, registration errors, leaks.

`python -m tests.pairs.judge --patients 40 --seed 1 --data ../shared/data --kills 5` builds one twice, the second time killed and resumed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from onenex.pairs import manifest
from onenex.pairs.build import REJECTED
from onenex.pairs.check import check
from onenex.pairs.manifest import Row
from onenex.pairs.packing.deidentify import keyed_hash, load_salt
from tests.pairs.hospital.make import TruePair, Truth, make_hospital
from tests.pairs.kills import Build, differences
from tests.pairs.leaks import leaks

LEAST_SHARE = 0.5
"""Share of the slices that a true pair has which must be accepted for it to count as found."""
SHORT = 5
"""Words shorter than this turn up by chance among hexadecimal digits and numbers."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """One candidate in a built folder."""

    series: tuple[str, str]
    """Hashes of the fast series and of the reference; of repeats, of their first series and empty."""
    rows: tuple[Row, ...]

    @property
    def n_accepted(self) -> int:
        return len({row.slice for row in self.rows if row.accepted})

    @property
    def reasons(self) -> str:
        """Why slices were not accepted, and how many."""
        counts = Counter(row.reason for row in self.rows if not row.accepted)
        return "; ".join(f"{n} × {reason}" for reason, n in counts.most_common(3))

    @property
    def reference_to_fast(self) -> np.ndarray:
        """4 × 4, patient coordinates, mm."""
        matrix = np.eye(4)
        moved = next((row.transform for row in self.rows if row.transform), ())
        if moved:
            matrix[:3] = np.reshape(moved, (3, 4))
        return matrix


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """How well a folder fits the truth."""

    n_true: int
    n_found: int
    missed: tuple[str, ...]
    """True pairs without enough accepted slices: what they are, and what was said of them."""
    n_slices: int
    """Of all true pairs."""
    n_slices_accepted: int
    false: tuple[str, ...]
    """Accepted pairs that are none, …"""
    repeats_missed: tuple[str, ...]
    repeats_false: tuple[str, ...]
    """… and repeats."""
    errors_px: tuple[tuple[float, str], ...]
    """Of each true pair with an accepted slice, the worst first, and what it is."""
    leaked: tuple[str, ...]

    @property
    def recall(self) -> float:
        return self.n_found / self.n_true

    def error_px(self, percentile: float) -> float:
        return float(np.percentile([error for error, _ in self.errors_px], percentile))

    @property
    def good(self) -> bool:
        """Whether the project's targets are met."""
        false = self.false or self.repeats_false or self.repeats_missed or self.leaked
        return self.recall >= 0.98 and not false and self.error_px(50) <= 0.3 and self.error_px(95) <= 0.7

    def __str__(self) -> str:
        lines = [
            f"true pairs      {self.n_found} of {self.n_true} found ({self.recall:.1%}), {self.n_slices_accepted} of {self.n_slices} slices",
            *(f"  missed        {one}" for one in self.missed),
            f"false pairs     {len(self.false)}",
            *(f"  false         {one}" for one in self.false),
            f"repeats         {len(self.repeats_missed)} missed, {len(self.repeats_false)} false",
            *(f"  missed        {one}" for one in self.repeats_missed),
            *(f"  false         {one}" for one in self.repeats_false),
            f"registration    median {self.error_px(50):.3f} px, 95th percentile {self.error_px(95):.3f} px, worst {self.error_px(100):.3f} px",
            *(f"  {error:.3f} px      {what}" for error, what in self.errors_px[:5]),
            f"leaks           {len(self.leaked)}",
            *(f"  leak          {one}" for one in self.leaked[:20]),
            f"targets         {'met' if self.good else 'MISSED'}",
        ]
        return "\n".join(lines)


def judge(truth: Truth, folder: Path, salt: bytes) -> Judgement:
    """Judge a built folder.

    Parameters
    ----------
    truth
        Of the hospital that it was built of.
    salt
        With which it was.
    """
    uids = {keyed_hash(salt, "series", uid): uid for uid in _series(truth)}
    found = candidates(folder)
    pairs = {_uids(one, uids): one for one in found if one.rows[0].kind == "pairs"}
    true = {(pair.fast_uid, pair.reference_uid): pair for pair in truth.pairs}
    allowed = set(true) | {(pair.fast_uid, pair.reference_uid) for pair in truth.optional}
    accepted = {key: sum(one.n_accepted for one in (pairs.get(key),) if one) for key in true}
    good = [key for key, pair in true.items() if accepted[key] >= LEAST_SHARE * pair.n_slices]
    errors = [(pair.error_px(np.linalg.inv(pairs[key].reference_to_fast)), _what(pair)) for key, pair in true.items() if accepted[key]]
    missed = [f"{_what(true[key])}: {_said(folder, key, pairs.get(key), uids)}" for key in true if key not in good]
    false = [f"{_why(truth, key)}: {one.n_accepted} slices" for key, one in pairs.items() if one.n_accepted and key not in allowed]
    return Judgement(
        n_true=len(true),
        n_found=len(good),
        missed=tuple(missed),
        n_slices=sum(pair.n_slices for pair in true.values()),
        n_slices_accepted=sum(min(accepted[key], pair.n_slices) for key, pair in true.items()),
        false=tuple(false),
        **_repeats(truth, found, uids),
        errors_px=tuple(sorted(errors, reverse=True)),
        leaked=tuple(leaks(folder, words(truth))),
    )


def candidates(folder: Path) -> list[Found]:
    """What a built folder holds, candidate by candidate."""
    rows = sorted(manifest.read_rows(folder), key=lambda row: row.id)
    groups = [tuple(group) for _, group in groupby(rows, key=lambda row: row.id)]
    return [Found(series=(group[0].series, group[0].reference_series), rows=group) for group in groups]


def rejections(folder: Path) -> list[dict[str, Any]]:
    """What a build said is no candidate."""
    return [json.loads(line) for line in (folder / REJECTED).read_text(encoding="utf-8").splitlines()]


def words(truth: Truth) -> list[str]:
    """All that must not be found in what is made of a hospital."""
    return sorted({word for kind in truth.planted.values() for word in kind if len(word) >= SHORT} | {str(truth.folder)})


def _repeats(truth: Truth, found: Sequence[Found], uids: dict[str, str]) -> dict[str, tuple[str, ...]]:
    """Judge sets of repeats: all of their stacks and slices, with the settings that so many make; nothing else accepted as such."""
    sets = {_uids(one, uids)[0]: one for one in found if one.rows[0].kind == "repeats"}
    missed = []
    for true in truth.repeats:
        one = sets.get(true.series_uid)
        settings = {row.acceleration for row in one.rows} if one else set()
        whole = one is not None and one.rows[0].n_repeats == true.n_repeats and one.n_accepted == true.n_slices
        if not whole or settings != ({3.0, 2.0, 1.5} if true.n_repeats == 6 else {3.0, 1.5}):
            missed.append(f"{true.n_repeats} repeats, settings {sorted(map(str, settings))}: {one.reasons if one else 'not found'}")
    known = {true.series_uid for true in truth.repeats}
    false = [f"{truth.lone.get(uid, 'a pair')}: {one.n_accepted} slices" for uid, one in sets.items() if one.n_accepted and uid not in known]
    return {"repeats_missed": tuple(missed), "repeats_false": tuple(false)}


def _series(truth: Truth) -> set[str]:
    pairs = [uid for pair in (*truth.pairs, *truth.optional) for uid in (pair.fast_uid, pair.reference_uid)]
    return {*pairs, *truth.lone, *(true.series_uid for true in truth.repeats), *(uid for pair in truth.doomed for uid in pair)}


def _uids(one: Found, uids: dict[str, str]) -> tuple[str, str]:
    first, second = one.series
    return uids.get(first, first), uids.get(second, second)


def _what(pair: TruePair) -> str:
    return f"{pair.vendor} {pair.organ} {pair.sequence} {pair.setting} ({pair.variant}, {'thin' if pair.thin else 'thick'} slices)"


def _why(truth: Truth, key: tuple[str, str]) -> str:
    """What a false pair really is."""
    if key in truth.doomed:
        return truth.doomed[key]
    if key[::-1] in {(pair.fast_uid, pair.reference_uid) for pair in truth.pairs}:
        return "the fast scan taken for the reference"
    return " with ".join(truth.lone.get(uid, "a series of a pair") for uid in key)


def _said(folder: Path, key: tuple[str, str], one: Found | None, uids: dict[str, str]) -> str:
    """What the build says of a true pair that it has not."""
    if one is not None:
        return one.reasons
    reasons = {line["reason"] for line in rejections(folder) if {uids.get(name) for name in line["series"]} & set(key)}
    return "no candidate; " + ("; ".join(sorted(reasons)) or "not a word")


def main(arguments: Sequence[str] | None = None) -> int:
    """Generate, build, kill, build again, compare, judge, print; 0 when every target is met."""
    parser = argparse.ArgumentParser(prog="python -m tests.pairs.judge", description="Judges `onenex pairs build` by a generated hospital.")
    parser.add_argument("--patients", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data", type=Path, help="folder of the real scans; phantoms without")
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--work", type=Path, help="folder to keep everything in; made, used and removed without")
    told = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="hospital-") as passing:
        return _run(told, told.work or Path(passing))


def _run(told: argparse.Namespace, work: Path) -> int:
    work.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    truth = make_hospital(work / "hospital", data=told.data, n_patients=told.patients, seed=told.seed)
    print(f"{told.patients} patients, {truth.n_files} files, {len(truth.pairs)} true pairs; made in {time.monotonic() - began:.0f} s", flush=True)
    whole = Build(source=truth.folder, folder=work / "whole", index=work / "whole.sqlite", salt=work / "salt")
    printed, seconds = whole.finish()
    print(printed + f"built in {seconds:.0f} s", flush=True)
    judgement = judge(truth, whole.folder, load_salt(whole.salt, whole.folder))
    print(judgement, flush=True)
    problems = [str(problem) for problem in check(whole.folder)]
    print("\n".join([f"check           {len(problems)} problems", *problems]), flush=True)
    if told.kills:
        killed = replace(whole, folder=work / "killed", index=work / "killed.sqlite")
        for number, where in enumerate(killed.kill_at_random(told.kills, seconds, np.random.default_rng(told.seed)), start=1):
            print(f"kill {number}          {where}", flush=True)
        killed.finish()
        apart = differences(whole.folder, killed.folder)
        print("\n".join([f"resumed         {'the same folder, row by row' if not apart else f'{len(apart)} DIFFERENCES'}", *apart[:20]]))
        problems += apart
    return int(bool(problems) or not judgement.good)


if __name__ == "__main__":
    sys.exit(main())
