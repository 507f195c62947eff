"""What each recorded call asked its model, as far as that can be known from a trace."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.contracts import Router, Task
from harness.data import Completion, FinishReason, GivenAnswer, Prompt, Request
from harness.engine.episode import NO_MODEL
from harness.records import CallRecord, Episode
from harness.seeding import seed_for
from harness.traces.recording import recorded_completion
from harness.verify.replay import prompts_of, step_of


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

    @property
    def answer(self) -> GivenAnswer:
        """The call's answer."""
        call = self.call
        finish: FinishReason = "stop" if call.finish == "stop" else "length"
        return GivenAnswer(call.text, call.content_tokens, call.decoded_tokens, finish)


def asked_of(
    episode: Episode,
    task: Task,
    router: Router | None,
    models: Sequence[str],
    temperature: float,
    *,
    in_order: bool = False,
) -> Iterator[Asked]:
    """The calls of an episode that have an answer, with their questions.

    Args:
        episode: The episode.
        task: Its task.
        router: The router as it was run, to be asked what it asks; None if there is none here.
        models: Names of the pool's models.
        temperature: The run's.
        in_order: Whether the questions are those of one session, and calls without an answer are among them.
    """
    prompts = prompts_of(episode, task)
    said = asyncio.run(_changes(episode, prompts, task, router, models)) if router is not None else []
    for number, (step, prompt) in enumerate(zip(episode.steps, prompts, strict=True)):
        changes = said[number] if number < len(said) else []
        for place, call in enumerate(step.calls):
            if call.decoded_tokens == 0 and not in_order:
                continue
            known = place < len(changes)
            given = {name: value for name, value in changes[place].items() if value is not None} if known else {}
            cut = not known and call.finish == "length"
            longest = call.decoded_tokens if cut or call.decoded_tokens == 0 else task.max_tokens
            defaults = {"stop": task.stop, "max_tokens": longest, "temperature": temperature}
            where = f"{episode.instance} step {number}, call {place} to '{call.model}'"
            seed = seed_for(seed_for(episode.seed, episode.instance, number, "sampling"), place)
            session = episode.instance if in_order else where
            request = Request(session=session, prompt=prompt, seed=seed, **{**defaults, **given})
            yield Asked(where, call, request, known)


@dataclass(slots=True)
class _Listening:
    """Answers a router's calls in a step from the trace, and notes what it asked."""

    records: Sequence[CallRecord]
    heard: list[Mapping[str, Any]] = field(default_factory=list)

    async def ask(self, model: str, changes: Mapping[str, Any]) -> Completion:
        record = self.records[len(self.heard)]
        if record.model != model or (changes.get("max_tokens") == 0) != (record.decoded_tokens == 0):
            raise LookupError("it asks otherwise than the trace says")
        self.heard.append(changes)
        return recorded_completion(record)


async def _changes(
    episode: Episode, prompts: Sequence[Prompt], task: Task, router: Router, models: Sequence[str]
) -> list[list[Mapping[str, Any]]]:
    """What the router changes in each of its calls, by step; it ends where the router cannot go on from the trace.
    Whether it decides as the trace says is another check's.
    """
    said: list[list[Mapping[str, Any]]] = []
    turns = episode.turns
    for number, (step, prompt) in enumerate(zip(episode.steps, prompts, strict=True)):
        listening = _Listening(step.calls)
        live = step_of(episode, turns, number, prompt, task, models, listening.ask)
        said.append(listening.heard)
        try:
            await router.act(live)
        except Exception:  # it needs what traces do not hold, or breaks; its calls are then taken for plain ones
            if step.model != NO_MODEL and len(listening.heard) < len(step.calls):
                return said
    return said
