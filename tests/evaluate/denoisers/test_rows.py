"""What the benchmark says follows from its rows."""

import csv
import json
import math
from pathlib import Path

from onenex.evaluate.cases import PrototypeB, Score
from onenex.evaluate.denoisers import speed, table
from onenex.evaluate.denoisers.rows import INPUT, ONENEX, Row, findings


def row(psnr: tuple[float, float, float], ssim: tuple[float, float, float] = (0.5, 0.9, 0.8), **changed: object) -> Row:
    """A row with (input, OneNEX, one peer)."""
    scores = {name: Score(psnr=p, ssim=s) for name, p, s in zip((INPUT, ONENEX, "TV"), psnr, ssim, strict=True)}
    values: dict[str, object] = {
        "file": "repeats_a",
        "condition": "σ 0.03 uniform",
        "simulated": True,
        "unseen": True,
        "scores": scores,
        "seconds": {ONENEX: 0.1, "TV": 0.2},
        "sigma_ratio": 1.02,
        "prototype": None,
    }
    return Row(**(values | changed))  # type: ignore[arg-type]


def verdicts(rows: list[Row]) -> dict[str, bool | None]:
    return {finding.text: finding.passed for finding in findings(rows)}


def test_a_clean_sweep_passes() -> None:
    said = verdicts([row((24, 33, 29)), row((20, 22.5, 21), simulated=False, sigma_ratio=None)])
    assert said["PSNR: OneNEX fast is best on 2 of 2 rows (bar: all)"]
    assert said["SSIM: OneNEX fast is best on 2 of 2 rows (bar: all)"]
    assert said["lead over the best peer of each simulated row, all files: mean +4.00 dB, least +4.00 (bar +3)"]
    assert said["gain over the input on noisy real repeats (a): mean +2.50 dB (bar +2)"]
    assert said["do no harm: least gain over the input on real repeats +2.500 dB (repeats_a, σ 0.03 uniform; bar −0.05)"]


def test_lost_rows_are_named_with_their_winner() -> None:
    said = verdicts([row((45.1, 45.0, 30), simulated=False), row((24, 28, 29), ssim=(0.5, 0.7, 0.8))])
    assert said["PSNR: OneNEX fast is best on 0 of 2 rows (bar: all)"] is False
    assert "  repeats_a, σ 0.03 uniform: input leads by 0.10" in said
    assert "  repeats_a, σ 0.03 uniform: TV leads by 1.00" in said
    assert "  repeats_a, σ 0.03 uniform: TV leads by 0.1000" in said
    assert said["do no harm: least gain over the input on real repeats -0.100 dB (repeats_a, σ 0.03 uniform; bar −0.05)"] is False
    assert said["lead over the best peer of each simulated row, all files: mean -1.00 dB, least -1.00 (bar +3)"] is False


def test_the_prototype_is_met_by_gain_and_stays_out_of_the_lead() -> None:
    prototype = PrototypeB(input_dB=20.1, output_dB=22.4)
    said = verdicts([row((24, 33, 29)), row((21, 23.2, 10), prototype=prototype), row((21, 23.5, 10), condition="other", prototype=prototype)])
    assert [passed for text, passed in said.items() if text.startswith("prototype B")] == [False, True]
    assert said["lead over the best peer of each simulated row, all files: mean +4.00 dB, least +4.00 (bar +3)"]


def test_files_with_kin_in_training_are_told_apart() -> None:
    texts = list(verdicts([row((24, 33, 29)), row((24, 30, 29), unseen=False)]))
    assert any("unseen in training: mean +4.00" in text for text in texts)
    assert any("with kin in training (†): mean +1.00" in text for text in texts)


def test_nearly_clean_or_averaged_repeats_do_not_count_as_noisy() -> None:
    rows = [row((45, 45, 30), simulated=False), row((22, 23, 23), simulated=False, nex=2)]
    assert not any("noisy real repeats" in text for text in verdicts(rows))


def test_noisy_repeats_are_also_compared_without_the_floor() -> None:
    squared = {INPUT: Score(psnr=20, ssim=0.5, second_moment_psnr=21.0), ONENEX: Score(psnr=22, ssim=0.6, second_moment_psnr=26.25)}
    texts = list(verdicts([row((0, 0, 0), simulated=False, scores=squared, condition="real repeats")]))
    assert "without the Rician floor (PSNR of squares, dB), repeats_a, real repeats: OneNEX fast 26.25, input 21.00" in texts


def test_table_and_files_show_the_same(tmp_path: Path) -> None:
    rows = [row((24, 33, 29)), row((45, math.inf, 30), condition="real repeats", simulated=False, unseen=False, sigma_ratio=None)]
    console = table.console()
    with console.capture() as captured:
        console.print(table.head([INPUT, ONENEX, "TV"]))
        for one in rows:
            console.print(table.line(one))
        for finding in findings(rows):
            console.print(table.finding_line(finding))
    text = captured.get()
    assert "33.00* .900*" in text
    assert "repeats_a †" in text
    assert "PASS  PSNR" in text
    table.write(rows, findings(rows), {"weights": "abc"}, tmp_path)
    with (tmp_path / "denoisers.csv").open(encoding="utf-8") as stream:
        lines = list(csv.DictReader(stream))
    assert len(lines) == 6
    assert lines[1]["method"] == ONENEX
    assert lines[1]["psnr_dB"] == "33.0000"
    document = json.loads((tmp_path / "denoisers.json").read_text(encoding="utf-8"))
    assert document["rows"][0]["scores"]["TV"] == {"psnr": 29, "ssim": 0.8, "second_moment_psnr": None}
    assert document["rows"][1]["scores"][ONENEX]["psnr"] is None
    assert document["weights"] == "abc"


def test_growth_exponent_of_known_laws() -> None:
    pixels = tuple(side * side for side in (64, 256, 512, 1024))
    linear = speed.Growth(pixels=pixels, seconds=tuple(1e-6 * p for p in pixels))
    square = speed.Growth(pixels=pixels, seconds=tuple(1e-12 * p * p for p in pixels))
    assert abs(linear.exponent - 1) < 1e-6
    assert abs(square.exponent - 2) < 1e-6


def test_costs_are_held_against_their_bars(tmp_path: Path) -> None:
    growth = speed.Growth(pixels=(65536, 262144), seconds=(0.1, 0.4))
    seconds = {ONENEX: 0.1, "NLM blockwise": 0.4, "NLM blockwise, default": 0.6, "TV": 0.01}
    costs = speed.Costs(seconds=seconds, growth=growth, peak_bytes=3_000_000_000, memory_job=(200, 512, 512))
    assert [finding.passed for finding in speed.findings(costs)] == [True, False, True, None, True, False]
    speed.plot_growth(growth, tmp_path / "growth.png")
    assert (tmp_path / "growth.png").stat().st_size > 5000
