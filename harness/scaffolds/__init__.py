"""Scaffolds: how an agent is shown a task, and how its reply is read, as data. Specification: docs/scaffolds.md."""

from harness.scaffolds.rendering import SolvedEpisode, TaskRules
from harness.scaffolds.schema import SHIPPED, Scaffold, in_tokens, load_scaffold
from harness.scaffolds.tasks import APPEND_ONLY, ScaffoldedTask

__all__ = [
    "APPEND_ONLY",
    "SHIPPED",
    "Scaffold",
    "ScaffoldedTask",
    "SolvedEpisode",
    "TaskRules",
    "in_tokens",
    "load_scaffold",
]
