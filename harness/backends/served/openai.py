"""Backend ``openai``: any endpoint that speaks OpenAI's API, such as a server of vLLM, llama.cpp or SGLang, or a host.

Such an endpoint does not tell the size of its weights, so the pool file does; nor the time that its device took, so a
call is given its share of the time in which calls were in flight, the network's included. This module does not import
what the backend needs, so that it can be described where that is not installed.
"""

from __future__ import annotations

from harness.backends.served.limits import refuse_reading
from harness.backends.served.options import OpenAIOptions
from harness.backends.served.redaction import shown_url, shown_values
from harness.config import check
from harness.contracts import BackendTraits
from harness.data import Completion, ModelCard, Request
from harness.errors import MixrouteError
from harness.files import content_hash
from harness.pool import ModelSpec


class OpenAIBackend(BackendTraits):
    """One model behind an endpoint.

    Raises:
        MixrouteError: wrong options, or a mode that an endpoint cannot promise.
    """

    required_packages = ("aiolimiter", "httpx")
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
        from harness.backends.served.reply import completion_of

        self._name = name
        self._endpoint = Endpoint(name, spec.weights, options)
        self._read = completion_of
        run_as = {"weights": spec.weights, **options.model_dump(include={"base_url", "top_logprobs", "extra_body"})}
        shown = {"base_url": shown_url(options.base_url), "extra_body": shown_values(options.extra_body)}
        self._card = ModelCard(
            model=name,
            parameters=options.parameters,
            weight_bytes=options.weight_bytes,
            bits=round(8 * options.weight_bytes / options.parameters, 3),
            # A key or password in the address is no part of the identity, and cannot be guessed from it.
            fingerprint=content_hash(
                [*{**run_as, "base_url": shown["base_url"]}.items(), options.parameters, options.weight_bytes]
            ),
            details={**run_as, **shown, "entropy": f"lower bound from the {options.top_logprobs} likeliest tokens"},
        )

    async def generate(self, request: Request) -> Completion:
        """Answer one request; see ``harness.contracts.Backend``."""
        refuse_reading(self._name, "an endpoint", request)
        return await self._endpoint.ask(
            request, lambda reply, limit, timing: self._read(self._name, reply, request, limit, timing)
        )

    def release(self, session: str) -> None:
        """Nothing: the endpoint is not told of sessions."""

    def card(self) -> ModelCard:
        """Facts about the model, from the pool file."""
        return self._card

    def close(self) -> None:
        """Nothing: connections are closed at the end of the event loop that opened them."""
