"""What a router sees, and what it offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, cast, get_args, runtime_checkable

from harness.data import Completion, Observation, Prompt, RouterRole, Turn
from harness.errors import MixrouteError
from harness.text import quoted

if TYPE_CHECKING:
    import random

    from harness.records import Episode

Granularity = Literal["query", "step", "token"]


class Step(Protocol):
    """What a router sees at one step, and its only way to a model. Nothing here is unknown to the agent."""

    @property
    def index(self) -> int:
        """Number of the step, from 0."""
        ...

    @property
    def prompt(self) -> Prompt:
        """What a model will read."""
        ...

    @property
    def observation(self) -> Observation:
        """What the environment shows now."""
        ...

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The steps before."""
        ...

    @property
    def models_used(self) -> tuple[str, ...]:
        """Per earlier step, the model whose completion became the action."""
        ...

    @property
    def answers(self) -> tuple[Completion, ...]:
        """The answers of the steps before, as a trace holds them: with statistics of their tokens, without token ids,
        hidden states and timing.
        """
        ...

    def switch_tokens(self, model: str) -> int:
        """Tokens of the episode so far that ``model`` would have to read to go on, and the best informed model not.

        Counted from the calls so far: prompts and what was written after them. Models that share a key-value cache
        count as one; turns that they read anew (``reread``) are left out. Where prompts are not append-only, as in
        scaffolds that show the last turns, it is an estimate.
        """
        ...

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the pool's models."""
        ...

    @property
    def stop(self) -> tuple[str, ...]:
        """The task's stop strings: the default of ``ask``."""
        ...

    @property
    def max_tokens(self) -> int:
        """Most tokens of an answer in this task: the default of ``ask``."""
        ...

    @property
    def rng(self) -> random.Random:
        """Seeded from the run's root seed, the instance and the step index."""
        ...

    async def ask(
        self,
        model: str,
        *,
        continue_from: str = "",
        stop: tuple[str, ...] | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
    ) -> Completion:
        """Call ``model`` with the step's prompt (continuing ``continue_from`` if given); defaults are the task's.

        Where the scaffold has thoughts, and none of the first three arguments is given, the answer may be joined of two
        calls: a thought that reaches its limit is cut, and the action asked for (docs/scaffolds.md).

        Each call is charged, also one that nobody waits for. Tasks that the router left running when it answered may
        begin no more: their question is cancelled.
        """
        ...

    async def think(self, model: str, *, temperature: float | None = None) -> Completion:
        """Let ``model`` write a thought and no action, where the scaffold has thoughts; ``act_on`` goes on from it."""
        ...

    async def act_on(self, thought: Completion, model: str, *, temperature: float | None = None) -> Completion:
        """The reply of ``thought`` and the action that ``model`` writes after it, once it has read both."""
        ...

    async def complete(self, begun: Completion, model: str, *, temperature: float | None = None) -> Completion:
        """The reply that begins with ``begun`` and whose rest ``model`` writes, within the limits of a reply.

        ``begun`` is what models of this step wrote: an answer of ``ask``, or a part of it (``mixroute.beginning``).
        What it has of a thought and an action counts towards their limits.
        """
        ...

    async def read(self, model: str, reply: str = "") -> Completion:
        """Let ``model`` read the prompt and write nothing: the completion holds its hidden state (``state``).

        Asking the same model next goes on from there, so that the two together cost what asking alone does.

        With a ``reply`` it reads that behind the prompt, in one pass, and the completion says of each token how likely
        the model finds it there (``read``), and where it ends in the reply (``read_ends``); where there are thoughts,
        which of these tokens are of the thought and which of the action. A trace holds all this but the state.
        """
        ...

    def parse_action(self, text: str) -> str:
        """The action that the task reads in a reply; empty where it reads none."""
        ...

    def log(self, **scores: float) -> None:
        """Note what the decision rests on, such as a probability: it goes into the trace and changes nothing."""
        ...


@runtime_checkable
class Router(Protocol):
    """Decides which model produces the action, or which part of it. One object serves all episodes of a run, so it
    keeps no state of an episode: everything it may use is in the step. Its class may have an attribute ``role``; see
    ``role_of``.
    """

    @property
    def granularity(self) -> Granularity:
        """At what grain it decides."""
        ...

    async def act(self, step: Step) -> Completion:
        """The completion whose text holds the action. It must be one that ``step.ask`` returned, or built of such."""
        ...


class StepRouter(ABC):
    """A router that names one model per step: write ``choose`` and nothing else."""

    granularity: ClassVar[Granularity] = "step"

    @abstractmethod
    def choose(self, step: Step) -> str:
        """Name of the model that answers this step."""

    async def act(self, step: Step) -> Completion:
        """Ask the chosen model."""
        return await step.ask(self.choose(step))


@runtime_checkable
class Trained(Protocol):
    """A router that was trained on instances, which may then not be reported on."""

    def trained_on(self) -> Collection[str]:
        """The instances, as ``harness.traces.contamination.instance_key`` names them."""
        ...


@runtime_checkable
class TrainedWithPool(Protocol):
    """A router that was trained to route between the models of one pool. With another pool, ``run`` logs a warning and
    the router's row on the board has a note.
    """

    def trained_with(self) -> tuple[str, Mapping[str, str]]:
        """The pool, as its recipe names it, and the fingerprint of each of its models."""
        ...


@runtime_checkable
class BuiltFromFiles(Protocol):
    """A router that was built from files. Their content, and not their name, is part of the identity of its runs.

    Arguments that are paths are taken by their content in any case; this is for names that the router itself resolves,
    such as those of shipped checkpoints.
    """

    def content_files(self) -> Mapping[str, Path]:
        """Files or folders by the constructor argument that names them."""
        ...


@runtime_checkable
class Calibrated(Protocol):
    """A router with arguments to be chosen on development episodes before it is run."""

    probe: str
    """The router whose development episodes ``fit`` reads, such as ``always-low``."""

    def fit(self, episodes: Iterable[Episode]) -> Mapping[str, Any]:
        """Constructor arguments chosen on ``episodes``; empty if none is open."""
        ...


def role_of(router: Router) -> RouterRole:
    """The attribute ``role`` of a router; without one ``trained`` for a ``Trained`` router, ``baseline`` for any other.

    Raises:
        MixrouteError: the attribute is no ``RouterRole``.
    """
    role = getattr(router, "role", "trained" if isinstance(router, Trained) else "baseline")
    if role not in get_args(RouterRole):
        known = ", ".join(get_args(RouterRole))
        raise MixrouteError(
            f"router {type(router).__name__} has role = {quoted(role)}: set one of {known}, or leave it out"
        )
    return cast("RouterRole", role)
