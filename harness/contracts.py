"""The protocols at the plug-in boundary; the data that passes through them is in ``harness.data``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, cast, get_args, runtime_checkable

from harness.data import Completion, Instance, MemoryEstimate, ModelCard, Observation, Prompt, Request, RouterRole, Turn
from harness.errors import MixrouteError

if TYPE_CHECKING:
    import random

    from harness.records import Episode

Granularity = Literal["query", "step", "token"]


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
    shown. Class attributes say how the engine may run its environments.
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
        """The prompt for the step after ``turns``. Append-only: it extends the prompt of the step before."""
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


class Expert(Protocol):
    """A player to learn from. It acts on what an agent has seen, so it can take over any episode at any step."""

    def act(self, turns: Sequence[Turn], observation: Observation) -> str:
        """The action to take after ``turns``, now that ``observation`` is shown."""
        ...


@runtime_checkable
class Teachable(Protocol):
    """What a task offers besides, so that agents can be trained on it."""

    def expert(self) -> Expert:
        """A player of this task."""
        ...

    def completion_text(self, action: str) -> str:
        """What a model should write to take ``action``; ``parse_action`` gives ``action`` back."""
        ...


class Backend(Protocol):
    """Runs one model of a pool. Constructed as ``Backend(name, spec, deterministic=…)``; see ``harness.pool``.

    Its class may derive from ``BackendTraits`` to state more; one that can reuse completions is a
    ``SupportsCompletionCache``.
    """

    async def generate(self, request: Request) -> Completion:
        """Answer one request; many may be in flight, and the backend batches them."""
        ...

    def release(self, session: str) -> None:
        """The session's episode is over: free its key-value cache."""
        ...

    def card(self) -> ModelCard:
        """Facts about the loaded model."""
        ...

    def close(self) -> None:
        """Stop threads and free the weights."""
        ...


class BackendTraits:
    """Optional part of a backend: what its class states before a model is loaded, with the defaults of a class that
    does not derive from this one. It is asked on machines where the backend is not installed, so a module that defines
    it imports the packages in ``required_packages`` only inside functions.
    """

    required_packages: ClassVar[tuple[str, ...]] = ()
    """Top-level packages that the backend imports and that may not be installed."""
    install_hint: ClassVar[str] = ""
    """How to install them: a command, or a page that says it."""
    supports_random_weights: ClassVar[bool] = False
    """Whether it runs a model with ``weights: random``, whose weights are initialised at random for its ``shape``."""

    @classmethod
    def estimate_memory(cls, shape: str | None, options: Mapping[str, Any]) -> MemoryEstimate | None:
        """Memory that a model will take on this machine; by default none.

        Args:
            shape: File with the model's configuration, if its pool names one.
            options: The model's options in the pool file, unchecked.

        Returns:
            The estimate; None if it takes a ``shape`` and there is none.

        Raises:
            MixrouteError: the shape cannot be read, or an option is wrong.
        """
        return MemoryEstimate()


class CompletionStore(Protocol):
    """A store of greedy completions, which are reused instead of computed once more."""

    async def get_or_compute(self, key: bytes, compute: Callable[[], Awaitable[Completion]]) -> Completion:
        """The completion stored under ``key``, marked as reused, or a new one from ``compute``, which is stored."""
        ...


@runtime_checkable
class SupportsCompletionCache(Protocol):
    """A backend that can reuse greedy completions instead of computing them once more."""

    def use_cache(self, store: CompletionStore) -> None:
        """Look up completions in ``store`` before computing, and store those that are computed. Keys are made by
        ``harness.backends.completion_cache.completion_key``.
        """
        ...


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
        """Call ``model`` with the step's prompt (continuing ``continue_from`` if given); defaults are the task's."""
        ...

    async def read(self, model: str) -> Completion:
        """Let ``model`` read the prompt and write nothing: the completion holds its hidden state (``state``).

        Asking the same model next goes on from there, so that the two together cost what asking alone does.
        """
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
        raise MixrouteError(f"router {type(router).__name__} has role = {role!r}: set one of {known}, or leave it out")
    return cast("RouterRole", role)
