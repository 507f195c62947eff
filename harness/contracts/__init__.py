"""The protocols at the plug-in boundary; the data that passes through them is in ``harness.data``."""

from harness.contracts.backends import Backend, BackendTraits, CompletionStore, SupportsCompletionCache
from harness.contracts.routers import Calibrated, Granularity, Router, Step, StepRouter, Trained, role_of
from harness.contracts.tasks import DataSource, Environment, Expert, Task, Teachable

__all__ = [
    "Backend",
    "BackendTraits",
    "Calibrated",
    "CompletionStore",
    "DataSource",
    "Environment",
    "Expert",
    "Granularity",
    "Router",
    "Step",
    "StepRouter",
    "SupportsCompletionCache",
    "Task",
    "Teachable",
    "Trained",
    "role_of",
]
