"""What denoising at a hospital's, an archive's or a country's scale takes: machines, money, disk, network, failures.

Arithmetic on the measured cost of one slice. Everything that isn't measured is an assumption with a name, printed with the plan.
"""

from __future__ import annotations

from dataclasses import dataclass

from onenex.errors import DataError

SECONDS_A_DAY, HOURS_A_YEAR, DAYS_A_YEAR = 86_400.0, 8766.0, 365.25


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one slice of 256 × 256 costs."""

    fast_s: float
    """CPU seconds of one core, all of it: read, denoise, write."""
    full_s: float
    bytes_in: float = 167e3
    """Of a stored slice: the mean of the 297 files of ../shared/data/dicom."""
    bytes_out: float = 167e3


@dataclass(frozen=True, kw_only=True)
class Assumptions:
    """What isn't measured here."""

    slices_an_exam: float = 200.0
    """Six to eight series of some 25 to 30 slices."""
    peak: float = 3.0
    """Busiest hour over the mean hour, where work must be done as it comes."""
    utilisation: float = 0.7
    """Share of its time that a core works."""
    cores_a_machine: int = 32
    core_hour_usd: float = 0.04
    """A rented core with 4 GB, on demand, 2026; a bought one costs less over three years."""
    terabyte_year_usd: float = 250.0
    """Object storage, one copy, 2026."""
    machine_failures_a_year: float = 0.3
    """A machine that ends its work in the middle, for whatever reason."""
    slices_lost: float = 30.0
    """Done again after such a failure, per core of the machine: the series in hand."""


@dataclass(frozen=True, kw_only=True)
class Demand:
    """What is to be denoised."""

    name: str
    exams: float
    """In all, or a year."""
    within_days: float
    """Time for it."""
    as_it_comes: bool
    """Whether it must keep up with the busiest hour."""


DEMANDS = (
    Demand(name="hospital, 2,000 exams a day", exams=2000 * DAYS_A_YEAR, within_days=DAYS_A_YEAR, as_it_comes=True),
    Demand(name="country, 100 million exams a year", exams=100e6, within_days=DAYS_A_YEAR, as_it_comes=True),
    Demand(name="archive of fastMRI's size (some 30,000 exams), in a day", exams=30_000, within_days=1, as_it_comes=False),
)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a demand takes."""

    demand: Demand
    mode: str
    slices: float
    core_hours: float
    cores: float
    """At the busiest hour where work comes as it comes."""
    machines: float
    """At least one; two where it must not stop."""
    usd: float
    """Core-hours that are used, by the hour."""
    terabytes: float
    """Derived series."""
    storage_usd_a_year: float
    megabits_a_s: float
    """In and out together, at the busiest hour."""
    failures: float
    """Machines that fail in that time."""
    share_repeated: float
    """Of the work, done again after failures."""


def plan(demand: Demand, cost: Cost, mode: str, given: Assumptions | None = None) -> Plan:
    """Return what a demand takes in one mode.

    Raises
    ------
    DataError
        A cost that is not above 0, or a mode that there isn't.
    """
    given = given or Assumptions()
    seconds = {"fast": cost.fast_s, "full": cost.full_s}.get(mode)
    if seconds is None or seconds <= 0:
        raise DataError(f"no cost of mode '{mode}': measure it with `onenex benchmark capacity`")
    slices = demand.exams * given.slices_an_exam
    core_s = slices * seconds
    days = demand.within_days
    busiest = given.peak if demand.as_it_comes else 1.0
    cores = core_s / (days * SECONDS_A_DAY) * busiest / given.utilisation
    least = 2.0 if demand.as_it_comes else 1.0
    machines = max(least, float(-(-cores // given.cores_a_machine)))
    failures = machines * given.machine_failures_a_year * days / DAYS_A_YEAR
    terabytes = slices * cost.bytes_out / 1e12
    return Plan(
        demand=demand,
        mode=mode,
        slices=slices,
        core_hours=core_s / 3600,
        cores=cores,
        machines=machines,
        usd=core_s / 3600 / given.utilisation * given.core_hour_usd,
        terabytes=terabytes,
        storage_usd_a_year=terabytes * given.terabyte_year_usd,
        megabits_a_s=slices * (cost.bytes_in + cost.bytes_out) * 8e-6 / (days * SECONDS_A_DAY) * busiest,
        failures=failures,
        share_repeated=failures * given.slices_lost * min(given.cores_a_machine, cores) / slices,
    )


def table(plans: list[Plan]) -> str:
    """Return plans as a Markdown table."""
    lines = [
        "| what | mode | slices | core-hours | cores | machines | compute, USD | derived, TB | its storage, USD a year | network, Mbit/s "
        "| machine failures | done again |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for one in plans:
        cells = [one.demand.name, one.mode, f"{one.slices:.2g}", *(f"{value:,.0f}" for value in (one.core_hours, one.cores, one.machines, one.usd))]
        cells += [f"{one.terabytes:,.1f}", f"{one.storage_usd_a_year:,.0f}", f"{one.megabits_a_s:,.1f}", f"{one.failures:.1g}"]
        lines.append(f"| {' | '.join(cells)} | {one.share_repeated:.0e} |")
    return "\n".join(lines)
