"""The calls of a step to models, every one of which is kept for the trace."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from harness.contracts import Backend
from harness.data import Completion, Message, Observation, Request, Timing, Token
from harness.engine.supervision import Driven, Supervised, unmeasured
from harness.engine.watchdog import Occupant, RouterStopped, Watchdog
from harness.errors import EpisodeError, MixrouteError, RunStopped
from harness.scaffolds import Scaffold, in_tokens
from harness.seeding import seed_for
from harness.traces.recording import check_read, record_call, record_step_timing, same_as_read

D = TypeVar("D", Token, Timing, Message, Observation)


@dataclass(slots=True)
class StepCalls:
    """Makes the calls of one step. The engine takes the calls from here, whatever the router says of them."""

    pool: Mapping[str, Backend]
    request: Request
    """The step's request with its defaults; ``ask`` varies it."""
    watchdog: Watchdog
    scaffold: Scaffold | None = None
    supervised: Supervised | None = None
    violation: RunStopped | None = None
    """What stops the run, kept here in case the router swallows the exception."""
    answered: bool = False
    """Whether the router has returned: what it left running may ask for no more."""
    closed: bool = False
    _begun: list[asyncio.Task[Completion]] = field(default_factory=list)

    async def ask(self, model: str, changes: Mapping[str, Any]) -> Completion:
        """Call ``model``; see ``harness.contracts.Step.ask``. The router gets a copy that it may do anything to."""
        if model not in self.pool:
            self.violation = RouterStopped(f"the router asks for model '{model}': the pool has {', '.join(self.pool)}")
        if self.closed:
            self.violation = RouterStopped("the router asks for a model in a step that is over")
        if self.violation:
            raise self.violation
        if self.answered:  # by a task that the router left running, which nobody awaits: it ends in silence
            raise asyncio.CancelledError("the router asks for a model after its answer")
        fields = {name: getattr(self.request, name) for name in Request.__slots__}
        fields |= {name: value for name, value in changes.items() if value is not None}
        fields["seed"] = seed_for(self.request.seed, len(self._begun))
        if fields["temperature"] < 0 or fields["max_tokens"] < 0:
            raise EpisodeError(f"the router asks with {dict(changes)}: temperature and max_tokens are 0 or more")
        # A task of its own: its time is the model's, not the router's, and it is charged even if nobody waits for it.
        call = unmeasured(self._generate(model, Request(**fields)))
        self._begun.append(call)
        self.watchdog.asked(model)
        call.add_done_callback(lambda _: self.watchdog.answered(model))
        supervised = self.supervised
        if supervised is not None:
            supervised.asks()
            call.add_done_callback(lambda _: supervised.is_answered())
        return copied(await asyncio.shield(call))

    async def _generate(self, model: str, request: Request) -> Completion:
        occupant = Occupant(
            self.watchdog, f"model '{model}'", "environment_timeout", self.watchdog.environment_limit, RunStopped
        )

        async def generate() -> Completion:
            return await self.pool[model].generate(request)

        try:
            completion = checked_completion(model, await Driven(occupant, generate()))
            check_reading(completion, request)
            return with_parts(completion, request, self.scaffold)
        except RunStopped as error:
            self.violation = error
            raise
        except asyncio.CancelledError:
            if self.closed or self.watchdog.closed:
                raise
            raise EpisodeError(f"model '{model}' cancelled its answer (CancelledError)") from None

    async def finished(self) -> list[Completion]:
        """All calls that were answered, in the order in which they were begun, once the last has ended. The router may
        begin no more: whether one came in time would depend on the clock.
        """
        self.answered = True
        if self._begun:
            await asyncio.wait(self._begun)
        return [call.result() for call in self._begun if not call.cancelled() and call.exception() is None]

    def close(self) -> None:
        """Refuse further calls and cancel those that still run."""
        self.closed = True
        for call in self._begun:
            call.cancel()


def checked_completion(model: str, completion: Completion) -> Completion:
    """A model's completion itself.

    Raises:
        EpisodeError: it cannot be recorded: a log-probability that is infinite, text that is not Unicode, and the like.
    """
    if not isinstance(completion, Completion):
        raise EpisodeError(f"model '{model}' gave {type(completion).__name__}, not a Completion")
    try:
        record = same_as_read(record_call(completion, switch=False))
        same_as_read(record_step_timing(0.0, 0.0, [completion]))
        check_read(record)
    except (EpisodeError, MixrouteError, AttributeError, TypeError, ValueError) as error:
        raise EpisodeError(f"model '{model}' gave a wrong answer: {error}") from error
    if record.content_tokens > record.decoded_tokens:
        raise EpisodeError(f"model '{model}' gave {record.decoded_tokens} tokens, and says that more make the text")
    return completion


def check_reading(completion: Completion, request: Request) -> None:
    """Check what a model says of a reply that it was given to read.

    Raises:
        EpisodeError: it was given none, or its tokens do not end within it.
    """
    ends = (0, *completion.read_ends, len(request.continue_from))
    asked = request.max_tokens == 0 and not completion.tokens
    if (completion.read and not asked) or list(ends) != sorted(ends):
        raise EpisodeError(
            f"model '{completion.model}' gave a wrong answer: it speaks of {len(completion.read)} tokens of a reply, "
            "which are not those of the one that it was given"
        )


def with_parts(completion: Completion, request: Request, scaffold: Scaffold | None) -> Completion:
    """A completion that says which of its tokens are of the thought and which of the action, where there are thoughts.

    Args:
        completion: What the model answered.
        request: What it was asked.
        scaffold: Says how replies are read, if anything does.
    """
    forced = request.forced
    ends, begun, count = completion.token_ends, len(request.continue_from), completion.content_tokens
    if completion.read:  # the reply is what it was given
        ends, begun, count = completion.read_ends, 0, len(completion.read)
    if scaffold is None or not scaffold.thinks or len(ends) != count:
        return replace(completion, forced=forced) if forced else completion
    read = scaffold.read(request.continue_from + completion.text)
    return replace(
        completion,
        forced=forced,
        thought_tokens=in_tokens(read.thought_span, ends, begun),
        action_tokens=in_tokens(read.action_span, ends, begun),
    )


def copied(completion: Completion) -> Completion:
    """A copy that shares nothing that can be changed, by ``object.__setattr__``, with ``completion``."""
    tokens = tuple(map(frozen_copy, completion.tokens))
    parts = tuple(map(copied, completion.parts))
    read = tuple(map(frozen_copy, completion.read))
    return replace(completion, tokens=tokens, read=read, timing=frozen_copy(completion.timing), parts=parts)


def frozen_copy(frozen: D) -> D:
    """A copy of a frozen object with slots."""
    copy: D = object.__new__(type(frozen))
    for name in type(frozen).__slots__:
        object.__setattr__(copy, name, getattr(frozen, name))
    return copy
