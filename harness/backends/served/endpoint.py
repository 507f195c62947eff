"""Calls to an endpoint that speaks OpenAI's API: limits, retries, and what its failures mean."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, TypeVar

import httpx
from aiolimiter import AsyncLimiter

from harness.backends.served.options import OpenAIOptions
from harness.backends.served.questions import Question
from harness.backends.served.redaction import redacted, secrets_in, shown_url
from harness.backends.served.refusals import Refusal, refusal, refusal_in
from harness.backends.served.reply import NoStatistics
from harness.backends.served.schema import CutOff, NoApi, NotAnswered, Reply, checked_reply, decoded_json
from harness.backends.served.shares import BusyClock
from harness.data import Request, Timing
from harness.errors import EpisodeError, RunStopped
from harness.text import one_line, quoted

logging.getLogger("httpx").setLevel(logging.WARNING)  # it would log addresses, which may hold a key

T = TypeVar("T")

_MOST_BYTES = 1 << 20
_MOST_BYTES_A_TOKEN = 1 << 14
"""Most bytes of an answer, and more for each token that was asked for: one with its 20 likeliest takes about 3,000."""
_LONGEST_WAIT = 60.0
"""Seconds between tries; longer ones that an endpoint asks for are not kept to."""


class _Passing(Exception):
    """A failure that may pass; ``wait`` are the seconds that the endpoint asks to wait."""

    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


async def _closed_with_loop(client: httpx.AsyncClient) -> AsyncGenerator[None]:
    """Close ``client`` when this ends. ``asyncio.run`` ends all asynchronous generators before it closes its loop."""
    try:
        yield
    finally:
        await client.aclose()


class Endpoint:
    """One model of an endpoint, with retries and limits.

    Args:
        name: Of the model in its pool.
        weights: Of the model at the endpoint.
        options: Of the model.
    """

    def __init__(self, name: str, weights: str, options: OpenAIOptions) -> None:
        self._where = f"model '{name}' at {shown_url(options.base_url)}"
        self._weights = weights
        self._options = options
        self._key = os.environ.get(options.api_key_env) or ""
        self._secrets = secrets_in(options.base_url, options.extra_body, self._key)
        self._clock = BusyClock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._question = Question(weights, options)
        self._has_answered = False

    async def ask(self, request: Request, read: Callable[[Reply, int, Timing], T]) -> T:
        """What ``read`` makes of the endpoint's answer.

        Args:
            request: What to ask.
            read: Takes the answer, the most tokens that were asked for, and the call's share of the time in which calls
                were in flight.

        Raises:
            EpisodeError: the call failed, for a reason that may be its own.
            RunStopped: every other call would fail too.
        """
        client = await self._client_of_loop()
        submitted = time.perf_counter()
        async with self._slots:
            if self._limiter is not None:
                await self._limiter.acquire()
            started, began = time.perf_counter(), self._clock.begin()
            try:
                reply = await self._call(client, request)
            finally:
                self._clock.end()
            share = self._clock.read() - began
        timing = Timing(started - submitted, 0.0, share, time.perf_counter() - submitted)
        try:
            found = read(reply, self._question.limit(request), timing)
        except NotAnswered as error:
            raise self._no_completion(error) from error
        self._has_answered = True
        return found

    async def _client_of_loop(self) -> httpx.AsyncClient:
        """The client of this event loop, which is closed with it: a connection cannot outlive its loop."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            options = self._options
            self._loop = loop
            self._client = httpx.AsyncClient(
                headers={"Authorization": f"Bearer {self._key or 'none'}", "Accept": "application/json"},
                timeout=None,  # noqa: S113 - each call has its own, for all of it
                limits=httpx.Limits(max_connections=None),
                follow_redirects=True,
            )
            self._closer = _closed_with_loop(self._client)
            self._slots = asyncio.Semaphore(options.max_in_flight)
            rate = options.requests_per_minute
            # One at a time: an endpoint would refuse a burst at the start.
            self._limiter = None if rate is None else AsyncLimiter(1, 60 / rate)
            await anext(self._closer)  # does not wait, so no other call comes in between
        return self._client

    async def _call(self, client: httpx.AsyncClient, request: Request) -> Reply:
        """The endpoint's answer, after as many tries as are allowed."""
        tries = 0
        while True:
            try:
                url, body = self._question.of(request)
                async with asyncio.timeout(self._options.timeout):
                    answer = await self._post(client, url, body, self._question.limit(request))
                if not isinstance(answer, Refusal):
                    return answer
                self._question.adapt(answer, request)
                if self._question.of(request) != (url, body):  # perhaps as another call was refused
                    continue
                failure: Exception = self._failure(answer)
                wait = answer.retry_after
                passes = answer.passes
            except NotAnswered as error:
                failure, wait, passes = self._no_completion(error), None, isinstance(error, CutOff)
            except TimeoutError:
                message = f"the call timed out after {self._options.timeout:g} s (option timeout)"
                failure, wait, passes = self._episode(message), None, True
            except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
                failure, wait, passes = self._unreachable(error), None, not isinstance(error, httpx.InvalidURL)
            tries += 1
            if not passes or tries > self._options.retries:
                raise failure
            # As OpenAI's own client waits.
            pause = min(8.0, 0.5 * 2 ** (tries - 1)) * (1 - 0.25 * random.random())  # noqa: S311 - no secret
            await asyncio.sleep(wait if wait is not None and 0 <= wait <= _LONGEST_WAIT else pause)

    async def _post(
        self, client: httpx.AsyncClient, url: httpx.URL, body: Mapping[str, Any], limit: int
    ) -> Reply | Refusal:
        most = _MOST_BYTES + _MOST_BYTES_A_TOKEN * limit
        async with client.stream("POST", url, json=body) as response:
            found = bytearray()
            async for chunk in response.aiter_bytes(1 << 16):
                found += chunk
                if len(found) > most and response.is_success:
                    raise NotAnswered(f"it has more than {most:,} bytes")
                if len(found) > most:  # its status says what it means
                    break
        status = response.status_code
        if response.is_success:
            content = decoded_json(bytes(found))
            return refusal_in(content, headers=response.headers) or checked_reply(content)
        try:
            content = decoded_json(bytes(found))
        except NotAnswered as error:
            if isinstance(error, NoApi) and status in (301, 302, 303, 307, 308, 404, 405):
                raise
            content = {}
        stated = refusal_in(content, status, response.headers)
        return stated or refusal(status, found[:300].decode("utf-8", "replace"), response.headers)

    def _failure(self, error: Refusal) -> Exception:
        """The error to raise: it ends the run where the next call would fail too, else only the episode."""
        where, message = self._where, f"{error.status} {self._theirs(error.message)}"
        if error.exhausted:
            return RunStopped(f"{where} has no credit left: {message}")
        if error.status in (401, 403) and not error.is_moderated:
            return RunStopped(f"{where} refuses the key in ${self._options.api_key_env}: {message}")
        if error.status == 404:
            return RunStopped(f"{where}: no model '{self._weights}' there (is base_url right?): {message}")
        if error.status in (405, 501):
            return RunStopped(f"{where} takes no completions (is base_url right?): {message}")
        if error.refuses_parameter:
            return RunStopped(f"{where} refuses what every call asks for; 'extra_body' can replace it: {message}")
        return self._episode(message)

    def _no_completion(self, error: NotAnswered) -> Exception:
        """What an answer that is none means. One that has answered before has the right address."""
        message = f"{error}: {quoted(self._theirs(error.told), 200)}" if error.told else str(error)
        if isinstance(error, NoApi) and not self._has_answered:
            return RunStopped(f"{self._where} does not answer with a completion: {message}: is base_url right?")
        if isinstance(error, NoStatistics) and not self._has_answered:
            return RunStopped(f"{self._where}: {message}")
        return self._episode(f"the answer is no completion: {message}")

    def _unreachable(self, error: Exception) -> Exception:
        message = self._theirs(str(error)) or type(error).__name__
        if isinstance(error, httpx.ConnectError | httpx.UnsupportedProtocol | httpx.InvalidURL):
            return RunStopped(f"{self._where} cannot be reached after {self._options.retries + 1} tries: {message}")
        return self._episode(message)

    def _episode(self, message: str) -> EpisodeError:
        return EpisodeError(f"{self._where} failed: {message}")

    def _theirs(self, text: str) -> str:
        """What the endpoint or the network says, on one line and without secrets. Our own words need neither."""
        return one_line(redacted(text, self._secrets))
