"""The protocols at the plug-in boundary; the data that passes through them is in ``harness.data``."""

from harness.contracts.backends import (
    Backend,
    BackendTraits,
    CompletionStore,
    DescribesPrompts,
    SharesCache,
    SupportsCompletionCache,
    SupportsScoring,
)
from harness.contracts.routers import (
    BuiltFromFiles,
    Calibrated,
    Granularity,
    Router,
    Step,
    StepRouter,
    Trained,
    TrainedWithPool,
    role_of,
)
from harness.contracts.tasks import DataSource, DrawsFreshGames, Environment, Expert, Task, Teachable, Thinker

__all__ = [
    "Backend",
    "BackendTraits",
    "BuiltFromFiles",
    "Calibrated",
    "CompletionStore",
    "DataSource",
    "DescribesPrompts",
    "DrawsFreshGames",
    "Environment",
    "Expert",
    "Granularity",
    "Router",
    "SharesCache",
    "Step",
    "StepRouter",
    "SupportsCompletionCache",
    "SupportsScoring",
    "Task",
    "Teachable",
    "Thinker",
    "Trained",
    "TrainedWithPool",
    "role_of",
]
