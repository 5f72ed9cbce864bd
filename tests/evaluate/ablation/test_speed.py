"""The speed bars: judged on the guarded mode, told where they can't be, and nothing claimed from a small size."""

from dataclasses import replace

import pytest

from onenex.evaluate.ablation import paper_size
from onenex.evaluate.ablation import speed as ablation_speed
from onenex.evaluate.ablation.speed import FULL_GUARDED, MODES, ModeTime, Speed


def speed(full: float, *, paper: float = 22.0, threads: int = 2, device: str = "cpu", side: int = 256, share: float = 0.9) -> Speed:
    modes = {name: ModeTime(seconds=full if name == FULL_GUARDED else 0.1, runs=(full,), cpu_share=share) for name in MODES}
    timing = paper_size.Timing(
        threads=threads, side=side, restoration_seconds=0.0, step_seconds=(paper, paper + 5), cpu_share=0.9, n_weights=(1, 1, 1)
    )
    return Speed(device=device, threads=threads, modes=modes, paper=timing if device == "cpu" else None)


def verdicts(one: Speed) -> list[bool | None]:
    return [finding.passed for finding in ablation_speed.findings(one)]


def test_both_bars_at_their_edges() -> None:
    assert verdicts(speed(2.5)) == [True, None, True]
    assert verdicts(speed(2.51)) == [False, None, True]
    assert verdicts(speed(2.0, paper=2.0 * 200 / 41)) == [True, None, True]
    assert verdicts(speed(2.0, paper=1.99 * 200 / 41)) == [True, None, False]


def test_more_cores_than_the_bar_allows_prove_nothing_but_failure() -> None:
    assert verdicts(speed(2.0, threads=8))[0] is None
    assert verdicts(speed(3.0, threads=8))[0] is False
    assert verdicts(speed(0.1, device="cuda:0")) == [None, None]


def test_a_small_size_says_nothing_of_the_ratio() -> None:
    small = speed(1.0, side=32)
    assert small.ratio is None
    assert verdicts(small)[2] is None
    assert "32 × 32 only" in ablation_speed.findings(small)[2].text
    assert all(row[2] == "-" for row in ablation_speed.grid(small).rows)


def test_a_busy_machine_is_told() -> None:
    assert "only 40% of the threads' time" in ablation_speed.findings(speed(1.0, share=0.4))[0].text
    assert "only" not in ablation_speed.findings(speed(1.0))[0].text


def test_the_table_counts_the_ratio_of_every_mode() -> None:
    rows = {row[0]: row for row in ablation_speed.grid(speed(2.0)).rows}
    assert rows[FULL_GUARDED][1:3] == ("2000", f"{22 * 41 / 2:.0f} ×")
    assert rows["the paper's configuration"][4] == "2 of 41 steps run"


def test_the_timed_slice_is_a_noisy_one_of_the_size_that_is_promised() -> None:
    images = ablation_speed.noisy_slice()
    assert images.shape == (1, 256, 256)
    air = images[0, :16, :16]
    assert air.mean() == pytest.approx(1.2533 * ablation_speed.SIGMA, rel=0.1)
    assert ablation_speed.as_dict(replace(speed(1.0)))["ratio"] == pytest.approx(902)
