"""What models that run in a server or an engine of their own cannot be asked."""

from __future__ import annotations

from harness.data import Request
from harness.errors import RunStopped


def refuse_reading(model: str, server: str, request: Request) -> None:
    """Refuse a request to read and write nothing: it asks for a hidden state, or how likely a given reply is.

    Args:
        model: Name of the model in its pool.
        server: What runs it, as in ``an endpoint``.
        request: The request.

    Raises:
        RunStopped: it is such a request.
    """
    if request.max_tokens:
        return
    if request.continue_from:
        raise RunStopped(
            f"model '{model}': {server} does not say how likely a given reply is; use a router that reads none, or "
            "backend transformers (docs/backends.md)"
        )
    raise RunStopped(f"model '{model}': {server} gives no hidden states; use a router that reads none")
