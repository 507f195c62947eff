"""The protocols at the plug-in boundary, and the frozen data that passes between them.

An *episode* is one play of a task *instance*. At each *step* the environment shows an observation, the router obtains a
completion from the models of the pool, and the task parses the action from its text.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    import random

    from harness.trace import Episode

Role = Literal["system", "user", "assistant"]
FinishReason = Literal["stop", "length"]
Granularity = Literal["query", "step", "token"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a prompt."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model reads, as append-only turns: the prompt of a step begins with the whole prompt of the step before.

    ``format`` says how turns become text: ``chat`` through the model's own chat template, ``plain`` by joining the
    contents.
    """

    messages: tuple[Message, ...]
    format: Literal["chat", "plain"] = "chat"


@dataclass(frozen=True, slots=True)
class Instance:
    """One problem of a task: a game, a goal, a question. ``id`` is unique within the task and sorts deterministically.

    ``kind`` is the task type used for breakdowns (``pick_and_place_simple``), ``data`` is the task's own and is never
    shown to a router.
    """

    id: str
    kind: str = ""
    data: Any = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Observation:
    """What the agent sees. ``admissible`` is sorted; it is empty where the task has no such list."""

    text: str
    admissible: tuple[str, ...] = ()


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


@dataclass(frozen=True, slots=True)
class Turn:
    """A finished step as the agent saw it: observation, the completion's text, the action parsed from it."""

    observation: Observation
    text: str
    action: str


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


@dataclass(frozen=True, slots=True)
class Token:
    """One generated token. Statistics are of the model's own distribution at temperature 1, in nats.

    ``margin`` is the probability of the most likely token minus that of the second.
    """

    id: int
    logprob: float
    entropy: float
    margin: float


@dataclass(frozen=True, slots=True)
class Timing:
    """Measured seconds of one call. ``queue`` and ``latency`` are wall time; ``prefill`` and ``decode`` are this call's
    share of the device time of the batches it ran in, so that the shares of all calls add up to the busy time.
    """

    queue: float = 0.0
    prefill: float = 0.0
    decode: float = 0.0
    latency: float = 0.0


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model answered. ``tokens`` holds all that was decoded; the first ``content_tokens`` of them make ``text``
    (the rest is the stop string or end-of-turn token, which costs but says nothing).
    """

    model: str
    text: str
    tokens: tuple[Token, ...]
    content_tokens: int
    finish: FinishReason
    prompt_tokens: int
    cached_tokens: int
    timing: Timing = field(default=Timing(), compare=False)
    parts: tuple[Completion, ...] = ()
    """The completions that this one was joined from; see ``join``."""

    @property
    def content(self) -> tuple[Token, ...]:
        """The tokens that make ``text``."""
        return self.tokens[: self.content_tokens]


def join(parts: Sequence[Completion]) -> Completion:
    """One completion whose text is that of ``parts`` in order, for routers that route inside a step."""
    models = {part.model for part in parts}
    return Completion(
        model=models.pop() if len(models) == 1 else "mixed",
        text="".join(part.text for part in parts),
        tokens=tuple(token for part in parts for token in part.content),
        content_tokens=sum(part.content_tokens for part in parts),
        finish=parts[-1].finish,
        prompt_tokens=parts[0].prompt_tokens,
        cached_tokens=parts[0].cached_tokens,
        parts=tuple(parts),
    )


@dataclass(frozen=True, slots=True)
class Request:
    """One call to one model. ``session`` names the key-value cache to reuse; ``seed`` is used when temperature > 0."""

    session: str
    prompt: Prompt
    continue_from: str = ""
    stop: tuple[str, ...] = ()
    max_tokens: int = 64
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What the ledger needs to know of a loaded model.

    ``weight_bytes`` are the bytes of the weights as stored (packed weights, scales and unquantized parts; tied tensors
    once); ``parameters`` the logical count; ``fingerprint`` a hash of the weights and the way they are run.
    """

    model: str
    parameters: int
    weight_bytes: int
    bits: float
    fingerprint: str
    details: Mapping[str, Any] = field(default_factory=dict)


class Backend(Protocol):
    """Runs one model of a pool. Constructed as ``Backend(name, spec, deterministic=…)``; see ``harness.pool``."""

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


@runtime_checkable
class Router(Protocol):
    """Decides which model produces the action, or which part of it. One object serves all episodes of a run, so it
    keeps no state of an episode: everything it may use is in the step.
    """

    granularity: Granularity

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
class Calibrated(Protocol):
    """A router with arguments to be chosen on development episodes before it is run."""

    probe: str
    """The router whose development episodes ``fit`` reads, such as ``always-low``."""

    def fit(self, episodes: Iterable[Episode]) -> Mapping[str, Any]:
        """Constructor arguments chosen on ``episodes``; empty if none is open."""
        ...
