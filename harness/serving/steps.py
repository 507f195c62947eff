"""The step of a request: the engine's own, with the client's conversation in place of a task's prompt."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

import msgspec

from harness.data import Completion, Observation, Turn
from harness.engine.answering import StepInPlay
from harness.engine.environment import printable
from harness.engine.episode import StepResult
from harness.engine.watchdog import Watchdog
from harness.guard import described
from harness.records import StepRecord
from harness.seeding import seed_for
from harness.serving.conversations import LastReply, observed
from harness.serving.offers import ServedTask
from harness.serving.recording import OpenStep
from harness.serving.schema import Question
from harness.serving.sessions import Session
from harness.serving.settings import Settings


@dataclass(frozen=True, slots=True)
class Answer:
    """A request's answer."""

    model: str
    """The model that was asked for."""
    session: str
    index: int
    """Number of the step."""
    completion: Completion
    step: StepRecord


def max_tokens_of(question: Question, settings: Settings) -> int:
    """Most tokens of the answer."""
    return settings.max_tokens if question.max_tokens is None else question.max_tokens


async def take_step(session: Session, question: Question, settings: Settings, watchdog: Watchdog) -> Answer:
    """Let the router answer a request, as the next step of its session.

    A request that fails is no step: what its calls cost is charged to the step that is asked for next.

    Raises:
        RunStopped: the router broke its contract, or a model cannot answer any call.
        Exception: whatever else the router or a model raises.
    """
    live, offer = session.live, session.offer
    prompt = question.conversation.prompt(session.last_reply)
    shown = session.asked = Observation(observed(prompt))
    task = ServedTask(offer.play.task.name, question.stop, max_tokens_of(question, settings))
    temperature = settings.temperature if question.temperature is None else question.temperature
    seed = None if question.seed is None else seed_for(question.seed, "sampling")
    play = replace(offer.play, task=task, temperature=temperature)
    playing = StepInPlay.after(live, shown, prompt, play, watchdog, seed)
    try:
        answer = await playing.answer()
    except BaseException as error:
        if isinstance(error, asyncio.CancelledError):  # the client has gone: what still runs is of no use to anybody
            playing.calls.close()
        session.spent += await playing.end()
        session.spent_seconds += playing.supervised.own_seconds
        session.failure = printable(described(error))
        if playing.calls.violation:
            raise playing.calls.violation from error
        raise
    calls = [*session.spent, *await playing.end()]
    seconds = session.spent_seconds + playing.supervised.own_seconds
    result = StepResult(answer, task.parse_action(answer.text))
    live.record_step(shown, calls, result, dict(playing.step.scores), seconds)
    live.turns.append(Turn(shown, answer.text, result.action))
    session.spent, session.spent_seconds, session.failure = [], 0.0, ""
    session.last_reply = LastReply(question.conversation, prompt, answer.text, question.stop)
    return Answer(question.model, session.key, len(live.steps) - 1, answer, live.steps[-1])


def journal_line(session: Session) -> bytes:
    """The last step of a session, as the journal has it."""
    live = session.live
    return msgspec.json.encode(OpenStep(live.instance.id, live.steps[-1], live.timings[-1]))
