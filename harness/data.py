"""The frozen data that passes between plug-ins and the engine.

An *episode* is one play of a task *instance*. At each *step* the environment shows an observation, the router obtains a
completion from the models of the pool, and the task parses the action from its text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["system", "user", "assistant"]


FinishReason = Literal["stop", "length"]

HIGH = "high"
"""The pool's name for its high-precision model; the high share counts its steps."""

RouterRole = Literal["baseline", "random", "oracle", "trained"]
"""What a router is to the others on the board, which decides what they are compared with (docs/board.md):

- ``baseline``: decides by a rule that needs no training; thresholds may be chosen on development episodes.
- ``random``: draws, at a share that the user sets.
- ``oracle``: an analysis that asks more models than it could save, to show what is within reach.
- ``trained``: rests on weights that were trained for routing.
"""


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


@dataclass(frozen=True, slots=True)
class Turn:
    """A finished step as the agent saw it: observation, the completion's text, the action parsed from it."""

    observation: Observation
    text: str
    action: str


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
    state: tuple[float, ...] = field(default=(), compare=False)
    """For a call that only read its prompt (``max_tokens`` 0): the model's last hidden state at the prompt's end."""
    reused: bool = field(default=False, compare=False)
    """Whether it comes from the completion cache. ``timing`` is then that of the first computation."""
    parts: tuple[Completion, ...] = ()
    """The completions that this one was joined from; see ``join``."""
    until: str = ""
    """The mark up to which the text of each part counts; see ``join``."""

    @property
    def content(self) -> tuple[Token, ...]:
        """The tokens that make ``text``."""
        return self.tokens[: self.content_tokens]


def join(parts: Sequence[Completion], until: str = "") -> Completion:
    """One completion whose text is that of ``parts`` in order, for routers that route inside a step.

    Args:
        parts: Completions of this step, each once.
        until: A mark such as ``<call>``: from there to its end a part is said to the router, and is no part of the
            answer. It takes from a text what the mark as a stop string would, and is recorded in the trace.
    """
    models = {part.model for part in parts}
    return Completion(
        model=models.pop() if len(models) == 1 else "mixed",
        text="".join(before(part.text, until) for part in parts),
        tokens=tuple(token for part in parts for token in part.content),
        content_tokens=sum(part.content_tokens for part in parts),
        finish=parts[-1].finish,
        prompt_tokens=parts[0].prompt_tokens,
        cached_tokens=parts[0].cached_tokens,
        parts=tuple(parts),
        until=until,
    )


def before(text: str, until: str) -> str:
    """``text`` up to the mark ``until``; all of it without one."""
    return text.partition(until)[0] if until else text


@dataclass(frozen=True, slots=True)
class Request:
    """One call to one model. ``session`` names the key-value cache to reuse; ``seed`` is used when temperature > 0.

    With ``max_tokens`` 0 the model only reads the prompt; its completion holds no token, but the hidden state.
    """

    session: str
    prompt: Prompt
    continue_from: str = ""
    stop: tuple[str, ...] = ()
    max_tokens: int = 64
    temperature: float = 0.0
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
