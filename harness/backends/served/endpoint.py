"""Calls to an endpoint that speaks OpenAI's API. The only module that imports ``openai``."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from typing import Any

from aiolimiter import AsyncLimiter
from openai import APIConnectionError, APIStatusError, APITimeoutError, AsyncOpenAI, OpenAIError

from harness.backends.served.options import OpenAIOptions
from harness.backends.served.shares import BusyClock
from harness.data import Request, Timing
from harness.errors import EpisodeError, RunStopped


class Endpoint:
    """One model of an endpoint, with retries and limits.

    Args:
        name: Of the model in its pool.
        weights: Of the model at the endpoint.
        options: Of the model.
    """

    def __init__(self, name: str, weights: str, options: OpenAIOptions) -> None:
        self._where = f"model '{name}' at {options.base_url}"
        self._weights = weights
        self._options = options
        self._clock = BusyClock()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def ask(self, request: Request) -> tuple[Mapping[str, Any], Timing]:
        """The endpoint's answer, and the call's share of the time in which calls were in flight.

        Raises:
            EpisodeError: the call failed, for a reason that may be its own.
            RunStopped: every other call would fail too.
        """
        client = self._client_of_loop()
        submitted = time.perf_counter()
        async with self._slots:
            if self._limiter is not None:
                await self._limiter.acquire()
            started, began = time.perf_counter(), self._clock.begin()
            try:
                answer = await self._call(client, request)
            except OpenAIError as error:
                raise self._failure(error) from error
            finally:
                self._clock.end()
            share = self._clock.read() - began
        latency = time.perf_counter() - submitted
        return answer, Timing(started - submitted, 0.0, share, latency)

    def _client_of_loop(self) -> AsyncOpenAI:
        """The client of this event loop: a connection ends with the loop that opened it."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            options = self._options
            self._loop = loop
            self._client = AsyncOpenAI(
                base_url=options.base_url,
                api_key=os.environ.get(options.api_key_env) or "none",
                timeout=options.timeout,
                max_retries=options.retries,
            )
            self._slots = asyncio.Semaphore(options.max_in_flight)
            rate = options.requests_per_minute
            # One at a time: an endpoint would refuse a burst at the start.
            self._limiter = None if rate is None else AsyncLimiter(1, 60 / rate)
        return self._client

    async def _call(self, client: AsyncOpenAI, request: Request) -> Mapping[str, Any]:
        common: dict[str, Any] = {
            "model": self._weights,
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "seed": request.seed,
            "stop": list(request.stop) or None,
        }
        extra = dict(self._options.extra_body)
        if request.prompt.format == "plain":
            text = "".join(message.content for message in request.prompt.messages) + request.continue_from
            done = await client.completions.create(
                prompt=text, logprobs=self._options.top_logprobs, extra_body=extra, **common
            )
            return dict(done.model_dump())
        messages: list[Any] = [
            {"role": message.role, "content": message.content} for message in request.prompt.messages
        ]
        if request.continue_from:
            messages.append({"role": "assistant", "content": request.continue_from})
            extra |= {"add_generation_prompt": False, "continue_final_message": True}
        answer = await client.chat.completions.create(
            messages=messages, logprobs=True, top_logprobs=self._options.top_logprobs, extra_body=extra, **common
        )
        return dict(answer.model_dump())

    def _failure(self, error: OpenAIError) -> Exception:
        """The error to raise: it ends the run where the next call would fail too, else only the episode."""
        where, message = self._where, " ".join(str(error).split())[:300]
        if isinstance(error, APIStatusError) and error.status_code in (401, 403):
            return RunStopped(f"{where} refuses the key in ${self._options.api_key_env}: {message}")
        if isinstance(error, APIStatusError) and error.status_code == 404:
            return RunStopped(f"{where}: no model '{self._weights}' there: {message}")
        if isinstance(error, APIConnectionError) and not isinstance(error, APITimeoutError):
            return RunStopped(f"{where} cannot be reached after {self._options.retries + 1} tries: {message}")
        return EpisodeError(f"{where} failed: {message}")
