"""What is sent to an endpoint, in the form that this endpoint takes."""

from __future__ import annotations

import logging
from typing import Any

import httpx

from harness.backends.served.options import OpenAIOptions
from harness.backends.served.redaction import shown_url
from harness.backends.served.refusals import Refusal
from harness.data import Request

log = logging.getLogger(__name__)

_MOST_STOPS = 4
"""Most stop strings that OpenAI's own endpoint takes."""
_SEEDS = 1 << 63
"""Seeds are signed numbers of 64 bits at most endpoints."""


class Question:
    """The body of a call; ``adapt`` learns from refusals what the endpoint takes.

    Args:
        weights: Name of the model at the endpoint.
        options: Of the model.
    """

    def __init__(self, weights: str, options: OpenAIOptions) -> None:
        self._weights = weights
        self._options = options
        self._base = httpx.URL(options.base_url)
        self._limit_name = "max_tokens"
        self._most_stops: int | None = None
        self._sends_seed = True

    def of(self, request: Request) -> tuple[httpx.URL, dict[str, Any]]:
        """Address and body of a call."""
        options = self._options
        body: dict[str, Any] = {
            "model": self._weights,
            self._limit_name: request.max_tokens,
            "temperature": request.temperature,
            "stop": list(request.stop[: self._most_stops]) or None,
        }
        if self._sends_seed:
            body["seed"] = request.seed % _SEEDS
        if request.prompt.format == "plain":
            text = "".join(message.content for message in request.prompt.messages) + request.continue_from
            asked = {"prompt": text, "logprobs": options.top_logprobs}
            return self._address("completions"), {**body, **asked, **options.extra_body}
        messages = [{"role": message.role, "content": message.content} for message in request.prompt.messages]
        asked = {"messages": messages, "logprobs": True, "top_logprobs": options.top_logprobs}
        extra = dict(options.extra_body)
        if request.prompt.template_arguments:
            known = extra.get("chat_template_kwargs")
            arguments = dict(known if isinstance(known, dict) else {}) | dict(request.prompt.template_arguments)
            extra["chat_template_kwargs"] = arguments
        if request.continue_from:
            messages.append({"role": "assistant", "content": request.continue_from})
            extra |= {"add_generation_prompt": False, "continue_final_message": True}
        return self._address("chat/completions"), {**body, **asked, **extra}

    def limit(self, request: Request) -> int:
        """Most tokens that a call asks for; ``extra_body`` may ask for more than the task."""
        own = [self._options.extra_body.get(name) for name in ("max_tokens", "max_completion_tokens")]
        return max([request.max_tokens, *(value for value in own if isinstance(value, int))])

    def adapt(self, refusal: Refusal, request: Request) -> None:
        """Change what is sent from now on so that it is no longer refused, where that changes no answer."""
        if refusal.wants_max_completion_tokens:
            self._limit_name = "max_completion_tokens"
        elif refusal.limits_stops and len(request.stop) > _MOST_STOPS:
            # The answer is cut at the others here; what was decoded behind them is charged.
            self._most_stops = _MOST_STOPS
        elif refusal.refuses_seed and self._sends_seed:
            self._sends_seed = False
            log.warning("%s takes no seed: sampled answers cannot be repeated", shown_url(self._options.base_url))

    def _address(self, path: str) -> httpx.URL:
        return self._base.copy_with(path=f"{self._base.path.rstrip('/')}/{path}")
