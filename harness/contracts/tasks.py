"""What a task and its environments offer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

from harness.data import Instance, Observation, Prompt, Turn
from harness.scaffolds import Scaffold


class Environment(Protocol):
    """One live instance. Not shared between episodes; ``close`` may be called more than once."""

    def reset(self) -> Observation:
        """Start (or restart) the instance."""
        ...

    def step(self, action: str) -> tuple[Observation, float, bool]:
        """Apply ``action``; returns the observation, the reward of this step and whether the episode is over."""
        ...

    def close(self) -> None:
        """Free what the environment holds (processes, files)."""
        ...


class Task(Protocol):
    """A set of instances with one way to show and to play them. Built by ``open_task(name, split=…, **arguments)``.

    Everything that may change a score is in ``protocol()``: engine, dialect, prompt, whether admissible actions are
    shown. Class attributes say how the engine may run its environments. The class may have an attribute
    ``location_arguments``: names of constructor arguments that only say where the data lies; ``("data",)`` if it has
    none. They are no part of a run's settings: what the data is, is in ``protocol()``.
    """

    name: str
    split: str
    blocking: bool
    """Whether ``Environment`` calls may take longer than a millisecond, so that they must leave the event loop."""
    stop: tuple[str, ...]
    """Stop strings of an action's completion."""
    max_tokens: int
    """Most tokens of an action's completion."""
    step_cap: int
    """Steps after which an unfinished episode ends; a constructor argument of every multi-step task."""

    def instances(self) -> Sequence[Instance]:
        """All instances of the split, sorted by id."""
        ...

    def open(self, instance: Instance) -> Environment:
        """A new environment for ``instance``."""
        ...

    def prompt(self, turns: Sequence[Turn], observation: Observation) -> Prompt:
        """The prompt for the step after ``turns``. Models read least where it extends the prompt of the step before."""
        ...

    def parse_action(self, text: str) -> str:
        """The action in a completion's text. Never repairs an invalid action into a valid one."""
        ...

    def is_success(self, score: float) -> bool:
        """Whether an episode whose rewards sum to ``score`` counts as a success."""
        ...

    def protocol(self) -> Mapping[str, Any]:
        """JSON-ready record of the evaluation protocol, data fingerprint and prompt hash included."""
        ...


@runtime_checkable
class Scaffolded(Protocol):
    """A task whose prompts and replies a scaffold declares, as ``harness.scaffolds.ScaffoldedTask`` does."""

    scaffold: Scaffold


def scaffold_of(task: object) -> Scaffold | None:
    """The scaffold of a task; None of one that has prompts of its own."""
    scaffold = task.scaffold if isinstance(task, Scaffolded) else None
    return scaffold if isinstance(scaffold, Scaffold) else None


class Expert(Protocol):
    """A player to learn from. It acts on what an agent has seen, so it can take over any episode at any step.

    One that is also a ``Thinker`` says why, for scaffolds with thoughts.
    """

    def act(self, turns: Sequence[Turn], observation: Observation) -> str:
        """The action to take after ``turns``, now that ``observation`` is shown."""
        ...


@runtime_checkable
class Thinker(Protocol):
    """What an expert offers besides, so that agents can learn to think before they act."""

    def think(self, turns: Sequence[Turn], observation: Observation) -> str:
        """Why ``act`` takes its action: the thought that precedes it, for the same arguments.

        It is one short line without ``<`` and ``>``, and follows from what the agent has seen, never from the list of
        admissible actions. What it says is true, and the objects, places and options of the action are in it.
        """
        ...


@runtime_checkable
class Teachable(Protocol):
    """What a task offers besides, so that agents can be trained on it."""

    def expert(self) -> Expert:
        """A player of this task."""
        ...

    def completion_text(self, action: str) -> str:
        """What a model should write to take ``action``, without a thought; ``parse_action`` gives ``action`` back."""
        ...


def thought_of(task: object, text: str) -> str:
    """The thought in a reply; empty where there is none, or the task has no scaffold."""
    scaffold = scaffold_of(task)
    return "" if scaffold is None else scaffold.read(text).thought


def taught_reply(task: Teachable, thought: str, action: str) -> str:
    """What a model should write to think ``thought``, where the scaffold has thoughts, and to take ``action``."""
    scaffold = scaffold_of(task)
    return task.completion_text(action) if scaffold is None else scaffold.reply_text(thought, action)


def expert_thought(task: object, expert: Expert, turns: Sequence[Turn], observation: Observation) -> str:
    """What the expert thinks; empty where the task's scaffold has no thoughts, or the expert tells none."""
    scaffold = scaffold_of(task)
    if scaffold is None or not scaffold.thinks or not isinstance(expert, Thinker):
        return ""
    return expert.think(turns, observation)


@runtime_checkable
class DataSource(Protocol):
    """A task class whose data can be fetched or written by ``mixroute data``."""

    @classmethod
    def prepare_data(cls, folder: Path) -> Path:
        """Put the data into ``folder``; returns what to give as the task's ``data``."""
        ...


@runtime_checkable
class DrawsFreshGames(Protocol):
    """A task class that draws new games from a seed, for ``mixroute challenge``.

    It takes a ``split`` for which ``is_fresh_split`` holds as well as its own. The games of such a split are drawn as
    those of the fixed split ``like``, are as many, belong to no other split, and follow from the split's name.
    """

    fresh_games_like: ClassVar[str]
