"""The step as a router sees it, and the desk behind it, which makes the calls and notes every one of them."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.contracts import Backend
from harness.data import Completion, Observation, Prompt, Request, Turn, join
from harness.engine.supervision import RouterStopped, Supervised, unmeasured
from harness.errors import EpisodeError
from harness.seeding import seed_for


@dataclass(slots=True)
class CallDesk:
    """Makes the calls of one step. The engine reads ``calls`` from here, whatever the router says of them."""

    pool: Mapping[str, Backend]
    request: Request
    """The step's request with its defaults; ``ask`` varies it."""
    supervised: Supervised | None = None
    violation: RouterStopped | None = None
    """What the router did that stops its run, kept here in case it swallows the exception."""
    closed: bool = False
    _begun: list[asyncio.Task[Completion]] = field(default_factory=list)

    async def ask(self, model: str, changes: Mapping[str, Any]) -> Completion:
        """Call ``model``; see ``harness.contracts.Step.ask``."""
        if model not in self.pool:
            self.violation = RouterStopped(f"the router asks for model '{model}': the pool has {', '.join(self.pool)}")
        if self.closed:
            self.violation = RouterStopped("the router asks for a model in a step that is over")
        if self.violation:
            raise self.violation
        fields = {name: getattr(self.request, name) for name in Request.__slots__}
        fields |= {name: value for name, value in changes.items() if value is not None}
        fields["seed"] = seed_for(self.request.seed, len(self._begun))
        if fields["temperature"] < 0 or fields["max_tokens"] < 0:
            raise EpisodeError(f"the router asks with {dict(changes)}: temperature and max_tokens are 0 or more")
        # A task of its own: its time is the model's, not the router's, and it is charged even if nobody waits for it.
        call = unmeasured(self.pool[model].generate(Request(**fields)))
        self._begun.append(call)
        supervised = self.supervised
        if supervised is not None:
            supervised.waits_for_model += 1
            call.add_done_callback(lambda _: supervised.model_answered())
        return await asyncio.shield(call)

    async def calls(self) -> list[Completion]:
        """All calls that were answered, in the order in which they were begun, once the last has ended."""
        answers = await asyncio.gather(*self._begun, return_exceptions=True)
        return [answer for answer in answers if isinstance(answer, Completion)]

    def close(self) -> None:
        """Take no more calls and cancel what still runs."""
        self.closed = True
        for call in self._begun:
            call.cancel()


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
    scores: dict[str, float] = field(default_factory=dict)
    """What the router has logged."""

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
        changes = {"continue_from": continue_from, "stop": stop, "max_tokens": max_tokens, "temperature": temperature}
        return await self._ask(model, changes)

    async def read(self, model: str) -> Completion:
        """Let a model read the prompt; see ``harness.contracts.Step.read``."""
        return await self._ask(model, {"max_tokens": 0, "temperature": 0.0})

    def log(self, **scores: float) -> None:
        """Note what the decision rests on; see ``harness.contracts.Step.log``. Six digits are kept."""
        for name, value in scores.items():
            if not math.isfinite(value):
                raise EpisodeError(f"the router logs {name} = {value}: log finite numbers")
            self.scores[name] = float(f"{value:.6g}")


def check_answer(answer: object, calls: list[Completion]) -> Completion:
    """The router's answer, if it is made of completions that this step's models gave, each once and in order.

    Of each the text counts up to the mark that the answer names (``until`` of ``harness.data.join``), if it names one.
    What is returned is built from the calls themselves, so that the router cannot name another model.

    Raises:
        EpisodeError: it is not.
    """
    if not isinstance(answer, Completion):
        raise EpisodeError(f"the router returned {type(answer).__name__}, not a Completion of step.ask")
    rest = iter(calls)
    found = [next((call for call in rest if call == part), None) for part in answer.parts or (answer,)]
    parts = [part for part in found if part is not None]
    if len(parts) == len(found):
        made = join(parts, answer.until) if answer.parts else parts[0]
        if made.text == answer.text:
            return made
    raise EpisodeError("the router returned text that no model of this step wrote")


def places(answer: Completion, calls: Sequence[Completion]) -> list[int]:
    """Which of the calls ``answer`` was joined from; none for an answer of a single call."""
    rest = iter(enumerate(calls))
    return [next(number for number, call in rest if call is part) for part in answer.parts]
