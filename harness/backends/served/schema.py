"""The one schema of an endpoint's answers, of both of OpenAI's interfaces; what it does not name is ignored."""

from __future__ import annotations

import json
from typing import Any

import msgspec

Number = int | float | None


class Likely(msgspec.Struct):
    """One of the likeliest tokens at a place."""

    logprob: float | None = None


class Listed(msgspec.Struct):
    """A decoded token of a chat."""

    token: str
    logprob: float | None = None
    bytes: list[int] | None = None
    top_logprobs: list[Likely] | None = None


class Logprobs(msgspec.Struct):
    """Tokens with their log-probabilities, as one of the two interfaces gives them; some servers mix them."""

    content: list[Listed] | None = None
    tokens: list[str] | None = None
    token_logprobs: list[float | None] | None = None
    top_logprobs: list[dict[str, float | None] | None] | None = None


class Part(msgspec.Struct):
    """A part of a message."""

    type: str = "text"
    text: str | None = None


class Message(msgspec.Struct):
    """The message of a chat's answer."""

    content: str | list[Part] | None = None
    refusal: str | None = None
    tool_calls: list[Any] | None = None

    @property
    def text(self) -> str:
        """The text, without parts that are thoughts."""
        if isinstance(self.content, list):
            return "".join(part.text or "" for part in self.content if part.type in ("text", "output_text"))
        return self.content or ""


class Choice(msgspec.Struct):
    """An answer."""

    message: Message | None = None
    text: str | None = None
    finish_reason: str | None = None
    logprobs: Logprobs | None = None


class PromptDetails(msgspec.Struct):
    """Details of the prompt's tokens."""

    cached_tokens: Number = None


class CompletionDetails(msgspec.Struct):
    """Details of the decoded tokens."""

    reasoning_tokens: Number = None


class Usage(msgspec.Struct):
    """Numbers of tokens."""

    prompt_tokens: Number = None
    completion_tokens: Number = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None


class Reply(msgspec.Struct):
    """A whole answer."""

    choices: list[Choice]
    usage: Usage | None = None


class NotAnswered(Exception):
    """What came is no completion; the message says what it is.

    Args:
        message: In our words.
        told: What of it is quoted after the message, in the endpoint's words, from which secrets are yet to be taken.
    """

    def __init__(self, message: str, told: str = "") -> None:
        super().__init__(message)
        self.told = told


class NoApi(NotAnswered):
    """What came is not of OpenAI's API."""


class CutOff(NotAnswered):
    """What came ends too early."""


def decoded_json(body: bytes) -> Any:  # noqa: ANN401 - JSON
    """The JSON of an answer; texts in it are Unicode, and numbers may be infinite or NaN.

    Raises:
        NoApi: it is a web page or other text.
        CutOff: it begins as an answer does.
    """
    text = body.decode("utf-8-sig", "replace").strip()
    if not text:
        raise CutOff("it is empty")
    if text.startswith("<"):
        raise NoApi("it is a web page")
    try:
        return _unicode(json.loads(text))
    except (ValueError, RecursionError) as error:
        if text.startswith("{"):
            if isinstance(error, json.JSONDecodeError):
                raise CutOff(f"its JSON is broken or cut off after {len(body):,} bytes") from error
            raise NotAnswered("its JSON is nested too deep, or has a number that is too long") from error
        raise NoApi("it is no JSON object", text) from error


def checked_reply(content: object) -> Reply:
    """An answer in the schema, with at least one choice.

    Raises:
        NoApi: it has no choices at all.
        NotAnswered: it is not in the schema.
    """
    if not isinstance(content, dict) or "choices" not in content:
        raise NoApi("it is JSON without 'choices'", ", ".join(content) if isinstance(content, dict) else "")
    try:
        reply = msgspec.convert(content, Reply)
    except (msgspec.ValidationError, ValueError, OverflowError, RecursionError) as error:
        raise NotAnswered(f"it is not in the form of a completion: {error}") from error
    if not reply.choices:
        raise NotAnswered("its list of choices is empty")
    return reply


def _unicode(content: Any) -> Any:  # noqa: ANN401 - JSON
    """``content`` with the replacement character for halves of surrogate pairs, which no file can hold."""
    if isinstance(content, str):
        return content if content.isascii() else content.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(content, list):
        return [_unicode(one) for one in content]
    if isinstance(content, dict):
        return {_unicode(key): _unicode(value) for key, value in content.items()}
    return content
