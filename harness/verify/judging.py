"""Judging of recorded answers by what the models themselves say of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.contracts import Backend
from harness.data import Completion, Token
from harness.engine.asked import Asked
from harness.errors import EpisodeError
from harness.records import CallRecord, ReadRecord
from harness.verify.answers import COARSE_TOLERANCE, TOLERANCE
from harness.verify.report import Check
from harness.verify.scores import Scores

AUDIT = "the models give the answers of the trace"
MOST_ASKED = 5
"""Answers of an entry that are found wrong before no more of it are asked again."""


def tolerance_of(model: Backend) -> float:
    """Largest difference of a statistic, in nats, that the type of a model's computation explains."""
    exact = model.card().details.get("dtype") == "float32"
    return TOLERANCE if exact else COARSE_TOLERANCE


@dataclass(slots=True)
class Judgement:
    """What was found of an entry so far."""

    check: Check
    calls: int = 0
    """Calls that were judged."""
    largest_gap: float = 0.0
    asked_again: int = 0
    left_out: int = 0
    """Calls whose question is not known."""
    wrong: int = 0

    async def calls_in_order(self, several: Sequence[Asked], models: Mapping[str, Backend]) -> None:
        """Judge the calls of an episode whose models shared a cache, by asking all of them again in their order.

        Args:
            several: The calls and their questions, all of one session.
            models: The models by name, which share a cache likewise.
        """
        try:
            for asked in several:
                model = models[asked.call.model]
                try:
                    fresh = await model.generate(asked.request)
                except EpisodeError as error:
                    self.wrong += 1
                    self.check.problem(asked.where, f"asked again, it fails: {error}")
                    return
                if not asked.known and fresh.prompt_tokens != asked.call.prompt_tokens:
                    self.left_out += 1
                    return
                gap, problem = _compare_fresh(asked.call, fresh, tolerance_of(model))
                self.calls += asked.call.decoded_tokens > 0
                self.asked_again += 1
                self._note(asked, gap, problem)
        finally:
            for asked in several[:1]:
                for model in models.values():
                    model.release(asked.request.session)

    async def call(self, asked: Asked, scores: Scores, model: Backend) -> None:
        """Judge a call by its scores; where these do not settle it, ask the model again.

        Args:
            asked: The call and its question.
            scores: What the model says of the answer.
            model: The model.
        """
        tolerance, greedy = tolerance_of(model), asked.request.temperature == 0
        gap, problem = _compare(asked.call, scores, tolerance, greedy=greedy)
        # Scores tell whether a token is the first choice, not whether it was drawn; in 16 bits nothing tells that.
        drawn = not greedy and tolerance == TOLERANCE
        if (drawn or (problem and greedy)) and self.wrong < MOST_ASKED:
            self.asked_again += 1
            fresh = await _answer(asked, model)
            if isinstance(fresh, Completion):
                if not asked.known and fresh.prompt_tokens != asked.call.prompt_tokens:
                    self.left_out += 1
                    return
                gap, problem = _compare_fresh(asked.call, fresh, tolerance)
            else:
                problem = f"{problem}; asked again, {fresh}"
        elif problem and not greedy and scores is None:
            self.left_out += 1
            return
        self.calls += 1
        self._note(asked, gap, problem)

    async def reading(self, asked: Asked, model: Backend) -> None:
        """Judge what a call says of a reply that it read, by letting the model read it once more.

        Args:
            asked: The call and its question.
            model: The model.
        """
        if not asked.known:
            self.left_out += 1
        elif self.wrong < MOST_ASKED:
            fresh = await _answer(asked, model)
            gap, problem = (
                (0.0, fresh) if isinstance(fresh, str) else _compare_fresh(asked.call, fresh, tolerance_of(model))
            )
            self.calls += 1
            self.asked_again += 1
            self._note(asked, gap, problem)

    def _note(self, asked: Asked, gap: float, problem: str) -> None:
        self.largest_gap = max(self.largest_gap, gap)
        if problem:
            self.wrong += 1
            self.check.problem(asked.where, problem)


def _compare(call: CallRecord, scores: Scores, tolerance: float, *, greedy: bool) -> tuple[float, str]:
    """The largest difference of a statistic, and what is wrong with the answer; empty if nothing is."""
    if scores is None or len(scores) != call.decoded_tokens:
        return 0.0, f"{call.text!r} has other than {call.decoded_tokens} tokens"
    gap, problem = _gap(call, [scored.token for scored in scores], tolerance, repr(call.text))
    for place, scored in enumerate(scores):
        if greedy and scored.shortfall > tolerance:
            return gap, f"token {place} of {call.text!r} is {scored.shortfall:.4g} nats below the model's first choice"
    return gap, problem


def _compare_fresh(call: CallRecord, fresh: Completion, tolerance: float) -> tuple[float, str]:
    if (fresh.text, fresh.finish) != (call.text, call.finish):
        return 0.0, f"the model answers {fresh.text!r} ({fresh.finish}), the trace has {call.text!r} ({call.finish})"
    counts = (len(fresh.tokens), fresh.content_tokens), (call.decoded_tokens, call.content_tokens)
    if counts[0] != counts[1]:
        return 0.0, f"the model writes {call.text!r} in {counts[0]} tokens, the trace has {counts[1]}"
    if call.read is None:
        return _gap(call, fresh.tokens, tolerance, repr(call.text))
    if list(fresh.read_ends) != call.read.ends:
        return 0.0, f"the model reads {len(fresh.read)} tokens of a reply, the trace has {len(call.read.ends)}"
    return _gap(call.read, fresh.read, tolerance, "the reply that it read")


def _gap(
    statistics: CallRecord | ReadRecord, tokens: Sequence[Token], tolerance: float, where: str
) -> tuple[float, str]:
    largest, problem = 0.0, ""
    for name, recorded in (
        ("logprob", statistics.logprobs),
        ("entropy", statistics.entropies),
        ("margin", statistics.margins),
    ):
        for place, (token, theirs) in enumerate(zip(tokens, recorded, strict=True)):
            ours = getattr(token, name)
            gap = abs(ours - theirs)
            if not gap <= tolerance and not problem:
                problem = f"token {place} of {where} has {name} {ours}, the trace has {theirs}"
            largest = max(largest, gap)
    return largest, problem


async def _answer(asked: Asked, model: Backend) -> Completion | str:
    """The model's answer to the question, or why it gives none."""
    try:
        return await model.generate(asked.request)
    except EpisodeError as error:
        return f"it fails: {error}"
    finally:
        model.release(asked.request.session)
