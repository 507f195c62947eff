"""The step as a router sees it, and the desk behind it, which makes the calls and notes every one of them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.contracts import Backend
from harness.data import Completion, Observation, Prompt, Request, Turn
from harness.errors import EpisodeError
from harness.seeding import seed_for
from harness.supervision import RouterStopped, Supervised


@dataclass(slots=True)
class CallDesk:
    """Makes the calls of one step. The engine reads ``calls`` from here, whatever the router says of them."""

    pool: Mapping[str, Backend]
    request: Request
    """The step's request with its defaults; ``ask`` varies it."""
    supervised: Supervised | None = None
    _begun: list[asyncio.Task[Completion]] = field(default_factory=list)

    async def ask(self, model: str, changes: Mapping[str, object]) -> Completion:
        """Call ``model``; see ``harness.contracts.Step.ask``."""
        if model not in self.pool:
            raise RouterStopped(f"the router asks for model '{model}': the pool has {', '.join(self.pool)}")
        fields = {name: getattr(self.request, name) for name in Request.__slots__}
        fields |= {name: value for name, value in changes.items() if value is not None}
        fields["seed"] = seed_for(self.request.seed, len(self._begun))
        # A task of its own: its time is the model's, not the router's, and it is charged even if nobody waits for it.
        call = asyncio.ensure_future(self.pool[model].generate(Request(**fields)))
        self._begun.append(call)
        supervised = self.supervised
        if supervised is not None:
            supervised.waits_for_model += 1
            call.add_done_callback(lambda _: supervised.model_answered())
        return await asyncio.shield(call)

    async def calls(self) -> list[Completion]:
        """All calls of the step in the order in which they were begun, once the last has ended."""
        return [await call for call in self._begun]

    def finished(self) -> list[Completion]:
        """The calls that have ended well so far."""
        return [call.result() for call in self._begun if call.done() and not (call.cancelled() or call.exception())]

    def abandon(self) -> None:
        """Cancel what still runs."""
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
    rng: random.Random
    _desk: CallDesk = field(repr=False)

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
        return await self._desk.ask(model, changes)


def check_answer(answer: object, calls: list[Completion]) -> Completion:
    """The router's answer, if it is made of completions that this step's models gave.

    Raises:
        EpisodeError: it is not.
    """
    if not isinstance(answer, Completion):
        raise EpisodeError(f"the router returned {type(answer).__name__}, not a Completion of step.ask")
    parts = answer.parts or (answer,)
    if any(part not in calls for part in parts) or "".join(part.text for part in parts) != answer.text:
        raise EpisodeError("the router returned text that no model of this step wrote")
    return answer
