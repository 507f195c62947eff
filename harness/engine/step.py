"""The step as a router sees it, and its calls to models, every one of which is kept for the trace."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from harness.contracts import Backend, Task, scaffold_of
from harness.data import Completion, Message, Observation, Prompt, Request, Timing, Token, Turn, join
from harness.engine.environment import checked_text
from harness.engine.supervision import Driven, Supervised, unmeasured
from harness.engine.watchdog import Occupant, RouterStopped, Watchdog
from harness.errors import EpisodeError, RunStopped
from harness.numbers import round_significant
from harness.scaffolds import Scaffold, in_tokens
from harness.seeding import seed_for
from harness.traces.recording import record_call, record_step_timing, same_as_read

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
            return with_parts(checked_completion(model, await Driven(occupant, generate())), request, self.scaffold)
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
    except (EpisodeError, AttributeError, TypeError, ValueError) as error:
        raise EpisodeError(f"model '{model}' gave a wrong answer: {error}") from error
    if record.content_tokens > record.decoded_tokens:
        raise EpisodeError(f"model '{model}' gave {record.decoded_tokens} tokens, and says that more make the text")
    return completion


def with_parts(completion: Completion, request: Request, scaffold: Scaffold | None) -> Completion:
    """A completion that says which of its tokens are of the thought and which of the action, where there are thoughts.

    Args:
        completion: What the model answered.
        request: What it was asked.
        scaffold: Says how replies are read, if anything does.
    """
    forced = request.forced
    ends = completion.token_ends
    if scaffold is None or not scaffold.thinks or len(ends) != completion.content_tokens:
        return replace(completion, forced=forced) if forced else completion
    begun = len(request.continue_from)
    read = scaffold.read(request.continue_from + completion.text)
    return replace(
        completion,
        forced=forced,
        thought_tokens=in_tokens(read.thought_span, ends, begun),
        action_tokens=in_tokens(read.action_span, ends, begun),
    )


def copied(completion: Completion) -> Completion:
    """A copy that shares nothing that can be changed, by ``object.__setattr__``, with ``completion``."""
    tokens = tuple(map(_copied, completion.tokens))
    parts = tuple(map(copied, completion.parts))
    return replace(completion, tokens=tokens, timing=_copied(completion.timing), parts=parts)


def _copied(frozen: D) -> D:
    copy: D = object.__new__(type(frozen))
    for name in type(frozen).__slots__:
        object.__setattr__(copy, name, getattr(frozen, name))
    return copy


def shown_to_router(
    prompt: Prompt, turns: Sequence[Turn], seen: Observation
) -> tuple[Prompt, tuple[Turn, ...], Observation]:
    """Copies of what a router is shown: it cannot change what models read and what is recorded."""
    own = tuple(replace(turn, observation=_copied(turn.observation)) for turn in turns)
    arguments = deepcopy(dict(prompt.template_arguments))
    copy = replace(prompt, messages=tuple(map(_copied, prompt.messages)), template_arguments=arguments)
    return copy, own, _copied(seen)


@dataclass(frozen=True, slots=True)
class LiveStep:
    """Implements ``harness.contracts.Step``."""

    index: int
    prompt: Prompt
    observation: Observation
    turns: tuple[Turn, ...]
    models_used: tuple[str, ...]
    models: tuple[str, ...]
    stop: tuple[str, ...]
    max_tokens: int
    rng: random.Random
    _ask: Callable[[str, Mapping[str, Any]], Awaitable[Completion]] = field(repr=False)
    _scaffold: Scaffold | None = field(default=None, repr=False)
    scores: dict[str, float] = field(default_factory=dict)
    """What the router has logged."""

    @classmethod
    def of_episode(
        cls,
        *,
        task: Task,
        instance: str,
        seed: int,
        turns: tuple[Turn, ...],
        observation: Observation,
        prompt: Prompt,
        models_used: tuple[str, ...],
        models: tuple[str, ...],
        ask: Callable[[str, Mapping[str, Any]], Awaitable[Completion]],
    ) -> LiveStep:
        """The step after ``turns``; play and verification both build it here, so that a router sees the same in both.

        Args:
            task: What is played; gives the defaults of a call.
            instance: Id of the instance.
            seed: The run's root seed.
            turns: The finished steps.
            observation: What the environment shows now.
            prompt: What a model will read.
            models_used: Per finished step, the model whose completion became the action.
            models: Names of the pool's models.
            ask: Makes a call, from the model's name and what differs from the defaults.
        """
        index = len(turns)
        return cls(
            index=index,
            prompt=prompt,
            observation=observation,
            turns=turns,
            models_used=models_used,
            models=models,
            stop=task.stop,
            max_tokens=task.max_tokens,
            rng=random.Random(seed_for(seed, instance, index, "router")),  # noqa: S311 - reproducible on purpose
            _ask=ask,
            _scaffold=scaffold_of(task),
        )

    async def ask(
        self,
        model: str,
        *,
        continue_from: str = "",
        stop: tuple[str, ...] | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
    ) -> Completion:
        """Call a model of the pool; see ``harness.contracts.Step.ask``."""
        scaffold = self._scaffold
        own = continue_from or stop is not None or max_tokens is not None
        if scaffold is None or not scaffold.thinks or own:
            changes = {"continue_from": continue_from, "stop": stop, "max_tokens": max_tokens}
            return await self._ask(model, {**changes, "temperature": temperature})
        limit = scaffold.limits.thought_tokens
        first = await self._ask(model, {"continue_from": "", "max_tokens": limit, "temperature": temperature})
        opening = scaffold.action_opening(first.text) if first.finish == "length" else None
        return first if opening is None else await self._go_on(model, first, opening, temperature)

    async def think(self, model: str, *, temperature: float | None = None) -> Completion:
        """Ask a model for a thought alone; see ``harness.contracts.Step.think``."""
        scaffold = self._thinking("think")
        stop = (*self.stop, *filter(None, (scaffold.thought_end, scaffold.reply.action.open)))
        limit = scaffold.limits.thought_tokens
        return await self._ask(model, {"stop": stop, "max_tokens": limit, "temperature": temperature})

    async def act_on(self, thought: Completion, model: str, *, temperature: float | None = None) -> Completion:
        """Ask a model for the action after a thought; see ``harness.contracts.Step.act_on``."""
        opening = self._thinking("act_on").forced_opening(thought.text)
        return await self._go_on(model, thought, opening, temperature)

    def _thinking(self, method: str) -> Scaffold:
        if self._scaffold is None or not self._scaffold.thinks:
            raise RouterStopped(
                f"the router calls step.{method}, and the scaffold has no thoughts: use one that has, such as think"
            )
        return self._scaffold

    async def _go_on(self, model: str, first: Completion, forced: str, temperature: float | None) -> Completion:
        """A reply whose rest ``model`` writes, behind ``forced``."""
        assert self._scaffold is not None  # noqa: S101 - checked by the callers
        begun = first.text + forced
        limit = self._scaffold.action_tokens
        changes = {"continue_from": begun, "forced": forced, "max_tokens": limit, "temperature": temperature}
        return join([first, await self._ask(model, changes)])

    async def read(self, model: str) -> Completion:
        """Let a model read the prompt; see ``harness.contracts.Step.read``."""
        return await self._ask(model, {"max_tokens": 0, "temperature": 0.0})

    def log(self, **scores: float) -> None:
        """Note what the decision rests on; see ``harness.contracts.Step.log``. Six digits are kept."""
        for name, value in scores.items():
            checked_text(name)
            if not math.isfinite(value):
                raise EpisodeError(f"the router logs {name} = {value}: log finite numbers")
            self.scores[name] = round_significant(value, 6)


def check_answer(answer: object, calls: list[Completion]) -> Completion:
    """The router's answer, rebuilt from the calls themselves, so that the router cannot name another model.

    It must consist of completions that this step's models gave, each once and in order; where it names a delimiter,
    the text of each counts up to there (``harness.data.join``).

    Args:
        answer: What the router returned.
        calls: The step's calls, in the order in which they were begun.

    Raises:
        EpisodeError: it consists of anything else.
    """
    if not isinstance(answer, Completion):
        raise EpisodeError(f"the router returned {type(answer).__name__}, not a Completion of step.ask")
    rest = iter(calls)
    found = [next((call for call in rest if call == part), None) for part in answer.parts or (answer,)]
    parts = [part for part in found if part is not None]
    if len(parts) == len(found):
        rebuilt = join(parts, answer.delimiter) if answer.parts else parts[0]
        if rebuilt.text == answer.text:
            return rebuilt
    raise EpisodeError("the router returned text that no model of this step wrote")
