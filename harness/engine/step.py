"""The step as a router sees it."""

from __future__ import annotations

import math
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

from harness.contracts import Task, scaffold_of
from harness.data import Completion, Observation, Prompt, Turn
from harness.engine.calls import frozen_copy
from harness.engine.environment import checked_text
from harness.engine.watchdog import RouterStopped
from harness.errors import EpisodeError, RunStopped
from harness.joining import is_part, join
from harness.numbers import round_significant
from harness.records import StepRecord
from harness.scaffolds import Scaffold
from harness.seeding import seed_for
from harness.sharing import SharedCache
from harness.traces.recording import recorded_answer


def shown_to_router(
    prompt: Prompt, turns: Sequence[Turn], seen: Observation
) -> tuple[Prompt, tuple[Turn, ...], Observation]:
    """Copies of what a router is shown: it cannot change what models read and what is recorded."""
    own = tuple(replace(turn, observation=frozen_copy(turn.observation)) for turn in turns)
    arguments = deepcopy(dict(prompt.template_arguments))
    copy = replace(prompt, messages=tuple(map(frozen_copy, prompt.messages)), template_arguments=arguments)
    return copy, own, frozen_copy(seen)


@dataclass(frozen=True, slots=True)
class LiveStep:
    """Implements ``harness.contracts.Step``."""

    index: int
    prompt: Prompt
    observation: Observation
    turns: tuple[Turn, ...]
    models: tuple[str, ...]
    stop: tuple[str, ...]
    max_tokens: int
    rng: random.Random
    _ask: Callable[[str, Mapping[str, Any]], Awaitable[Completion]] = field(repr=False)
    _parse_action: Callable[[str], str] = field(repr=False)
    _records: tuple[StepRecord, ...] = field(repr=False)
    _sharing: SharedCache | None = field(default=None, repr=False)
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
        records: Sequence[StepRecord],
        models: tuple[str, ...],
        ask: Callable[[str, Mapping[str, Any]], Awaitable[Completion]],
        sharing: SharedCache | None = None,
    ) -> LiveStep:
        """The step after ``turns``; play and verification both build it here, so that a router sees the same in both.

        Args:
            task: What is played; gives the defaults of a call.
            instance: Id of the instance.
            seed: The run's root seed.
            turns: The finished steps.
            observation: What the environment shows now.
            prompt: What a model will read.
            records: The records of the finished steps.
            models: Names of the pool's models.
            ask: Makes a call, from the model's name and what differs from the defaults.
            sharing: The models that share a cache, if any.
        """
        index = len(turns)
        return cls(
            index=index,
            prompt=prompt,
            observation=observation,
            turns=turns,
            models=models,
            stop=task.stop,
            max_tokens=task.max_tokens,
            rng=random.Random(seed_for(seed, instance, index, "router")),  # noqa: S311 - reproducible on purpose
            _ask=ask,
            _parse_action=task.parse_action,
            _records=tuple(records),
            _sharing=sharing,
            _scaffold=scaffold_of(task),
        )

    @property
    def models_used(self) -> tuple[str, ...]:
        """Per earlier step, the model whose completion became the action."""
        return tuple(record.model for record in self._records)

    @property
    def answers(self) -> tuple[Completion, ...]:
        """The answers of the steps before; see ``harness.contracts.Step.answers``."""
        return tuple(map(recorded_answer, self._records))

    def switch_tokens(self, model: str) -> int:
        """What a model has not read; see ``harness.contracts.Step.switch_tokens``."""
        if model not in self.models:
            raise RouterStopped(f"the router counts for model '{model}': the pool has {', '.join(self.models)}")
        shared = self._sharing.shared if self._sharing is not None else []
        read: dict[str, int] = {}
        for call in (call for record in self._records for call in record.calls):
            reached = call.prompt_tokens + call.content_tokens
            for name in shared if call.model in shared else [call.model]:
                read[name] = reached
        return max(read.values(), default=0) - read.get(model, 0)

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
        return await self._with_action(model, first, scaffold, temperature)

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

    async def complete(self, begun: Completion, model: str, *, temperature: float | None = None) -> Completion:
        """Let a model write the rest of a reply; see ``harness.contracts.Step.complete``."""
        scaffold = self._scaffold
        if scaffold is None or not scaffold.thinks:
            return await self._rest(model, begun, self.max_tokens - begun.content_tokens, temperature)
        limit = scaffold.limits.thought_tokens or 0
        asked = next((place for place, part in enumerate(begun.parts) if part.forced), None)
        left = limit - begun.content_tokens
        # Tokens of the action: those from where it was asked for on, else those beyond the limit of the thought.
        acted = -left if asked is None else sum(part.content_tokens for part in begun.parts[asked:])
        if acted > 0:
            return await self._rest(model, begun, scaffold.action_tokens - acted, temperature)
        return await self._with_action(model, await self._rest(model, begun, left, temperature), scaffold, temperature)

    async def _rest(self, model: str, begun: Completion, most: int, temperature: float | None) -> Completion:
        """``begun`` with up to ``most`` more tokens."""
        if most <= 0:
            return begun
        changes = {"continue_from": begun.text, "max_tokens": most, "temperature": temperature}
        return join([begun, await self._ask(model, changes)])

    async def _with_action(
        self, model: str, first: Completion, scaffold: Scaffold, temperature: float | None
    ) -> Completion:
        """A reply, whose action is asked for where its thought has reached the limit."""
        opening = scaffold.action_opening(first.text) if first.finish == "length" else None
        return first if opening is None else await self._go_on(model, first, opening, temperature)

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

    async def read(self, model: str, reply: str = "") -> Completion:
        """Let a model read the prompt, and perhaps a reply; see ``harness.contracts.Step.read``."""
        changes = {"max_tokens": 0, "temperature": 0.0}
        if not reply:
            return await self._ask(model, changes)
        found = await self._ask(model, {**changes, "continue_from": reply})
        if not found.read:
            raise RunStopped(
                f"the backend of model '{model}' does not say how likely a given reply is: use a router that reads "
                "none, or backend transformers (docs/backends.md)"
            )
        return found

    def parse_action(self, text: str) -> str:
        """The action in a reply; see ``harness.contracts.Step.parse_action``."""
        return self._parse_action(text)

    def log(self, **scores: float) -> None:
        """Note what the decision rests on; see ``harness.contracts.Step.log``. Six digits are kept."""
        for name, value in scores.items():
            checked_text(name)
            if not math.isfinite(value):
                raise EpisodeError(f"the router logs {name} = {value}: log finite numbers")
            self.scores[name] = round_significant(value, 6)


def check_answer(answer: object, calls: list[Completion]) -> Completion:
    """The router's answer, rebuilt from the calls themselves, so that the router cannot name another model.

    It must consist of completions that this step's models gave, each once and in order, or of beginnings of them; where
    it names a delimiter, the text of each counts up to there (``harness.joining``).

    Args:
        answer: What the router returned.
        calls: The step's calls, in the order in which they were begun.

    Raises:
        EpisodeError: it consists of anything else.
    """
    if not isinstance(answer, Completion):
        raise EpisodeError(f"the router returned {type(answer).__name__}, not a Completion of step.ask")
    rest = iter(calls)
    found = [next(filter(None, (is_part(part, call) for call in rest)), None) for part in answer.parts or (answer,)]
    parts = [part for part in found if part is not None]
    if len(parts) == len(found):
        rebuilt = join(parts, answer.delimiter) if answer.parts else parts[0]
        if rebuilt.text == answer.text:
            return rebuilt
    raise EpisodeError("the router returned text that no model of this step wrote")
