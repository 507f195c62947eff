"""mixroute: benchmark harness and leaderboard for LLM routing on long-horizon agent tasks."""

from harness.contracts import Backend, Calibrated, Environment, Router, Step, StepRouter, Task
from harness.data import (
    Completion,
    Instance,
    Message,
    ModelCard,
    Observation,
    Prompt,
    Request,
    Timing,
    Token,
    Turn,
    join,
)
from harness.errors import EpisodeError, MixrouteError
from harness.plugins import open_router, open_task
from harness.registry import register_backend, register_router, register_task

__all__ = [
    "Backend",
    "Calibrated",
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
    "join",
    "open_router",
    "open_task",
    "register_backend",
    "register_router",
    "register_task",
]
