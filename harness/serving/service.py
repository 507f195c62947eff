"""What a server does, apart from HTTP: answers requests, keeps sessions, and records them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Mapping
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

from harness.contracts import Backend, ChecksPrompts
from harness.data import Prompt
from harness.engine.supervision import measuring_tasks
from harness.engine.threads import DAEMON_THREADS
from harness.engine.watchdog import Watchdog
from harness.errors import EpisodeError, MixrouteError, RunStopped
from harness.guard import Blocked, described
from harness.serving.errors import ApiError, failed, wrong
from harness.serving.gate import Gate
from harness.serving.metrics import Metrics
from harness.serving.offers import Offer
from harness.serving.recorder import SessionRecorder
from harness.serving.recording import EndedSession
from harness.serving.schema import OutcomeBody, Question
from harness.serving.sessions import Session, Sessions
from harness.serving.settings import Settings
from harness.serving.steps import Answer, journal_line, max_tokens_of, take_step
from harness.text import quoted

log = logging.getLogger(__name__)

T = TypeVar("T")

_LONGEST_PERIOD = 10.0
"""Seconds, at most, between two looks for sessions that are too old."""


class Service:
    """A router and its pool for clients.

    Args:
        settings: What is served, and within which limits.
        offers: The models that are offered, by name.
        models: The pool's models.
        recorder: The record of sessions; None for none.
    """

    def __init__(
        self,
        settings: Settings,
        offers: Mapping[str, Offer],
        models: Mapping[str, Backend],
        recorder: SessionRecorder | None,
    ) -> None:
        self.settings = settings
        self.offers = offers
        self.cards = {name: model.card() for name, model in models.items()}
        self._models = models
        self._recorder = recorder
        own = {offer.name for offer in offers.values()}
        names = {name: set() if recorder is None else recorder.names(name) for name in own}
        self._sessions: Sessions[Future[bool] | None] = Sessions(settings.sessions, names, self._record)
        self._gate = Gate(settings.running, settings.waiting)
        self.metrics = Metrics(lambda: len(self._sessions), lambda: self._gate.inside)

    async def start(self) -> None:
        """Begin, on the event loop that answers."""
        loop = asyncio.get_running_loop()
        loop.set_task_factory(measuring_tasks)
        loop.set_default_executor(DAEMON_THREADS)  # a router's threads may hang
        self._watchdog = Watchdog(self.settings.router_timeout, self.settings.model_timeout, self._models)
        self._sweeper = asyncio.ensure_future(self._sweep())

    async def stop(self) -> None:
        """End all sessions and wait until they are recorded.

        Raises:
            MixrouteError: they cannot be.
        """
        self._sweeper.cancel()
        self._watchdog.close()
        self._sessions.close_unused(time.monotonic())
        if self._recorder is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._recorder.close)

    @property
    def failure(self) -> asyncio.Future[RunStopped]:
        """Resolved with what keeps the server from answering, such as a router that hangs."""
        return self._watchdog.failure

    @property
    def trouble(self) -> str:
        """What is wrong with the server; empty if nothing is."""
        if self.failure.done():
            return str(self.failure.result())
        return self._recorder.trouble if self._recorder is not None else ""

    def offer(self, model: str) -> Offer:
        """What is offered under a name.

        Raises:
            ApiError: nothing is.
        """
        if model not in self.offers:
            message = f"there is no model {quoted(model)}: ask for one of {', '.join(self.offers)}"
            raise ApiError(404, message, parameter="model", code="model_not_found")
        return self.offers[model]

    async def answer(self, question: Question, key: str | None) -> Answer:
        """Answer a request.

        Args:
            question: The request.
            key: What its client calls the session; None where the conversation says which it is.

        Raises:
            ApiError: it has no answer.
        """
        offer = self.offer(question.model)
        if max_tokens_of(question, self.settings) > self.settings.longest:
            raise wrong(f"max_tokens is {self.settings.longest} at most", "max_tokens")
        began = time.perf_counter()
        with self._gate.entered():
            while True:
                session = self._sessions.enter(offer, key, question.conversation)
                try:
                    async with session.lock, self._gate.slots:
                        if not session.closed:  # while the request waited
                            self.metrics.turn(time.perf_counter() - began)
                            return await self._answer_in(session, question)
                finally:
                    self._sessions.leave(session)

    async def judge(self, key: str, outcome: OutcomeBody) -> bool:
        """End a session, as its client judges it; returns whether it is on the disk.

        Raises:
            ApiError: there is no such session.
        """
        success = outcome.score >= 1 if outcome.success is None else outcome.success
        offer = None if outcome.model is None else self.offer(outcome.model)
        while True:
            session = self._sessions.find(key, offer)
            async with session.lock:
                if not session.closed:  # while its last request was answered
                    recorded = self._sessions.close(session, outcome.score, success=success)
                    break
        return recorded is not None and await asyncio.wrap_future(recorded)

    async def _answer_in(self, session: Session, question: Question) -> Answer:
        try:
            return await self._unless_failed(self._take_step(session, question))
        except ApiError:
            raise
        except (Exception, Blocked) as error:
            prompt = question.conversation.prompt(session.last_reply)
            if refusal := self._refusal(prompt, max_tokens_of(question, self.settings)):
                long = "context" in refusal
                code = "context_length_exceeded" if long else "invalid_prompt"
                raise wrong(refusal, "messages", code) from error
            log.warning("a request of model '%s' failed: %s", question.model, described(error))
            raise failed(described(error)) from error

    async def _take_step(self, session: Session, question: Question) -> Answer:
        answer = await take_step(session, question, self.settings, self._watchdog)
        # Nothing is awaited from the step to its line in the journal, so that none is without one.
        line = journal_line(session)
        session.size += len(line)
        if self._recorder is not None:
            self._recorder.note(session.offer.name, session.live.instance.id, line)
        self.metrics.answer(answer)
        return answer

    def _refusal(self, prompt: Prompt, max_tokens: int) -> str:
        """Why a model cannot read a prompt; empty where all that can tell do."""
        for model in self._models.values():
            if isinstance(model, ChecksPrompts):
                try:
                    model.check_prompt(prompt, max_tokens)
                except (MixrouteError, EpisodeError) as error:
                    return str(error)
        return ""

    async def _unless_failed(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of ``work``, unless the server fails meanwhile."""
        task = asyncio.ensure_future(work)
        try:
            either: set[asyncio.Future[Any]] = {task, self.failure}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise self.failure.result()
            return task.result()
        finally:
            if not task.done():
                task.cancel()
                with suppress(asyncio.CancelledError, Exception, Blocked):
                    await task

    def _record(self, session: Session, ended: EndedSession | None) -> Future[bool] | None:
        """Record a session that is over."""
        if self._recorder is None or ended is None:
            return None
        return self._recorder.record(session.offer.name, ended)

    async def _sweep(self) -> None:
        """Close sessions that are too old."""
        age = self.settings.session_age
        while True:
            await asyncio.sleep(min(_LONGEST_PERIOD, age / 4))
            self._sessions.close_unused(time.monotonic() - age)
            if self._recorder is not None and self._recorder.trouble:
                self._recorder.try_again()
