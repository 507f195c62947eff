"""mixroute: benchmark harness and leaderboard for LLM routing on long-horizon agent tasks."""

from harness.contracts import (
    Backend,
    Completion,
    Environment,
    Instance,
    Message,
    ModelCard,
    Observation,
    Prompt,
    Request,
    Router,
    Step,
    StepRouter,
    Task,
    Timing,
    Token,
    Turn,
)
from harness.errors import EpisodeError, MixrouteError
from harness.plugins import open_router, open_task
from harness.registry import register_backend, register_router, register_task

__all__ = [
    "Backend",
    "Completion",
    "Environment",
    "EpisodeError",
    "Instance",
    "Message",
    "MixrouteError",
    "ModelCard",
    "Observation",
    "Prompt",
    "Request",
    "Router",
    "Step",
    "StepRouter",
    "Task",
    "Timing",
    "Token",
    "Turn",
    "open_router",
    "open_task",
    "register_backend",
    "register_router",
    "register_task",
]
