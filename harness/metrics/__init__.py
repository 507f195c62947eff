"""Statistics and curve metrics over numbers; nothing here reads traces."""

from harness.metrics.budgets import BUDGETS, percentile, success_within
from harness.metrics.comparison import Difference, holm, paired_difference, required_instances
from harness.metrics.curves import (
    aiq,
    apgr,
    audc,
    collapse_index,
    cost_reduction,
    cpt,
    gain_over_random,
    ghc,
    ibc_lift,
    pareto_front,
    pgr,
    qnc,
)
from harness.metrics.independent import excess_cost, excess_test, lower_test
from harness.metrics.statistics import Estimate, Partition, clustered_mean, partition, wilson

__all__ = [
    "BUDGETS",
    "Difference",
    "Estimate",
    "Partition",
    "aiq",
    "apgr",
    "audc",
    "clustered_mean",
    "collapse_index",
    "cost_reduction",
    "cpt",
    "excess_cost",
    "excess_test",
    "gain_over_random",
    "ghc",
    "holm",
    "ibc_lift",
    "lower_test",
    "paired_difference",
    "pareto_front",
    "partition",
    "percentile",
    "pgr",
    "qnc",
    "required_instances",
    "success_within",
    "wilson",
]
