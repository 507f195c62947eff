"""The frozen data that passes between plug-ins and the engine.

An *episode* is one play of a task *instance*. At each *step* the environment shows an observation, the router obtains a
completion from the models of the pool, and the task parses the action from its text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from harness.numbers import round_significant
from harness.token_statistics import TokenStatistics

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
    """Input of a model, as turns.

    ``format`` says how turns become text: ``chat`` through the model's own chat template, ``plain`` by joining the
    contents.
    """

    messages: tuple[Message, ...]
    format: Literal["chat", "plain"] = "chat"
    template_arguments: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Keyword arguments of the chat template, such as ``enable_thinking``."""
    append_only: bool = True
    """Whether the prompt of a step begins with the whole prompt of the step before, so that caches end where turns do.
    The caches of other prompts end after every 16 tokens.
    """


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
    """Output of the environment to the agent. ``admissible`` is sorted; it is empty where the task has no such list."""

    text: str
    admissible: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Turn:
    """A finished step as the agent saw it: observation, the completion's text, action and thought parsed from it."""

    observation: Observation
    text: str
    action: str
    thought: str = ""
    """Empty where the agent does not think before it acts."""


@dataclass(frozen=True, slots=True)
class Token:
    """One generated token. Statistics are of the model's own distribution at temperature 1, in nats.

    ``margin`` is the probability of the most likely token minus that of the second. Statistics are rounded to 5
    significant digits, so that routers, traces and verification see the same numbers, whatever backend gave them.
    """

    id: int
    logprob: float
    entropy: float
    margin: float

    def __post_init__(self) -> None:
        """Round the statistics."""
        for name in ("logprob", "entropy", "margin"):
            object.__setattr__(self, name, round_significant(getattr(self, name)))


TokenSpan = tuple[int, int]
"""Number of the first token of a part, and of the one after its last; equal for an empty part."""

UNTOLD = Token(-1, 0.0, 0.0, 1.0)
"""A token that was decoded and of which nothing is known."""


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
    """A model's answer. ``tokens`` holds all that was decoded; the first ``content_tokens`` of them make ``text`` (the
    rest is the stop string or end-of-turn token, which is charged but is no part of the text).
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
    """For a call that only read (``max_tokens`` 0): the model's last hidden state at the end of what it read."""
    read: tuple[Token, ...] = ()
    """For a call that read a reply which was given to it: the reply's tokens, as this model splits it, each with the
    statistics of the model's own distribution where it stands. They are no part of ``tokens``: nothing was decoded."""
    read_ends: tuple[int, ...] = ()
    """Where each token of ``read`` ends in the reply, in characters; a token that ends within a character ends before
    it."""
    reused: bool = field(default=False, compare=False)
    """Whether it comes from the completion cache. ``timing`` is then that of the first computation."""
    parts: tuple[Completion, ...] = ()
    """The completions that this one was joined from; see ``harness.joining``."""
    delimiter: str = ""
    """Text after it in a part is no part of the answer; see ``harness.joining``."""
    usage_known: bool = True
    """Whether the numbers of tokens are known. An endpoint that does not tell them leaves the cost unknown."""
    statistics_known: bool = True
    """Whether it is known which of ``tokens`` make ``text``; else their statistics are those of no particular text."""
    token_ends: tuple[int, ...] = field(default=(), compare=False)
    """Where each token of ``content`` ends in ``text``, in characters; empty where a backend does not tell."""
    forced: str = ""
    """Text of the scaffold that stands before ``text`` in the reply, and that no model wrote."""
    thought_tokens: TokenSpan | None = None
    """Start and end of the thought among ``tokens``, or among ``read`` for a call that read a reply; None where there
    are no thoughts, or it is not known."""
    action_tokens: TokenSpan | None = None
    """Start and end of the action, likewise."""
    kept: int | None = None
    """For the beginning of a call's completion: how many of its tokens it has; see ``harness.joining.beginning``."""

    @property
    def content(self) -> tuple[Token, ...]:
        """The tokens that make ``text``."""
        return self.tokens[: self.content_tokens]

    @property
    def statistics(self) -> TokenStatistics:
        """Statistics of all decoded tokens; ``.content`` and ``.content_and_end`` narrow them to the text.

        Raises:
            ValueError: they are not known.
        """
        if not self.statistics_known:
            raise ValueError(f"statistics of the tokens of model '{self.model}' are not known (docs/backends.md)")
        return TokenStatistics(
            logprobs=tuple(token.logprob for token in self.tokens),
            entropies=tuple(token.entropy for token in self.tokens),
            margins=tuple(token.margin for token in self.tokens),
            content_tokens=self.content_tokens,
        )


@dataclass(frozen=True, slots=True)
class GivenAnswer:
    """An answer whose token ids are not known, as traces hold it; the fields are those of ``Completion``."""

    text: str
    content_tokens: int
    decoded_tokens: int
    finish: FinishReason


@dataclass(frozen=True, slots=True)
class ScoredToken:
    """What a model says of a token that it was given, or of one that it would have chosen as an answer's end."""

    token: Token
    shortfall: float
    """Nats by which the token is less likely than the likeliest one, which has 0."""


@dataclass(frozen=True, slots=True)
class Request:
    """One call to one model. ``session`` names the key-value cache to reuse; ``seed`` is used when temperature > 0.

    With ``max_tokens`` 0 the model only reads; its completion holds no token, but the hidden state, and where there is
    text in ``continue_from``, how likely each of its tokens is (``Completion.read``).
    """

    session: str
    prompt: Prompt
    continue_from: str = ""
    stop: tuple[str, ...] = ()
    max_tokens: int = 64
    temperature: float = 0.0
    seed: int = 0
    truncate: bool = False
    """Whether a prompt that is too long loses its beginning, instead of being refused."""
    forced: str = ""
    """The end of ``continue_from`` that no model wrote: it becomes part of the reply; see ``Completion.forced``."""


@dataclass(frozen=True, slots=True)
class ModelCard:
    """Facts of a loaded model that costs are computed from.

    ``weight_bytes`` are the bytes of the weights as stored (packed weights, scales and unquantized parts; tied tensors
    once); ``parameters`` the logical count; ``fingerprint`` a hash of the weights and the way they are run.
    """

    model: str
    parameters: int
    weight_bytes: int
    bits: float
    fingerprint: str
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """Memory that a model will take, in GiB, estimated before it is loaded. The defaults are those of a model that
    runs on another machine.
    """

    weights: float = 0.0
    cache: float = 0.0
    """Keys and values: the memory that the pool file reserves for them, else that of one prompt of the longest
    length."""
    workspace: float = 0.0
    """Activations, captured graphs and the like."""
    memory_share: float = 1.0
    """Share of one GPU's memory that the model may take; 1 where models share a GPU freely."""
    gpus: int = 1

    @property
    def total(self) -> float:
        """Weights, cache and workspace."""
        return self.weights + self.cache + self.workspace

    @property
    def smallest_gpu(self) -> float:
        """GiB that each GPU must have."""
        return self.total / self.memory_share / self.gpus
