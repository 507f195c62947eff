"""Errors as OpenAI's API states them."""

from __future__ import annotations

from typing import Any

from harness.text import one_line


class ApiError(Exception):
    """A request that is not answered.

    Args:
        status: HTTP status.
        message: What is wrong, and what to do.
        kind: OpenAI's ``type``.
        parameter: The parameter that is wrong, if one is.
        code: OpenAI's ``code``.
        retry_after: Seconds after which the request may be answered.
    """

    def __init__(
        self,
        status: int,
        message: str,
        kind: str = "invalid_request_error",
        *,
        parameter: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        self._fields = {"type": kind, "param": parameter, "code": code}

    @property
    def body(self) -> dict[str, Any]:
        """The body of the response."""
        return {"error": {"message": one_line(self, 500), **self._fields}}


def wrong(message: str, parameter: str | None = None, code: str = "invalid_value") -> ApiError:
    """A request that asks for what cannot be."""
    return ApiError(400, message, parameter=parameter, code=code)


def failed(message: str) -> ApiError:
    """A request that was right, and that the router or a model failed to answer."""
    return ApiError(500, message, "server_error", code="internal_error")


def busy(message: str) -> ApiError:
    """A request that may be answered a little later."""
    return ApiError(429, message, "rate_limit_error", code="server_busy", retry_after=1)
