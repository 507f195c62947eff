"""Statistics and curve metrics over numbers; nothing here reads traces."""

from harness.metrics.curves import pareto_front
from harness.metrics.statistics import Estimate, Partition, clustered_mean, partition, wilson

__all__ = ["Estimate", "Partition", "clustered_mean", "pareto_front", "partition", "wilson"]
