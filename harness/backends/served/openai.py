"""Backend ``openai``: any endpoint that speaks OpenAI's API, such as a server of vLLM, llama.cpp or SGLang, or a host.

Such an endpoint does not tell the size of its weights, so the pool file does; nor the time that its device took, so a
call is given its share of the time in which calls were in flight, the network's included. This module does not import
``openai``, so that the backend can be described where that is not installed.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import Any

from harness.backends.served.options import OpenAIOptions
from harness.backends.served.shares import token_from_top
from harness.config import check
from harness.contracts import BackendTraits
from harness.data import Completion, FinishReason, ModelCard, Request, Timing, Token
from harness.errors import MixrouteError, RunStopped
from harness.files import content_hash
from harness.pool import ModelSpec


class OpenAIBackend(BackendTraits):
    """One model behind an endpoint.

    Raises:
        MixrouteError: wrong options, or a mode that an endpoint cannot promise.
    """

    required_packages = ("openai", "aiolimiter")
    install_hint = "pip install 'mixroute[openai]'"

    def __init__(self, name: str, spec: ModelSpec, *, deterministic: bool) -> None:
        if deterministic:
            raise MixrouteError(
                f"model '{name}': an endpoint does not promise the same answer whatever runs beside it: set "
                "'mode: throughput' in the suite"
            )
        if not isinstance(spec.weights, str) or spec.adapter is not None:
            raise MixrouteError(f"model '{name}': with backend openai, 'weights' names the model at the endpoint")
        options = check(spec.options, OpenAIOptions, f"options of model '{name}'")
        from harness.backends.served.endpoint import Endpoint

        self._name = name
        self._endpoint = Endpoint(name, spec.weights, options)
        run_as = {"weights": spec.weights, **options.model_dump(include={"base_url", "top_logprobs", "extra_body"})}
        self._card = ModelCard(
            model=name,
            parameters=options.parameters,
            weight_bytes=options.weight_bytes,
            bits=round(8 * options.weight_bytes / options.parameters, 3),
            fingerprint=content_hash([*run_as.items(), options.parameters, options.weight_bytes]),
            details={**run_as, "entropy": f"lower bound from the {options.top_logprobs} likeliest tokens"},
        )

    async def generate(self, request: Request) -> Completion:
        """Answer one request; see ``harness.contracts.Backend``."""
        if request.max_tokens == 0:
            raise RunStopped(f"model '{self._name}': an endpoint gives no hidden states; use a router that reads none")
        answer, timing = await self._endpoint.ask(request)
        return self._completion(answer, timing)

    def release(self, session: str) -> None:
        """Nothing is held here."""

    def card(self) -> ModelCard:
        """Facts about the model, from the pool file."""
        return self._card

    def close(self) -> None:
        """Nothing is held here."""

    def _completion(self, answer: Mapping[str, Any], timing: Timing) -> Completion:
        choice, usage = answer["choices"][0], answer.get("usage") or {}
        text = choice["message"]["content"] if "message" in choice else choice["text"]
        text = text or ""
        texts, tokens = _tokens(choice.get("logprobs") or {})
        if text and not tokens:
            raise RunStopped(f"model '{self._name}': the endpoint gives no log-probabilities: start it with them on")
        # The token that ends a turn is decoded and charged, but some endpoints do not list it.
        tokens += [Token(-1, 0.0, 0.0, 1.0)] * max(0, usage.get("completion_tokens", 0) - len(tokens))
        reached = list(accumulate(map(len, texts)))
        content = next((count for count, length in enumerate(reached, 1) if length >= len(text)), len(texts))
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


def _tokens(logprobs: Mapping[str, Any]) -> tuple[list[str], list[Token]]:
    """Texts of the tokens and their statistics, from the answer of either API."""
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
