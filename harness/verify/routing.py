"""The router's decisions, taken again: its own code runs, and the trace answers in place of the models."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from math import isclose
from typing import Any

from harness.backends.encoding import NOTHING, Encoder
from harness.contracts import Router, Task
from harness.data import Completion, Observation, Prompt, Token
from harness.engine.step import LiveStep, check_answer, places
from harness.records import CallRecord, Episode
from harness.seeding import seed_for
from harness.verify.report import Check


class _Other(Exception):
    """The router does something else than the trace says."""


class RoutingCheck:
    """Lets the router decide every step again.

    Args:
        router: As it was run; None, with the reason, where it cannot be had.
        models: Names of the pool's models.
        reason: Why there is no router; or why this one may decide otherwise without anybody having cheated. If it
            decides as the trace says, that is as good a proof as any.
        task: What was played.
        encoders: The tokenizer of each model, as far as it is at hand.
    """

    def __init__(
        self, router: Router | None, models: Sequence[str], reason: str, task: Task, encoders: Mapping[str, Encoder]
    ) -> None:
        self.routing = Check("the router decides as the trace says")
        self._router = router
        self._models = tuple(models)
        self._edited = reason
        self._task = task
        self._encoders = encoders
        if router is None:
            self.routing.reason = reason

    def episodes(self, several: Sequence[tuple[Episode, Sequence[Prompt]]]) -> None:
        """Check episodes with their prompts, side by side: a learned router decides several steps at once."""
        if self._router is None or self.routing.reason is not None:
            return
        chosen = [(episode, prompts) for episode, prompts in several if episode.end != "error"]
        for (episode, _), error in zip(chosen, asyncio.run(self._together(self._router, chosen)), strict=True):
            if isinstance(error, _Other) and self._edited:
                self.routing.reason = f"{self._edited}, and decides otherwise: {episode.instance}, {error}"
            elif isinstance(error, _Other):
                self.routing.problem(episode.instance, str(error))
            elif error is not None:  # it may need what traces do not hold: hidden states, the models themselves
                self.routing.reason = f"the router cannot run on a trace alone: {type(error).__name__}: {error}"

    async def _together(
        self, router: Router, several: Sequence[tuple[Episode, Sequence[Prompt]]]
    ) -> list[BaseException | None]:
        return await asyncio.gather(*(self._episode(router, *one) for one in several), return_exceptions=True)

    async def _episode(self, router: Router, episode: Episode, prompts: Sequence[Prompt]) -> None:
        turns = episode.turns
        read: dict[str, tuple[Prompt, str]] = {}
        for number, (record, prompt) in enumerate(zip(episode.steps, prompts, strict=True)):
            calls = _Calls(number, record.calls, prompt, self._encoders, read)
            step = LiveStep(
                index=number,
                prompt=prompt,
                observation=Observation(record.observation, tuple(record.admissible)),
                turns=turns[:number],
                models_used=tuple(earlier.model for earlier in episode.steps[:number]),
                models=self._models,
                stop=self._task.stop,
                max_tokens=self._task.max_tokens,
                rng=random.Random(seed_for(episode.seed, episode.instance, number, "router")),  # noqa: S311
                _ask=calls.ask,
            )
            answer = check_answer(await router.act(step), calls.given)
            if len(calls.given) < len(record.calls):
                raise _Other(f"step {number}: it makes {len(calls.given)} calls, the trace has {len(record.calls)}")
            if (answer.text, answer.model) != (record.text, record.model):
                raise _Other(f"step {number}: it takes the answer of '{answer.model}', the trace '{record.model}'")
            if (places(answer, calls.given), answer.until) != (record.parts, record.until):
                raise _Other(f"step {number}: it joins other calls, or up to another mark, than the trace")
            if not _alike(step.scores, record.scores):
                raise _Other(f"step {number}: it logs {step.scores}, the trace has {record.scores}")


def _alike(ours: Mapping[str, float], theirs: Mapping[str, float]) -> bool:
    """Whether ``theirs`` were logged, but for the last digits, which may be another machine's."""
    return all(name in ours and isclose(ours[name], theirs[name], rel_tol=1e-3, abs_tol=1e-5) for name in theirs)


class _Calls:
    """The calls of a step, given out in the order in which they were made.

    Args:
        number: Of the step.
        records: Its calls.
        prompt: What the models read.
        encoders: By model, as far as at hand.
        read: What each model has read last in this episode, a prompt and part of its answer; kept up to date.
    """

    def __init__(
        self,
        number: int,
        records: Sequence[CallRecord],
        prompt: Prompt,
        encoders: Mapping[str, Encoder],
        read: dict[str, tuple[Prompt, str]],
    ) -> None:
        self._number = number
        self._records = records
        self._prompt = prompt
        self._encoders = encoders
        self._read = read
        self.given: list[Completion] = []

    async def ask(self, model: str, changes: Mapping[str, Any]) -> Completion:
        """The next call, if it went to ``model``."""
        place = len(self.given)
        if place >= len(self._records) or self._records[place].model != model:
            made = [record.model for record in self._records]
            raise _Other(
                f"step {self._number}: it asks '{model}', the trace has calls to {', '.join(made) or 'nobody'}"
            )
        if changes.get("max_tokens") == 0:
            raise RuntimeError("it reads hidden states, which traces do not hold")
        record = self._records[place]
        self._within(record, changes)
        tokens = tuple(
            Token(-1, *statistics) for statistics in zip(record.logprobs, record.entropies, record.margins, strict=True)
        )
        completion = Completion(
            model=model,
            text=record.text,
            tokens=tokens,
            content_tokens=record.content_tokens,
            finish="stop" if record.finish == "stop" else "length",
            prompt_tokens=record.prompt_tokens,
            cached_tokens=record.cached_tokens,
        )
        self.given.append(completion)
        return completion

    def _within(self, record: CallRecord, changes: Mapping[str, Any]) -> None:
        """No more may be written than was asked for, and what is gone on from is read and charged."""
        most = changes.get("max_tokens")
        if most is not None and record.decoded_tokens > most:
            raise _Other(f"step {self._number}: it asks for {most} tokens, the trace has {record.decoded_tokens}")
        begun, encoder = changes.get("continue_from") or "", self._encoders.get(record.model)
        last = self._read.get(record.model)
        self._read[record.model] = (self._prompt, begun)
        if encoder is None or not begun:  # then the ledger's check counts
            return
        encoded = encoder.encode(self._prompt, begun)
        cached = encoded.cached_prefix_length(encoder.encode(*last) if last else NOTHING)
        told, ours = (record.prompt_tokens, record.cached_tokens), (len(encoded.ids), cached)
        if told != ours:
            raise _Other(
                f"step {self._number}: '{record.model}' goes on from {ours[0]} tokens, {ours[1]} of them cached; the "
                f"trace has {told[0]} and {told[1]}"
            )
