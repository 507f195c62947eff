"""What each recorded call asked its model, as far as that can be known from a trace."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.contracts import Router, Task
from harness.data import Completion, FinishReason, GivenAnswer, Prompt, Request, Turn
from harness.engine.episode import NO_MODEL
from harness.engine.step import LiveStep
from harness.records import CallRecord, Episode
from harness.seeding import seed_for
from harness.sharing import SharedCache
from harness.traces.recording import recorded_completion


@dataclass(frozen=True, slots=True)
class Asked:
    """A recorded call and its question."""

    where: str
    call: CallRecord
    request: Request
    """The question. Where it is not ``known`` it is the plain one: the prompt, with the limits of the task, or the
    length at which the answer was cut.
    """
    known: bool
    """Whether the router itself said what it asks, when it was run on the trace."""
    after: int
    """How many calls of the step had been answered when this one was begun: fewer than stand before it where the
    router asked several at once. Where it is not ``known``, as many as stand before it."""

    @property
    def answer(self) -> GivenAnswer:
        """The call's answer."""
        call = self.call
        finish: FinishReason = "stop" if call.finish == "stop" else "length"
        return GivenAnswer(call.text, call.content_tokens, call.decoded_tokens, finish)


def questions_of(
    episode: Episode,
    task: Task,
    router: Router | None,
    models: Sequence[str],
    temperature: float,
    *,
    sharing: SharedCache | None = None,
    in_order: bool = False,
) -> Iterator[list[Asked]]:
    """The calls of each step of an episode with their questions, those that only read the prompt included.

    Args:
        episode: The episode.
        task: Its task.
        router: The router as it was run, to be asked what it asks; None if there is none here.
        models: Names of the pool's models.
        temperature: The run's.
        sharing: The models that share a cache, if any.
        in_order: Whether the questions are those of one session.
    """
    prompts = prompts_of(episode, task)
    said = asyncio.run(_said(episode, prompts, task, router, models, sharing)) if router is not None else []
    for number, (step, prompt) in enumerate(zip(episode.steps, prompts, strict=True)):
        heard = said[number] if number < len(said) else []
        found = []
        for place, call in enumerate(step.calls):
            known = place < len(heard)
            after, changes = heard[place] if known else (place, {})
            given = {name: value for name, value in changes.items() if value is not None}
            cut = not known and call.finish == "length"
            longest = call.decoded_tokens if cut or call.decoded_tokens == 0 else task.max_tokens
            defaults = {"stop": task.stop, "max_tokens": longest, "temperature": temperature}
            where = f"{episode.instance} step {number}, call {place} to '{call.model}'"
            seed = seed_for(seed_for(episode.seed, episode.instance, number, "sampling"), place)
            session = episode.instance if in_order else where
            request = Request(session=session, prompt=prompt, seed=seed, **{**defaults, **given})
            found.append(Asked(where, call, request, known, after))
        yield found


_BEGUN_TOGETHER = 8
"""Turns of the event loop that a call waits for its answer: what a router asks at once begins within fewer."""


@dataclass(slots=True)
class _Listening:
    """Answers a router's calls in a step from the trace, and notes what it asked."""

    records: Sequence[CallRecord]
    heard: list[tuple[int, Mapping[str, Any]]] = field(default_factory=list)
    """Of each call, how many had been answered when it was begun, and what it changes."""
    answered: int = 0

    async def ask(self, model: str, changes: Mapping[str, Any]) -> Completion:
        record = self.records[len(self.heard)]
        if record.model != model or (changes.get("max_tokens") == 0) != (record.decoded_tokens == 0):
            raise LookupError("it asks otherwise than the trace says")
        self.heard.append((self.answered, changes))
        for _ in range(_BEGUN_TOGETHER):
            await asyncio.sleep(0)
        self.answered += 1
        return recorded_completion(record)


async def _said(
    episode: Episode,
    prompts: Sequence[Prompt],
    task: Task,
    router: Router,
    models: Sequence[str],
    sharing: SharedCache | None,
) -> list[list[tuple[int, Mapping[str, Any]]]]:
    """What the router changes in each of its calls, by step; it ends where the router cannot go on from the trace.
    Whether it decides as the trace says is another check's.
    """
    said: list[list[tuple[int, Mapping[str, Any]]]] = []
    turns = episode.turns
    for number, (step, prompt) in enumerate(zip(episode.steps, prompts, strict=True)):
        listening = _Listening(step.calls)
        live = step_of(episode, turns, number, prompt, task, models, listening.ask, sharing)
        said.append(listening.heard)
        try:
            await router.act(live)
        except Exception:  # it needs what traces do not hold, or breaks; its calls are then taken for plain ones
            if step.model != NO_MODEL and len(listening.heard) < len(step.calls):
                return said
    return said


def step_of(
    episode: Episode,
    turns: tuple[Turn, ...],
    number: int,
    prompt: Prompt,
    task: Task,
    models: Sequence[str],
    ask: Callable[[str, Mapping[str, Any]], Awaitable[Completion]],
    sharing: SharedCache | None,
) -> LiveStep:
    """A recorded step as the router saw it when it was played.

    Args:
        episode: The episode.
        turns: Its turns, which ``episode.turns`` makes anew each time.
        number: Number of the step.
        prompt: What its models read.
        task: The task.
        models: Names of the pool's models.
        ask: Answers the router's calls; an ``ask`` of ``LiveStep.of_episode``.
        sharing: The models that share a cache, if any.
    """
    return LiveStep.of_episode(
        task=task,
        instance=episode.instance,
        seed=episode.seed,
        turns=turns[:number],
        observation=turns[number].observation,
        prompt=prompt,
        records=episode.steps[:number],
        models=tuple(models),
        ask=ask,
        sharing=sharing,
    )


def prompts_of(episode: Episode, task: Task) -> Sequence[Prompt]:
    """The prompt of each step."""
    turns = episode.turns
    return [task.prompt(turns[:number], turn.observation) for number, turn in enumerate(turns)]
