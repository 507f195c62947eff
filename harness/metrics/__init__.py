"""Statistics and curve metrics over numbers; nothing here reads traces."""

from harness.metrics.comparison import Difference, holm, paired_difference, required_instances
from harness.metrics.curves import pareto_front
from harness.metrics.statistics import Estimate, Partition, clustered_mean, partition, wilson

__all__ = [
    "Difference",
    "Estimate",
    "Partition",
    "clustered_mean",
    "holm",
    "paired_difference",
    "pareto_front",
    "partition",
    "required_instances",
    "wilson",
]
