"""Backend ``openai``: any endpoint that speaks OpenAI's API, such as a server of vLLM, llama.cpp or SGLang, or a host.

Such an endpoint says nothing of its weights, so the pool file does; and nothing of the time that its device took, so a
call's share is that of the time in which calls were in flight, the network's included.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from itertools import accumulate
from typing import Any

from aiolimiter import AsyncLimiter
from openai import APIConnectionError, APIStatusError, APITimeoutError, AsyncOpenAI, OpenAIError
from pydantic import Field

from harness.backends.served.shares import BusyClock, token_from_top
from harness.config import Strict, check
from harness.data import Completion, FinishReason, ModelCard, Prompt, Request, Timing, Token
from harness.errors import EpisodeError, MixrouteError, RunStopped
from harness.files import content_hash
from harness.pool import ModelSpec


class OpenAIOptions(Strict):
    """``options`` of a model with this backend. ``weights`` is the model's name at the endpoint."""

    base_url: str = Field(pattern="^https?://")
    api_key_env: str = "OPENAI_API_KEY"
    """Environment variable that holds the key; it may be unset where the endpoint asks for none."""
    parameters: int = Field(ge=1)
    """Of the model. With ``weight_bytes``, what its nominal cost is computed from."""
    weight_bytes: int = Field(ge=1)
    top_logprobs: int = Field(default=5, ge=1, le=20)
    """Likeliest tokens to ask for at each place; entropies are computed from them. 5 is what every endpoint gives."""
    timeout: float = Field(default=120.0, gt=0)
    """Seconds until a call is given up and tried again."""
    retries: int = Field(default=5, ge=0)
    """After a time-out, a lost connection, or the statuses 408, 409, 429 and 5xx; waits grow, or are what the endpoint
    asks for."""
    max_in_flight: int = Field(default=64, ge=1)
    requests_per_minute: int | None = Field(default=None, ge=1)
    extra_body: dict[str, Any] = Field(default_factory=dict)
    """Sent with every call, for what only this endpoint knows."""


class OpenAIBackend:
    """One model behind an endpoint.

    Raises:
        MixrouteError: wrong options, or a mode that an endpoint cannot promise.
    """

    def __init__(self, name: str, spec: ModelSpec, *, deterministic: bool) -> None:
        if deterministic:
            raise MixrouteError(
                f"model '{name}': an endpoint promises no answer that is the same whatever runs beside it: "
                "set 'mode: throughput' in the suite"
            )
        if not isinstance(spec.weights, str) or spec.adapter is not None:
            raise MixrouteError(f"model '{name}': with backend openai, 'weights' names the model at the endpoint")
        self._model = spec.weights
        self._options = options = check(spec.options, OpenAIOptions, f"options of model '{name}'")
        self._name = name
        self._clock = BusyClock()
        self._loop: asyncio.AbstractEventLoop | None = None
        told = {"weights": self._model, **options.model_dump(include={"base_url", "top_logprobs", "extra_body"})}
        self._card = ModelCard(
            model=name,
            parameters=options.parameters,
            weight_bytes=options.weight_bytes,
            bits=round(8 * options.weight_bytes / options.parameters, 3),
            fingerprint=content_hash([*told.items(), options.parameters, options.weight_bytes]),
            details={**told, "entropy": f"lower bound from the {options.top_logprobs} likeliest tokens"},
        )

    async def generate(self, request: Request) -> Completion:
        """Answer one request; see ``harness.contracts.Backend``."""
        if request.max_tokens == 0:
            raise RunStopped(f"model '{self._name}': an endpoint gives no hidden states; use a router that reads none")
        client = self._opened()
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
        return self._completion(answer, request, Timing(started - submitted, 0.0, share, latency))

    def release(self, session: str) -> None:
        """Nothing is held here."""

    def card(self) -> ModelCard:
        """What the pool file says of the model."""
        return self._card

    def close(self) -> None:
        """Nothing is held here."""

    def _opened(self) -> AsyncOpenAI:
        """The client of this event loop: connections do not outlive the loop that opened them."""
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
            # One at a time: a burst at the start would be what the endpoint refuses.
            self._limiter = None if rate is None else AsyncLimiter(1, 60 / rate)
        return self._client

    async def _call(self, client: AsyncOpenAI, request: Request) -> Mapping[str, Any]:
        """The endpoint's answer, with its tokens' statistics under ``tokens`` and ``top``."""
        common: dict[str, Any] = {
            "model": self._model,
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "seed": request.seed,
            "stop": list(request.stop) or None,
        }
        extra = dict(self._options.extra_body)
        if request.prompt.format == "plain":
            text = _joined(request.prompt) + request.continue_from
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

    def _completion(self, answer: Mapping[str, Any], request: Request, timing: Timing) -> Completion:
        choice, usage = answer["choices"][0], answer.get("usage") or {}
        text = choice["message"]["content"] if "message" in choice else choice["text"]
        text = text or ""
        spelled, tokens = _tokens(choice.get("logprobs") or {})
        if text and not tokens:
            raise RunStopped(f"model '{self._name}': the endpoint gives no log-probabilities: start it with them on")
        # The end of a turn is written and paid for, but some endpoints show nothing of it.
        tokens += [Token(-1, 0.0, 0.0, 1.0)] * max(0, usage.get("completion_tokens", 0) - len(tokens))
        reached = list(accumulate(map(len, spelled)))
        content = next((count for count, length in enumerate(reached, 1) if length >= len(text)), len(spelled))
        finish: FinishReason = "length" if choice.get("finish_reason") == "length" else "stop"
        details = usage.get("prompt_tokens_details") or {}
        prompt_tokens = usage.get("prompt_tokens", 0)
        return Completion(
            model=self._name,
            text=text,
            tokens=tuple(tokens),
            content_tokens=content if text else 0,
            finish=finish,
            prompt_tokens=prompt_tokens,
            cached_tokens=min(prompt_tokens, details.get("cached_tokens") or 0),
            timing=timing,
        )

    def _failure(self, error: OpenAIError) -> Exception:
        """An episode's own fault ends it; a fault that the next call would meet too ends the run."""
        where = f"model '{self._name}' at {self._options.base_url}"
        said = " ".join(str(error).split())[:300]
        if isinstance(error, APIStatusError) and error.status_code in (401, 403):
            return RunStopped(f"{where} refuses the key in ${self._options.api_key_env}: {said}")
        if isinstance(error, APIStatusError) and error.status_code == 404:
            return RunStopped(f"{where}: no model '{self._model}' there: {said}")
        if isinstance(error, APIConnectionError) and not isinstance(error, APITimeoutError):
            return RunStopped(f"{where} cannot be reached after {self._options.retries + 1} tries: {said}")
        return EpisodeError(f"{where} failed: {said}")


def _joined(prompt: Prompt) -> str:
    return "".join(message.content for message in prompt.messages)


def _tokens(logprobs: Mapping[str, Any]) -> tuple[list[str], list[Token]]:
    """The texts of the tokens and their statistics, of a chat's answer or of a plain one."""
    if logprobs.get("content"):
        found = [
            (one["token"], one["logprob"], [other["logprob"] for other in one["top_logprobs"]])
            for one in logprobs["content"]
        ]
    else:
        tops = logprobs.get("top_logprobs") or []
        texts, own = logprobs.get("tokens") or [], logprobs.get("token_logprobs") or []
        found = [
            (text, logprob, list((top or {}).values())) for text, logprob, top in zip(texts, own, tops, strict=True)
        ]
    return [text for text, _, _ in found], [token_from_top(-1, logprob, top) for _, logprob, top in found]
