"""Replay of the router's decisions: its own code runs, and the trace answers in place of the models."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from math import isclose
from typing import Any

from harness.backends.decoding import cut_at_stop
from harness.backends.encoding import Encoder
from harness.backends.reading import Readings
from harness.contracts import Router, Task, scaffold_of
from harness.data import Completion, Prompt
from harness.engine.asked import step_of
from harness.engine.episode import NO_MODEL
from harness.engine.step import check_answer
from harness.errors import NotRecorded
from harness.records import CallRecord, Episode
from harness.scaffolds import in_tokens
from harness.sharing import SharedCache
from harness.traces.recording import joined_call_indices, kept_tokens, recorded_completion
from harness.verify.report import Check


class Deviation(Exception):
    """The router decides otherwise than the trace says."""


class RoutingCheck:
    """Runs the router on every step of the trace and compares its decisions.

    Args:
        router: The router as it was run; None where it cannot be built.
        models: Names of the pool's models.
        edited: Why the router may decide otherwise although nobody cheated, such as edited source; empty if it may not.
        task: The task that was played.
        encoders: The tokenizers of the models, as far as they are installed.
        routing: Where problems are noted.
        sharing: The models that share a cache, if any.
    """

    def __init__(
        self,
        router: Router | None,
        models: Sequence[str],
        edited: str,
        task: Task,
        encoders: Mapping[str, Encoder],
        routing: Check,
        sharing: SharedCache | None = None,
    ) -> None:
        self.routing = routing
        self._router = router
        self._models = tuple(models)
        self._edited = f"{edited}: " if edited else ""
        self._task = task
        self._encoders = encoders
        self._sharing = sharing

    def episodes(self, several: Sequence[tuple[Episode, Sequence[Prompt]]]) -> None:
        """Check episodes with their prompts, side by side: a learned router decides several steps at once."""
        if self._router is None:
            return
        for (episode, _), error in zip(several, asyncio.run(self._together(self._router, several)), strict=True):
            if isinstance(error, NotRecorded):
                self.routing.reason = f"the router cannot run on a trace alone: {error}"
            elif isinstance(error, Deviation):
                self.routing.problem(episode.instance, f"{self._edited}{error}")
            elif error is not None:
                self.routing.problem(episode.instance, f"{self._edited}it raises {type(error).__name__}: {error}")

    async def _together(
        self, router: Router, several: Sequence[tuple[Episode, Sequence[Prompt]]]
    ) -> list[BaseException | None]:
        return await asyncio.gather(*(self._episode(router, *one) for one in several), return_exceptions=True)

    async def _episode(self, router: Router, episode: Episode, prompts: Sequence[Prompt]) -> None:
        turns = episode.turns
        read = Readings.of(self._sharing)
        unseen: NotRecorded | None = None
        for number, (record, prompt) in enumerate(zip(episode.steps, prompts, strict=True)):
            if record.model == NO_MODEL:  # the step in which an error ended the episode
                return
            calls = RecordedCalls(number, record.calls, prompt, self._task, self._encoders, read)
            step = step_of(episode, turns, number, prompt, self._task, self._models, calls.ask, self._sharing)
            try:
                answer = check_answer(await router.act(step), calls.given)
            except NotRecorded as error:
                unseen = error
                if router.granularity == "step":
                    calls.rest_is_plain()
                continue
            if len(calls.given) < len(record.calls):
                raise Deviation(f"step {number}: it makes {len(calls.given)} calls, the trace has {len(record.calls)}")
            if (answer.text, answer.model) != (record.text, record.model):
                raise Deviation(f"step {number}: it takes the answer of '{answer.model}', the trace '{record.model}'")
            joined = joined_call_indices(answer, calls.given), kept_tokens(answer), answer.delimiter
            if joined != (record.parts, record.kept, record.delimiter):
                raise Deviation(
                    f"step {number}: it joins other calls, or other parts of them, or at another delimiter, than the "
                    "trace"
                )
            if not _alike(step.scores, record.scores):
                raise Deviation(f"step {number}: it logs {step.scores}, the trace has {record.scores}")
        if unseen is not None:
            raise unseen


def _alike(ours: Mapping[str, float], theirs: Mapping[str, float]) -> bool:
    """Whether all of ``theirs`` were logged, up to the last digits, which depend on the machine."""
    return all(name in ours and isclose(ours[name], theirs[name], rel_tol=1e-3, abs_tol=1e-5) for name in theirs)


class RecordedCalls:
    """Answers a router's calls in a step from the trace, in the order in which they were made.

    Args:
        number: Number of the step.
        records: Its recorded calls.
        prompt: What the models read.
        task: The task, for what a call may write by default.
        encoders: The tokenizers of the models, as far as they are installed.
        read: What the models have read in this episode. Updated by each call.
    """

    def __init__(
        self,
        number: int,
        records: Sequence[CallRecord],
        prompt: Prompt,
        task: Task,
        encoders: Mapping[str, Encoder],
        read: Readings,
    ) -> None:
        self._number = number
        self._records = records
        self._prompt = prompt
        self._task = task
        self._encoders = encoders
        self._read = read
        self.given: list[Completion] = []
        self._reading: int | None = None
        """Place of the call that a trace cannot answer."""

    def rest_is_plain(self) -> None:
        """Check the calls that the router did not get to as plain ones: they end where the task ends them.

        Raises:
            Deviation: one does not.
        """
        before: CallRecord | None = None
        for place, record in enumerate(self._records):
            if place >= len(self.given) and place != self._reading:
                self._check_bounds(record, self._plain_changes(record, before))
                before = record if record.decoded_tokens else None

    def _plain_changes(self, record: CallRecord, before: CallRecord | None) -> dict[str, Any]:
        """What a router asks that changes nothing itself; after a thought that was cut, the action is asked for."""
        scaffold = scaffold_of(self._task)
        if record.decoded_tokens == 0:
            return {"max_tokens": 0}
        if scaffold is None or not scaffold.thinks:
            return {}
        if before is not None and (before.model, before.finish) == (record.model, "length"):
            opening = scaffold.action_opening(before.text)
            if opening is not None:
                begun = before.text + opening
                return {"continue_from": begun, "forced": opening, "max_tokens": scaffold.action_tokens}
        return {"max_tokens": scaffold.limits.thought_tokens}

    async def ask(self, model: str, changes: Mapping[str, Any]) -> Completion:
        """The next recorded call, if it went to ``model``; an ``ask`` of ``LiveStep.of_episode``."""
        place = len(self.given)
        if place >= len(self._records) or self._records[place].model != model:
            made = [record.model for record in self._records]
            raise Deviation(
                f"step {self._number}: it asks '{model}', the trace has calls to {', '.join(made) or 'no model'}"
            )
        record = self._records[place]
        if changes.get("max_tokens") == 0:
            if record.decoded_tokens != 0:
                raise Deviation(f"step {self._number}: it lets '{model}' read the prompt, the trace has no such call")
            if begun := changes.get("continue_from"):
                return self._reading_of(record, begun)
            self._reading = place
            if (encoder := self._encoders.get(model)) is not None:
                self._read.call(model, encoder.encode(self._prompt), only_read=True)
            raise NotRecorded("it reads hidden states, which traces do not hold")
        self._check_bounds(record, changes)
        return self._answer(record)

    def _answer(self, record: CallRecord) -> Completion:
        completion = recorded_completion(record)
        self.given.append(completion)
        return completion

    def _reading_of(self, record: CallRecord, reply: str) -> Completion:
        """The call that read a reply, if it is recorded so, and the tokens are those of that reply.

        Raises:
            Deviation: it is not, or they are not.
        """
        where = f"step {self._number}: the call of '{record.model}'"
        read = record.read
        if read is None:
            raise Deviation(f"{where} reads a reply, the trace has no such call")
        scaffold = scaffold_of(self._task)
        if scaffold is not None and scaffold.thinks:
            found = scaffold.read(reply)
            spans = [list(in_tokens(span, read.ends)) for span in (found.thought_span, found.action_span)]
            if spans != [record.thought_tokens, record.action_tokens]:
                raise Deviation(f"{where} reads a reply whose thought and action are in other tokens of it")
        if (encoder := self._encoders.get(record.model)) is not None:
            encoded = encoder.encode_reply(self._prompt, reply)
            cached = self._read.call(record.model, encoded, only_read=True)
            ends = list(encoder.reply_ends(encoded, reply))
            if read.ends != ends:
                raise Deviation(f"{where} reads a reply whose {len(ends)} tokens end elsewhere than the trace says")
            self._check_continued(where, record, len(encoded.ids), cached)
        return self._answer(record)

    def _check_bounds(self, record: CallRecord, changes: Mapping[str, Any]) -> None:
        """Check that as much was read and written as was asked for: what a call continues from is prompt, and charged.

        Raises:
            Deviation: it was not.
        """
        where = f"step {self._number}: the call of '{record.model}'"
        most = changes.get("max_tokens")
        most = self._task.max_tokens if most is None else most
        if record.decoded_tokens > most or (record.finish == "length" and record.decoded_tokens != most):
            raise Deviation(f"{where} may write {most} tokens, the trace has {record.decoded_tokens}")
        stop = changes.get("stop")
        if cut_at_stop(record.text, self._task.stop if stop is None else stop) is not None:
            raise Deviation(f"{where} has a stop string in its text")
        if (changes.get("forced") or "") != record.forced:
            raise Deviation(f"{where} goes on from other text of the scaffold than the trace says")
        begun, encoder = changes.get("continue_from") or "", self._encoders.get(record.model)
        if encoder is None:
            return
        encoded = encoder.encode(self._prompt, begun)
        cached = self._read.call(record.model, encoded, only_read=record.decoded_tokens == 0)
        if not begun:
            if record.prompt_tokens != len(encoded.ids):
                raise Deviation(f"{where} has {record.prompt_tokens} prompt tokens, its prompt {len(encoded.ids)}")
            return  # what is cached of it, the ledger's check counts
        self._check_continued(where, record, len(encoded.ids), cached)

    def _check_continued(self, where: str, record: CallRecord, length: int, cached: int) -> None:
        if (record.prompt_tokens, record.cached_tokens) != (length, cached):
            raise Deviation(
                f"{where} continues from {length} tokens, {cached} of them cached; the trace has "
                f"{record.prompt_tokens} and {record.cached_tokens}"
            )
