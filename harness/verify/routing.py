"""Replay of the router's decisions: its own code runs, and the trace answers in place of the models."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from math import isclose
from typing import Any

from harness.backends.encoding import NOTHING, Encoder
from harness.contracts import Router, Task
from harness.data import Completion, Prompt
from harness.engine.step import LiveStep, check_answer
from harness.records import CallRecord, Episode
from harness.traces.recording import joined_call_indices, recorded_completion
from harness.verify.report import Check


class Deviation(Exception):
    """The router decides otherwise than the trace says."""


class RoutingCheck:
    """Runs the router on every step of the trace and compares its decisions.

    Args:
        router: The router as it was run; None where it cannot be built here.
        models: Names of the pool's models.
        reason: Why there is no router; or why this one may decide otherwise although nobody cheated, such as edited
            source. If it decides as the trace says all the same, the check passes.
        task: The task that was played.
        encoders: The tokenizers of the models, as far as they are installed.
    """

    def __init__(
        self, router: Router | None, models: Sequence[str], reason: str, task: Task, encoders: Mapping[str, Encoder]
    ) -> None:
        self.routing = Check("the router decides as the trace says")
        self._router = router
        self._models = tuple(models)
        self._excuse = reason
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
            if isinstance(error, Deviation) and self._excuse:
                self.routing.reason = f"{self._excuse}, and decides otherwise: {episode.instance}, {error}"
            elif isinstance(error, Deviation):
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
            calls = RecordedCalls(number, record.calls, prompt, self._encoders, read)
            step = LiveStep.of_episode(
                task=self._task,
                instance=episode.instance,
                seed=episode.seed,
                turns=turns[:number],
                observation=turns[number].observation,
                prompt=prompt,
                models_used=tuple(earlier.model for earlier in episode.steps[:number]),
                models=self._models,
                ask=calls.ask,
            )
            answer = check_answer(await router.act(step), calls.given)
            if len(calls.given) < len(record.calls):
                raise Deviation(f"step {number}: it makes {len(calls.given)} calls, the trace has {len(record.calls)}")
            if (answer.text, answer.model) != (record.text, record.model):
                raise Deviation(f"step {number}: it takes the answer of '{answer.model}', the trace '{record.model}'")
            if (joined_call_indices(answer, calls.given), answer.delimiter) != (record.parts, record.delimiter):
                raise Deviation(f"step {number}: it joins other calls, or at another delimiter, than the trace")
            if not _alike(step.scores, record.scores):
                raise Deviation(f"step {number}: it logs {step.scores}, the trace has {record.scores}")


def _alike(ours: Mapping[str, float], theirs: Mapping[str, float]) -> bool:
    """Whether all of ``theirs`` were logged, up to the last digits, which depend on the machine."""
    return all(name in ours and isclose(ours[name], theirs[name], rel_tol=1e-3, abs_tol=1e-5) for name in theirs)


class RecordedCalls:
    """Answers a router's calls in a step from the trace, in the order in which they were made.

    Args:
        number: Number of the step.
        records: Its recorded calls.
        prompt: What the models read.
        encoders: The tokenizers of the models, as far as they are installed.
        read: By model, what it has read last in this episode: a prompt and part of an answer. Updated by each call.
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
        """The next recorded call, if it went to ``model``; an ``ask`` of ``LiveStep.of_episode``."""
        place = len(self.given)
        if place >= len(self._records) or self._records[place].model != model:
            made = [record.model for record in self._records]
            raise Deviation(
                f"step {self._number}: it asks '{model}', the trace has calls to {', '.join(made) or 'no model'}"
            )
        if changes.get("max_tokens") == 0:
            raise RuntimeError("it reads hidden states, which traces do not hold")
        record = self._records[place]
        self._check_bounds(record, changes)
        completion = recorded_completion(record)
        self.given.append(completion)
        return completion

    def _check_bounds(self, record: CallRecord, changes: Mapping[str, Any]) -> None:
        """No more may be decoded than was asked for, and text to continue from is prompt, which is charged."""
        most = changes.get("max_tokens")
        if most is not None and record.decoded_tokens > most:
            raise Deviation(f"step {self._number}: it asks for {most} tokens, the trace has {record.decoded_tokens}")
        begun, encoder = changes.get("continue_from") or "", self._encoders.get(record.model)
        last = self._read.get(record.model)
        self._read[record.model] = (self._prompt, begun)
        if encoder is None or not begun:  # then the ledger's check counts
            return
        encoded = encoder.encode(self._prompt, begun)
        cached = encoded.cached_prefix_length(encoder.encode(*last) if last else NOTHING)
        recorded, ours = (record.prompt_tokens, record.cached_tokens), (len(encoded.ids), cached)
        if recorded != ours:
            raise Deviation(
                f"step {self._number}: '{record.model}' continues from {ours[0]} tokens, {ours[1]} of them cached; the "
                f"trace has {recorded[0]} and {recorded[1]}"
            )
