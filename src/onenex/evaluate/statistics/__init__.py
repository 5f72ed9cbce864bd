"""Statistics of an evaluation: patients are what was sampled, images only what was measured of them."""

from onenex.evaluate.statistics.agreement import Agreement, bland_altman
from onenex.evaluate.statistics.bootstrap import Estimate, estimate, relative_gain_percent
from onenex.evaluate.statistics.equivalence import Equivalence, equivalence
from onenex.evaluate.statistics.paired import Comparison, Paired, compare, holm, paired_test
from onenex.evaluate.statistics.patients import Interval, Patients, by_patient

__all__ = [
    "Agreement",
    "Comparison",
    "Equivalence",
    "Estimate",
    "Interval",
    "Paired",
    "Patients",
    "bland_altman",
    "by_patient",
    "compare",
    "equivalence",
    "estimate",
    "holm",
    "paired_test",
    "relative_gain_percent",
]
