"""What an endpoint's error means for the call, the episode and the run."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from harness.text import one_line

_EXHAUSTED = re.compile(
    r"insufficient[_ -]?(quota|credit|balance|fund)|exceeded your current quota|out of credit|billing|payment required|"
    r"not enough (credit|balance|quota)|quota[_ ]exhausted|negative balance",
    re.IGNORECASE,
)
_REFUSED_PARAMETER = re.compile(
    r"unsupported[_ ](parameter|value)|unknown[_ ]parameter|unrecognized (request )?(argument|parameter|key)|"
    r"extra[_ ]forbidden|extra (inputs|fields) (are )?not permitted|"
    r"\b(logprobs?|top_logprobs|temperature|seed|stop|max_tokens|max_completion_tokens|model)\b.{0,40}"
    r"\b(not supported|unsupported|not allowed|not available|deprecated|does not support|must be)\b|"
    r"(does not|doesn't|not) support.{0,40}\b(logprobs?|top_logprobs|temperature|seed|stop|max_tokens)\b",
    re.IGNORECASE,
)
_STATUS_OF = (
    ("rate_limit", 429),
    ("too_many_requests", 429),
    ("timeout", 408),
    ("insufficient", 402),
    ("authentication", 401),
    ("permission", 403),
    ("not_found", 404),
    ("invalid_request", 400),
    ("context_length", 400),
    ("unsupported", 400),
    ("overloaded", 503),
    ("unavailable", 503),
)
"""Statuses of the names that providers give to errors, for those that come without a number."""

RETRIED = (408, 409, 425, 429)
"""Statuses below 500 that may pass."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An endpoint's error, whether it came as a status or within an answer of status 200."""

    status: int
    message: str
    code: str = ""
    parameter: str = ""
    retry_after: float | None = None
    """Seconds that the endpoint asks to wait."""
    may_retry: bool | None = None
    """The endpoint's word on whether to try again, if it gives one."""

    @property
    def passes(self) -> bool:
        """Whether the same call may succeed later."""
        if self.exhausted:
            return False
        return (self.status in RETRIED or self.status >= 500) if self.may_retry is None else self.may_retry

    @property
    def exhausted(self) -> bool:
        """Whether there is no credit left."""
        if self.status not in (403, 429):
            return self.status == 402
        # Some hosts word a limit of a minute like an empty account, but then say how long to wait.
        told = self.code if self.retry_after is not None else f"{self.code} {self.message}"
        return _EXHAUSTED.search(told) is not None

    @property
    def wants_max_completion_tokens(self) -> bool:
        """Whether the limit of the answer must have its other name."""
        asks = "max_completion_tokens" in self.message and "max_tokens" in self.message
        refused = self.parameter == "max_tokens" or re.search(r"\bmax_tokens\b", self.message) is not None
        return self.status in (400, 422) and (asks or (refused and self._unsupported))

    @property
    def is_moderated(self) -> bool:
        """Whether a filter refused this one prompt."""
        return (
            re.search(r"moderation|flagged|content[_ ](filter|policy)", f"{self.code} {self.message}", re.I) is not None
        )

    @property
    def limits_stops(self) -> bool:
        """Whether there are more stop strings than the endpoint takes."""
        about = self.parameter.partition("[")[0] == "stop" or re.search(r"\bstop\b|stop[_ ]?sequences?", self.message)
        much = re.search(r"too (long|many)|at most|maximum|up to|max(imum)? length|more than", self.message, re.I)
        return self.status in (400, 422) and bool(about and much)

    @property
    def refuses_seed(self) -> bool:
        """Whether the endpoint takes no seed."""
        about = self.parameter == "seed" or re.search(r"\bseed\b", self.message)
        return self.status in (400, 422) and bool(about) and self._unsupported

    @property
    def refuses_parameter(self) -> bool:
        """Whether every call would be refused for what it asks, such as log-probabilities."""
        return self.status in (400, 422, 501) and self._unsupported and not self.is_too_long

    @property
    def is_too_long(self) -> bool:
        """Whether this one prompt is too long."""
        return re.search(r"context|too long|prompt|input (is|length)", f"{self.code} {self.message}", re.I) is not None

    @property
    def _unsupported(self) -> bool:
        return _REFUSED_PARAMETER.search(f"{self.code} {self.message}") is not None


def refusal_in(content: object, status: int = 0, headers: Mapping[str, str] | None = None) -> Refusal | None:
    """The error that a decoded answer states, if it states one.

    Args:
        content: The decoded answer.
        status: Its status; 0 if that was a success, and the error itself must tell.
        headers: Its headers.
    """
    if not isinstance(content, dict):
        return None
    choices = content.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    found = content.get("error") or (first.get("error") if isinstance(first, dict) else None)
    if not found and content.get("object") == "error":
        found = content
    if not found and status:
        found = content.get("detail") or content.get("message") or content.get("errors")
    if not found:
        return None
    fields: dict[str, Any] = found if isinstance(found, dict) else {"message": found}
    nested = fields.get("metadata")
    raw = nested.get("raw") if isinstance(nested, dict) else None
    names = " ".join(str(fields[key]) for key in ("code", "type", "status") if isinstance(fields.get(key), str))
    message = " ".join(str(one) for one in (fields.get("message") or fields.get("detail") or found, raw) if one)
    number = status or _status(fields, names)
    parameter = fields.get("param")
    return refusal(number, message, headers, code=names, parameter=parameter if isinstance(parameter, str) else "")


def refusal(
    status: int, message: str, headers: Mapping[str, str] | None = None, *, code: str = "", parameter: str = ""
) -> Refusal:
    """An error with what its headers say of trying again."""
    told = headers or {}
    word = {"true": True, "false": False}.get(told.get("x-should-retry", "").lower())
    return Refusal(status, one_line(message), code, parameter, _retry_after(told), word)


def _status(fields: Mapping[str, Any], names: str) -> int:
    """The status that an error within an answer states; one that states none may be the provider's failure."""
    for key in ("code", "status", "status_code"):
        value = str(fields.get(key, ""))
        if re.fullmatch(r"[45]\d\d", value):
            return int(value)
    return next((status for name, status in _STATUS_OF if name in names.lower()), 500)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    try:
        if "retry-after-ms" in headers:
            return float(headers["retry-after-ms"]) / 1000
        value = headers.get("retry-after", "")
        return (
            float(value) if value.replace(".", "").isdigit() else parsedate_to_datetime(value).timestamp() - time.time()
        )
    except (ValueError, TypeError):
        return None
