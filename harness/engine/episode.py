"""An episode in play: what has happened so far, and the records that it becomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
from msgspec.structs import replace

from harness import lines
from harness.data import Completion, Instance, Observation, Turn
from harness.engine.environment import printable
from harness.errors import EpisodeError
from harness.files import Record
from harness.numbers import round_significant
from harness.records import MOST, Episode, EpisodeTiming, StepRecord, StepTiming
from harness.text import cut
from harness.traces.recording import (
    joined_call_indices,
    kept_tokens,
    record_call,
    record_step_timing,
    same_as_read,
)
from harness.traces.store import SCHEMA

NO_MODEL = "none"
"""Stands for the model of a step that ended in an error before its action was known."""
_LONG_ERROR = 1000
"""Characters that are kept of an error that does not fit into a line."""
_SCORE = 100
"""Bytes, at most, of a score and of the end of a line."""


@dataclass(slots=True)
class StepResult:
    """The result of a step, filled in as far as the step came before an error."""

    answer: Completion | None = None
    """What the router returned, checked."""
    action: str = ""
    thought: str = ""
    valid: bool | None = None
    """Whether the action is admissible; None where the task lists none."""
    reward: float = 0.0
    environment_seconds: float = 0.0


@dataclass(slots=True)
class LiveEpisode:
    """An episode in play."""

    instance: Instance
    observation: Observation = field(default=Observation(""))
    """What the environment shows now."""
    turns: list[Turn] = field(default_factory=list)
    steps: list[StepRecord] = field(default_factory=list)
    timings: list[StepTiming] = field(default_factory=list)
    reset_seconds: float = 0.0
    done: bool = False
    _last_model: str | None = None

    @property
    def score(self) -> float:
        """Sum of the rewards so far."""
        return sum(step.reward for step in self.steps)

    def record_step(
        self,
        observation: Observation,
        calls: Sequence[Completion],
        result: StepResult,
        scores: dict[str, float],
        router_seconds: float,
    ) -> None:
        """Append the records of a step, one that failed included.

        Args:
            observation: What the environment showed before it.
            calls: All calls that were answered, in the order in which they were begun.
            result: As far as the step came.
            scores: What the router logged.
            router_seconds: Spent in the router's own code.
        """
        answer = result.answer
        parts = joined_call_indices(answer, calls) if answer else []
        kept = kept_tokens(answer) if answer else []
        with_ends = bool(kept) or any(call.read for call in calls)
        records = []
        for call in calls:
            switch = self._last_model not in (None, call.model)
            records.append(record_call(call, switch=switch, with_ends=with_ends))
            self._last_model = call.model
        self.steps.append(
            StepRecord(
                observation=observation.text,
                admissible=list(observation.admissible),
                calls=records,
                text=answer.text if answer else "",
                action=result.action,
                valid=result.valid,
                reward=result.reward,
                model=answer.model if answer else NO_MODEL,
                scores=scores,
                parts=parts,
                delimiter=answer.delimiter if answer else "",
                kept=kept,
                thought=result.thought,
            )
        )
        self.timings.append(record_step_timing(result.environment_seconds, router_seconds, calls))

    def finish(self, run: str, seed: int, *, success: bool, error: str | None) -> tuple[Episode, EpisodeTiming]:
        """The records of the whole episode.

        Args:
            run: Hash of the run.
            seed: The run's root seed.
            success: Whether the task counts it as solved.
            error: What ended it, if an error did.
        """
        episode = Episode(
            schema=SCHEMA,
            run=run,
            instance=self.instance.id,
            kind=self.instance.kind,
            seed=seed,
            score=self.score,
            success=success,
            end="error" if error else "done" if self.done else "step_cap",
            error=error,
            steps=self.steps,
            final_observation=self.observation.text,
        )
        timing = EpisodeTiming(self.instance.id, seed, round_significant(self.reset_seconds), self.timings)
        try:
            return same_as_read(episode), same_as_read(timing)
        except EpisodeError as failure:
            return _readable_part(episode, timing, f"{type(failure).__name__}: {failure}")


def _readable_part(episode: Episode, timing: EpisodeTiming, cause: str) -> tuple[Episode, EpisodeTiming]:
    """The episode up to the first step that cannot be recorded, ended by the error ``cause``."""
    part = replace(
        episode,
        kind=printable(episode.kind) if isinstance(episode.kind, str) else "",
        score=0.0,
        success=False,
        end="error",
        error=printable("; ".join(filter(None, (episode.error, cause)))),
        steps=[],
        final_observation=printable(episode.final_observation) if isinstance(episode.final_observation, str) else "",
    )
    if _size(part) > lines.MOST_LINE // 2:
        part = replace(part, kind="", error=cut(part.error or "", _LONG_ERROR), final_observation="")
    steps: list[StepRecord] = []
    timings: list[StepTiming] = []
    left = lines.MOST_LINE - _size(part) - _SCORE
    for step, measured in zip(episode.steps, timing.steps, strict=True):
        try:
            read = same_as_read(step), same_as_read(measured)
        except EpisodeError:
            break
        left -= max(map(_size, read)) + 1
        if left < 0:
            break
        steps.append(read[0])
        timings.append(read[1])
    part = replace(part, score=max(-MOST, min(MOST, sum(step.reward for step in steps))), steps=steps)
    return same_as_read(part), EpisodeTiming(timing.instance, timing.seed, 0.0, timings)


def _size(record: Record) -> int:
    """Bytes of a record in its file."""
    return len(msgspec.json.encode(record))
