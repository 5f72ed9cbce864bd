"""The plan is arithmetic: here by hand."""

import pytest
from typer.testing import CliRunner

from onenex.cli import app
from onenex.errors import DataError
from onenex.evaluate.costs.capacity import DEMANDS, Assumptions, Cost, Demand, plan, table

COST = Cost(fast_s=0.1, full_s=1.0, bytes_in=1e5, bytes_out=1e5)


def test_a_hospital_by_hand() -> None:
    """1,000 exams a day of 100 slices of 0.1 s: 10,000 core-seconds a day, three times that at the busiest hour, half of the time."""
    demand = Demand(name="one", exams=1000, within_days=1, as_it_comes=True)
    found = plan(demand, COST, "fast", Assumptions(slices_an_exam=100, peak=3, utilisation=0.5, cores_a_machine=4, machine_failures_a_year=365.25))
    assert found.slices == 1e5
    assert found.core_hours == pytest.approx(10_000 / 3600)
    assert found.cores == pytest.approx(10_000 / 86_400 * 3 / 0.5)
    assert found.machines == 2, "it must not stop when one does"
    assert found.megabits_a_s == pytest.approx(1e5 * 2e5 * 8e-6 / 86_400 * 3)
    assert found.terabytes == pytest.approx(0.01)
    assert found.failures == pytest.approx(2)
    assert found.share_repeated == pytest.approx(2 * 30 * found.cores / 1e5)


def test_an_archive_has_no_busiest_hour() -> None:
    demand = Demand(name="one", exams=86_400, within_days=1, as_it_comes=False)
    found = plan(demand, COST, "full", Assumptions(slices_an_exam=100, utilisation=1.0, cores_a_machine=32))
    assert found.cores == pytest.approx(100)
    assert found.machines == 4


def test_no_cost_no_plan() -> None:
    with pytest.raises(DataError, match="no cost of mode 'slow'"):
        plan(DEMANDS[0], COST, "slow")
    with pytest.raises(DataError, match="no cost"):
        plan(DEMANDS[0], Cost(fast_s=0.0, full_s=1.0), "fast")


def test_the_verb_prints_a_row_a_demand_and_mode() -> None:
    found = CliRunner().invoke(app, ["benchmark", "capacity", "--fast-ms", "100", "--full-ms", "1000"])
    assert found.exit_code == 0, found.output
    assert len(found.output.strip().splitlines()) == 2 + 2 * len(DEMANDS)
    assert table([plan(DEMANDS[1], Cost(fast_s=0.1, full_s=1.0), "fast")]).splitlines()[-1] in found.output
