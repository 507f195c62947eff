"""Replay of recorded calls: models are asked what they were asked, in the same order and at the same lengths.

Neither environment nor router is run, and no kept answer is used. The prompts are those of the trace, so that each
model reads what it read and has cached what it had. An answer ends at its recorded length, whatever is written: a
greedy answer is the recorded one anyway, and one that differs in its words takes as long.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from harness.contracts import Backend, Router, Task
from harness.data import Completion
from harness.engine.asked import Asked, questions_of
from harness.engine.loop import run_to_end
from harness.errors import EpisodeError, MixrouteError
from harness.files import Record
from harness.plugins import open_router, open_task
from harness.pool import Pool
from harness.records import Episode, RunMeta
from harness.suite import RunConfig
from harness.timing.session import TimedRow, TimedSection
from harness.traces.clock import EpisodeClock, Seconds, StepClock
from harness.traces.store import read_episodes, read_meta

log = logging.getLogger(__name__)

_WARM_STEPS = 2
MOST_MISSING = 0.01
"""Largest share of a block's recorded tokens that may not be computed again, where the mode is not deterministic."""

_LEAVE_OUT = "name the rows to time, without this one, with --only"

Questions = list[list[Asked]]
"""The questions of an episode, by step."""


class Replayed(Record, frozen=True):
    """What was measured of a block of a row."""

    wall: Seconds
    """From the first question to the last answer of the block."""
    cpu: Seconds
    """CPU seconds of the process meanwhile."""
    missing: int
    """Recorded tokens that were not decoded again, since answers ended earlier."""
    decoded: int
    episodes: list[EpisodeClock]


