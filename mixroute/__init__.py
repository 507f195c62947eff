"""mixroute: benchmark harness and leaderboard for LLM routing on long-horizon agent tasks.

Everything that users and authors of plug-ins need is a name of this package; each is imported when it is first used.
"""

from typing import TYPE_CHECKING

from mixroute._shadowing import check_shadowing

check_shadowing()

if TYPE_CHECKING:
    from harness.backends.completion_cache import completion_key
    from harness.board.compare import Comparison
    from harness.board.table import Board
    from harness.contracts import (
        Backend,
        BackendTraits,
        BuiltFromFiles,
        Calibrated,
        CompletionStore,
        DataSource,
        DrawsFreshGames,
        Environment,
        Expert,
        Granularity,
        Router,
        SharesCache,
        Step,
        StepRouter,
        SupportsCompletionCache,
        SupportsScoring,
        Task,
        Teachable,
        Thinker,
        Trained,
        TrainedWithPool,
    )
    from harness.data import (
        Completion,
        GivenAnswer,
        Instance,
        MemoryEstimate,
        Message,
        ModelCard,
        Observation,
        Prompt,
        Request,
        RouterRole,
        ScoredToken,
        Timing,
        Token,
        Turn,
    )
    from harness.engine.cluster.executor import RayExecutor
    from harness.errors import EpisodeError, MixrouteError, NotRecorded
    from harness.joining import beginning, join
    from harness.plugins import open_router, open_task
    from harness.pool import ModelSpec, Pool, load_pool
    from harness.records import Episode
    from harness.registry import register_backend, register_router, register_task
    from harness.scaffolds import Scaffold, ScaffoldedTask, SolvedEpisode, TaskRules, load_scaffold
    from harness.seeding import is_fresh_split
    from harness.suite import RouterEntry, Suite, TaskEntry, load_suite
    from harness.traces.contamination import instance_key
    from mixroute.results import Results, board, load_results
    from mixroute.runs import open_pool, run

    __version__: str
else:
    _NAMES_OF = {
        "harness.backends.completion_cache": "completion_key",
        "harness.board.compare": "Comparison",
        "harness.board.table": "Board",
        "harness.contracts": "Backend BackendTraits BuiltFromFiles Calibrated CompletionStore DataSource "
        "DrawsFreshGames Environment Expert Granularity Router SharesCache Step StepRouter SupportsCompletionCache "
        "SupportsScoring Task Teachable Thinker Trained TrainedWithPool",
        "harness.data": "Completion GivenAnswer Instance MemoryEstimate Message ModelCard Observation Prompt Request "
        "RouterRole ScoredToken Timing Token Turn",
        "harness.engine.cluster.executor": "RayExecutor",
        "harness.errors": "EpisodeError MixrouteError NotRecorded",
        "harness.joining": "beginning join",
        "harness.plugins": "open_router open_task",
        "harness.pool": "ModelSpec Pool load_pool",
        "harness.records": "Episode",
        "harness.registry": "register_backend register_router register_task",
        "harness.scaffolds": "Scaffold ScaffoldedTask SolvedEpisode TaskRules load_scaffold",
        "harness.seeding": "is_fresh_split",
        "harness.suite": "RouterEntry Suite TaskEntry load_suite",
        "harness.traces.contamination": "instance_key",
        "mixroute.results": "Results board load_results",
        "mixroute.runs": "open_pool run",
    }
    _MODULE_OF = {name: module for module, names in _NAMES_OF.items() for name in names.split()}

    def __getattr__(name: str) -> object:
        if name == "__version__":
            from importlib.metadata import version

            value: object = version("mixroute")
        elif name in _MODULE_OF:
            from importlib import import_module

            value = getattr(import_module(_MODULE_OF[name]), name)
        else:
            raise AttributeError(f"module 'mixroute' has no attribute '{name}'")
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


__all__ = [
    "Backend",
    "BackendTraits",
    "Board",
    "BuiltFromFiles",
    "Calibrated",
    "Comparison",
    "Completion",
    "CompletionStore",
    "DataSource",
    "DrawsFreshGames",
    "Environment",
    "Episode",
    "EpisodeError",
    "Expert",
    "GivenAnswer",
    "Granularity",
    "Instance",
    "MemoryEstimate",
    "Message",
    "MixrouteError",
    "ModelCard",
    "ModelSpec",
    "NotRecorded",
    "Observation",
    "Pool",
    "Prompt",
    "RayExecutor",
    "Request",
    "Results",
    "Router",
    "RouterEntry",
    "RouterRole",
    "Scaffold",
    "ScaffoldedTask",
    "ScoredToken",
    "SharesCache",
    "SolvedEpisode",
    "Step",
    "StepRouter",
    "Suite",
    "SupportsCompletionCache",
    "SupportsScoring",
    "Task",
    "TaskEntry",
    "TaskRules",
    "Teachable",
    "Thinker",
    "Timing",
    "Token",
    "Trained",
    "TrainedWithPool",
    "Turn",
    "__version__",
    "beginning",
    "board",
    "completion_key",
    "instance_key",
    "is_fresh_split",
    "join",
    "load_pool",
    "load_results",
    "load_scaffold",
    "load_suite",
    "open_pool",
    "open_router",
    "open_task",
    "register_backend",
    "register_router",
    "register_task",
    "run",
]
