"""The ablation's files: a journal that a stopped run goes on from, the groups as CSV, all of it as JSON, the tables as Markdown."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from onenex.errors import DataError
from onenex.evaluate.ablation.table import COLUMNS, FAST, GROUPINGS, Grid, Measured, grouped, mean_of, milliseconds, overall, paired
from onenex.evaluate.denoisers.rows import Finding

HEAD = ["weights", "key", *(one.name for one in fields(Measured))]
"""Of the journal. `key` is a hash of all that a measurement depends on besides its row."""
CODE = (
    "model",
    "nets",
    "physics",
    "text",
    "evaluate/trials.py",
    "evaluate/ablation/run.py",
    "evaluate/cases.py",
    "evaluate/metrics.py",
    "evaluate/perceptual.py",
)
"""What the figures are made by: measurements are not taken over from other code."""

Done = dict[tuple[str, str, str], Measured]
"""(key, file, condition) → measurement."""


def resume(path: Path, keys: Set[str]) -> Done:
    """Return the measurements of a journal that have one of `keys`; others stay in the file and don't count.

    A last line that was cut off when its run was killed is removed.

    Raises
    ------
    DataError
        The file is no such journal.
    """
    if not path.is_file():
        return {}
    whole = path.read_bytes()
    complete = whole[: whole.rfind(b"\n") + 1]
    if len(complete) < len(whole):
        path.write_bytes(complete)
    if not complete:
        return {}
    reader = csv.DictReader(complete.decode("utf-8").splitlines())
    if reader.fieldnames != HEAD:
        raise DataError(f"{path}: its columns are not those of this version's ablation: move it away, or give another folder with --output")
    done: Done = {}
    for line in reader:
        if line["key"] in keys:
            one = _measured(line, path)
            done[line["key"], one.file, one.condition] = one
    return done


def append(path: Path, key: str, weights_hash: str, one: Measured) -> None:
    """Add one measurement to a journal and see it to the disk; the file and its folder are made when missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, HEAD, lineterminator="\n")
        if stream.tell() == 0:
            writer.writeheader()
        writer.writerow({"weights": weights_hash, "key": key, **asdict(one)})
        stream.flush()
        os.fsync(stream.fileno())


def _measured(line: Mapping[str, str], path: Path) -> Measured:
    """Return a line of the journal as it was written."""
    try:
        return Measured(
            file=line["file"],
            condition=line["condition"],
            organ=line["organ"],
            vendor=line["vendor"],
            simulated=line["simulated"] == "True",
            unseen=line["unseen"] == "True",
            n_slices=int(line["n_slices"]),
            variant=line["variant"],
            psnr=float(line["psnr"]),
            ssim=float(line["ssim"]),
            lpips=float(line["lpips"]) if line["lpips"] else None,
            seconds=float(line["seconds"]),
        )
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: a line cannot be read ({error}): remove it, or move the file away") from error


def write(
    found: Sequence[Measured],
    findings: Sequence[Finding],
    document: Mapping[str, Any],
    output: Path,
    *,
    name: str = "ablation",
    extra: Sequence[Grid] = (),
) -> None:
    """Write `<name>.json`, `<name>-groups.csv` and `<name>.md` into `output`.

    Parameters
    ----------
    found, findings
        Measurements of this run, and what they say.
    document
        What else goes into the JSON; its "plan" is printed above the tables in the Markdown.
    output, name
        Folder, made when missing; stem of the files.
    extra
        Tables for the Markdown behind those of quality.
    """
    output.mkdir(parents=True, exist_ok=True)
    verdicts = [{"text": one.text.strip(), "passed": one.passed} for one in findings]
    whole = {**document, "findings": verdicts, "groups": groups(found), "rows": [_row(one) for one in found]}
    text = json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False)
    (output / f"{name}.json").write_text(text, encoding="utf-8")
    with (output / f"{name}-groups.csv").open("w", newline="", encoding="utf-8") as stream:
        lines = groups(found)
        writer = csv.DictWriter(stream, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
    grids = [overall(found), *(grouped(found, grouping) for grouping in GROUPINGS), *extra]
    (output / f"{name}.md").write_text(markdown(list(document.get("plan", [])), grids, findings), encoding="utf-8")


def _row(one: Measured) -> dict[str, Any]:
    """Return a measurement for JSON, which doesn't know infinite numbers."""
    return {**asdict(one), "psnr": one.psnr if math.isfinite(one.psnr) else None}


def groups(found: Sequence[Measured]) -> list[dict[str, Any]]:
    """Return one record for each grouping, group, variant and measure: mean over files, paired difference to fast, its interval, counts."""
    records = []
    for grouping, key in {"all": lambda _: "all", **GROUPINGS}.items():
        for group in sorted({key(one) for one in found}):
            inside = [one for one in found if key(one) == group]
            for variant in dict.fromkeys(one.variant for one in inside):
                records += _records({"grouping": grouping, "group": group, "variant": variant}, inside)
    return records


def _records(names: dict[str, str], inside: Sequence[Measured]) -> list[dict[str, Any]]:
    mine = [one for one in inside if one.variant == names["variant"]]
    records = []
    for column in COLUMNS:
        mean = mean_of(mine, column)
        if mean is None:
            continue
        of_kind = [one for one in inside if one.simulated == column.simulated]
        gain = None if names["variant"] == FAST else paired(of_kind, names["variant"], FAST, column.metric)
        interval = (None, None, None) if gain is None else (gain.mean, gain.low, gain.high)
        counted = [one for one in mine if one.simulated == column.simulated]
        counts = {"n_files": len({one.file for one in counted}), "n_rows": len(counted), "ms": milliseconds(counted)}
        records.append({**names, "measure": column.name, "mean": mean, **dict(zip(("minus_fast", "low", "high"), interval, strict=True)), **counts})
    return records


def markdown(lines: Sequence[str], grids: Sequence[Grid], findings: Sequence[Finding]) -> str:
    """Return the run as a page: what was measured, the tables, the bars."""
    parts = [*lines]
    for grid in grids:
        rows = [grid.head, ("---",) * len(grid.head), *grid.rows]
        table = "\n".join(f"| {' | '.join(cell.strip().replace('|', chr(92) + '|') for cell in row)} |" for row in rows)
        parts.append(f"**{grid.title[:1].upper()}{grid.title[1:]}**\n\n{table}")
    verdict = {True: "met", False: "**missed**", None: "no bar"}
    parts.append("\n".join(f"- {verdict[one.passed]}: {one.text.strip()}" for one in findings))
    return "\n\n".join(parts) + "\n"