class Replayer:
    """Replays the rows of one section.

    Args:
        root: Folder of the runs.
        section: What to replay.
        pool: Its pool.
        models: The pool's models, loaded, without a completion cache.

    Raises:
        MixrouteError: a run was changed or cannot be read, its task cannot be opened, or the models are not the run's.
    """

    def __init__(self, root: Path, section: TimedSection, pool: Pool, models: Mapping[str, Backend]) -> None:
        self._pool = pool
        self._models = models
        self._episodes: list[dict[str, tuple[RunMeta, Episode]]] = [_episodes(root, row) for row in section.rows]
        self._exact = section.mode == "deterministic"
        self._number = self._missing = self._decoded = 0
        for meta in {meta.hash: meta for row in self._episodes for meta, _ in row.values()}.values():
            self._check_models(meta)

    def warm_up(self, blocks: Sequence[Sequence[str]]) -> None:
        """Replay the beginning of the first block of each row: what is allocated or compiled once, is."""
        for row in range(len(self._episodes)):
            self._replay(row, blocks[0], 0, _WARM_STEPS)

    def replay(self, row: int, instances: Sequence[str], number: int) -> Replayed:
        """Replay the episodes of a row for these instances, all at once.

        Args:
            row: Place of the row in the section.
            instances: A block.
            number: Of the pass.

        Raises:
            MixrouteError: a model fails, or computes other tokens than it did.
        """
        replayed = self._replay(row, instances, number, None)
        recorded = replayed.missing + replayed.decoded
        if replayed.missing > MOST_MISSING * recorded:
            raise MixrouteError(
                f"{instances[0]} and others that are replayed at once: {replayed.missing} of {recorded} recorded "
                f"tokens are not computed again, as answers end earlier here: play the run on this machine, or "
                f"{_LEAVE_OUT}"
            )
        return replayed

    def _replay(self, row: int, instances: Sequence[str], number: int, most_steps: int | None) -> Replayed:
        asked = [self._questions(*self._episodes[row][instance])[:most_steps] for instance in instances]

        async def together() -> list[EpisodeClock]:
            episodes = zip(instances, asked, strict=True)
            return await asyncio.gather(*(self._episode(one, number, questions) for one, questions in episodes))

        self._missing = self._decoded = 0
        gc.disable()  # it would be charged to whoever comes then
        try:
            began, spent = time.perf_counter(), time.process_time()
            clocks = run_to_end(together())
            wall, cpu = time.perf_counter() - began, time.process_time() - spent
        finally:
            gc.enable()
        return Replayed(wall, cpu, self._missing, self._decoded, clocks)

    def _questions(self, meta: RunMeta, episode: Episode) -> Questions:
        config = RunConfig.model_validate(meta.config)
        task = _task(config.task, config.split, json.dumps(config.task_args, sort_keys=True))
        router = _router(config.router, json.dumps({**config.router_args, **meta.fitted}, sort_keys=True))
        models = list(meta.models)
        return list(questions_of(episode, task, router, models, config.temperature, sharing=config.kv_cache))

    async def _episode(self, instance: str, number: int, questions: Questions) -> EpisodeClock:
        self._number += 1
        session = f"time {self._number}"
        try:
            began = time.perf_counter()
            steps = [await self._step(session, step) for step in questions]
            return EpisodeClock(instance, number, time.perf_counter() - began, steps).rounded()
        finally:
            for model in self._models.values():
                model.release(session)

    async def _step(self, session: str, asked: Sequence[Asked]) -> StepClock:
        began = time.perf_counter()
        calls: list[asyncio.Task[Completion]] = []
        for one in asked:
            calls.append(asyncio.create_task(self._call(session, one, calls[: one.after])))
        try:
            answers = [await call for call in calls]
        finally:
            for call in calls:
                call.cancel()
        wall = time.perf_counter() - began if calls else 0.0
        return StepClock(wall, [(answer.timing.prefill, answer.timing.decode) for answer in answers])

    async def _call(self, session: str, asked: Asked, before: Sequence[asyncio.Task[Completion]]) -> Completion:
        for earlier in before:
            await earlier
        call = asked.call
        # Without stop strings the answer is as long as the recorded one, even where its words differ.
        request = replace(asked.request, session=session, stop=(), max_tokens=call.decoded_tokens)
        try:
            answer = await self._models[call.model].generate(request)
        except EpisodeError as error:
            raise MixrouteError(f"{asked.where} cannot be replayed: {error}") from error
        self._check(asked, answer)
        missing = call.decoded_tokens - len(answer.tokens)
        self._missing += missing
        self._decoded += len(answer.tokens)
        if missing and answer.tokens:  # the tokens that are there stand for those that are not
            timing = replace(answer.timing, decode=answer.timing.decode * call.decoded_tokens / len(answer.tokens))
            return replace(answer, timing=timing)
        return answer

    def _check(self, asked: Asked, answer: Completion) -> None:
        """Check that a call read and wrote as many tokens as the recorded one. Without deterministic mode an answer
        may differ with its batch, and end earlier.
        """
        call = asked.call
        found = answer.prompt_tokens, answer.cached_tokens, len(answer.tokens)
        recorded = call.prompt_tokens, call.cached_tokens, call.decoded_tokens
        if found == recorded or (not self._exact and found[:2] == recorded[:2]):
            return
        names = ("prompt tokens", "of them cached", "decoded")
        ours, theirs = (
            ", ".join(f"{value} {name}" for value, name in zip(values, names, strict=True))
            for values in (found, recorded)
        )
        raise MixrouteError(
            f"{asked.where} cannot be replayed: it takes {ours}; the trace has {theirs}; {_why(asked, found, recorded)}"
        )

    def _check_models(self, meta: RunMeta) -> None:
        if RunConfig.model_validate(meta.config).kv_cache != self._pool.kv_cache:
            raise MixrouteError(
                f"run {meta.id}: its models shared key-value caches otherwise than those of pool '{meta.pool}' do now "
                f"(kv_cache): play it again, or {_LEAVE_OUT}"
            )
        for name, card in meta.models.items():
            ours = self._models[name].card().fingerprint if name in self._models else "(none)"
            if ours != card.get("fingerprint"):
                raise MixrouteError(
                    f"run {meta.id}: model '{name}' of pool '{meta.pool}' has another fingerprint here than when the "
                    f"run was played: play it again, or {_LEAVE_OUT}"
                )


def _why(asked: Asked, found: tuple[int, int, int], recorded: tuple[int, int, int]) -> str:
    if found[:2] != recorded[:2]:
        unknown = "" if asked.known else ", and its router, which knows what it asked, cannot be run on the trace"
        return f"it was asked otherwise{unknown}: {_LEAVE_OUT}"
    return f"this machine or these versions compute another answer: play the run here, or {_LEAVE_OUT}"


def _episodes(root: Path, row: TimedRow) -> dict[str, tuple[RunMeta, Episode]]:
    """The episodes of a row that are replayed, by instance, each with its run."""
    found = {}
    for run in row.runs:
        folder, wanted = run.below(root), set(run.instances)
        meta = read_meta(folder)
        if meta.hash != run.hash:
            raise MixrouteError(f"{folder} is another run than when the session began: delete time.json beside it")
        for episode in read_episodes(folder) if wanted else ():
            if episode.instance in wanted:
                found[episode.instance] = meta, episode
    return found


@cache
def _task(name: str, split: str, arguments: str) -> Task:
    return open_task(name, split=split, **json.loads(arguments))


@cache
def _router(name: str, arguments: str) -> Router | None:
    """The router as it was run; None where it cannot be built here: its calls are then taken for plain ones."""
    try:
        return open_router(name, **json.loads(arguments))
    except MixrouteError as error:
        log.warning("router '%s' cannot be built here, so that its calls are taken for plain ones: %s", name, error)
        return None
