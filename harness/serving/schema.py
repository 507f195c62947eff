"""Bodies of requests: which parameters are taken, and which values of the others change nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import Field, ValidationError

from harness.config import Strict
from harness.data import Message, Role
from harness.errors import MixrouteError, did_you_mean
from harness.json_files import decode_json
from harness.serving.conversations import Chat, Conversation, Text
from harness.serving.errors import ApiError, wrong
from harness.text import quoted

_MOST_STOPS = 16
_LONGEST_STOP = 200
_IGNORED = ("metadata", "prompt_cache_key", "safety_identifier", "service_tier", "store", "user")
"""Parameters that say nothing of the answer."""
_NEUTRAL: dict[str, tuple[object, ...]] = {
    "best_of": (1,),
    "echo": (False,),
    "frequency_penalty": (0,),
    "function_call": ("none", "auto"),
    "functions": ([],),
    "logit_bias": ({},),
    "logprobs": (False,),
    "modalities": (["text"],),
    "n": (1,),
    "parallel_tool_calls": (False, True),
    "presence_penalty": (0,),
    "response_format": ({"type": "text"},),
    "suffix": ("",),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "top_logprobs": (0,),
    "top_p": (1,),
}
"""Parameters that are not taken, with the values that change nothing."""

_ROLES: dict[str, Role] = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_OF_TOOLS = ("tool_calls", "function_call", "tool_call_id")


@dataclass(frozen=True, slots=True)
class Question:
    """A request, checked."""

    model: str
    conversation: Conversation
    stop: tuple[str, ...]
    max_tokens: int | None
    temperature: float | None
    seed: int | None
    stream: bool
    stream_usage: bool
    """Whether a stream ends with the usage."""


class _StreamOptions(Strict):
    include_usage: bool = False
    include_obfuscation: bool = False


class _Body(Strict):
    """What both interfaces take."""

    model: str
    stop: str | list[str] | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2)
    seed: int | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None

    def question(self, conversation: Conversation, max_tokens: int | None) -> Question:
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        if len(stop) > _MOST_STOPS or not all(0 < len(one) <= _LONGEST_STOP for one in stop):
            raise wrong(f"stop takes up to {_MOST_STOPS} texts of 1 to {_LONGEST_STOP} characters", "stop")
        usage = self.stream_options is not None and self.stream_options.include_usage
        return Question(
            model=self.model,
            conversation=conversation,
            stop=stop,
            max_tokens=max_tokens,
            temperature=self.temperature,
            seed=self.seed,
            stream=bool(self.stream),
            stream_usage=usage,
        )


class _ChatBody(_Body):
    messages: list[dict[str, Any]] = Field(min_length=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)


class _TextBody(_Body):
    prompt: str | list[Any]


class OutcomeBody(Strict):
    """How a session ended, as its client judges it."""

    score: float = Field(ge=-1e9, le=1e9)
    success: bool | None = None
    """By default whether the score is 1 or more."""
    model: str | None = None
    """The model that the session asked; needed only where sessions of several have one id."""


B = TypeVar("B", bound=Strict)


def chat_question(content: bytes) -> Question:
    """The request of ``/v1/chat/completions`` in a body.

    Raises:
        ApiError: it is none, or asks for what is not done here.
    """
    body = _checked(content, _ChatBody)
    limits = {one for one in (body.max_completion_tokens, body.max_tokens) if one is not None}
    if len(limits) > 1:
        raise wrong("max_tokens and max_completion_tokens differ: give one of them", "max_tokens")
    messages = tuple(_message(one, place) for place, one in enumerate(body.messages))
    return body.question(Chat(messages), next(iter(limits), None))


def text_question(content: bytes) -> Question:
    """The request of ``/v1/completions`` in a body; 16 tokens are the default there, as OpenAI's.

    Raises:
        ApiError: it is none, or asks for what is not done here.
    """
    body = _checked(content, _TextBody)
    prompt = body.prompt[0] if isinstance(body.prompt, list) and len(body.prompt) == 1 else body.prompt
    if not isinstance(prompt, str) or not prompt:
        raise wrong("prompt takes one text, and neither several nor tokens", "prompt")
    return body.question(Text(prompt), 16 if body.max_tokens is None else body.max_tokens)


def outcome_of(content: bytes) -> OutcomeBody:
    """The outcome of a session in a body.

    Raises:
        ApiError: it is none.
    """
    return _checked(content, OutcomeBody)


def _checked(content: bytes, kind: type[B]) -> B:
    try:
        found: dict[str, Any] = decode_json(content, dict[str, Any], "the body", "send an object")
    except MixrouteError as error:
        raise wrong(str(error), code="invalid_json") from error
    _refuse_others(found, kind)
    known = kind.model_fields
    given = {key: value for key, value in found.items() if key in known and value is not None}
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][:1])
        missing = first["type"] == "missing"
        shown = "" if missing else f" = {quoted(given.get(where))}"
        what = "is missing" if missing else first["msg"].removeprefix("Value error, ").lower()
        code = "missing_required_parameter" if missing else "invalid_value"
        raise wrong(f"{where}{shown}: {what}", where, code) from error


def _refuse_others(found: Mapping[str, Any], kind: type[Strict]) -> None:
    """Refuse parameters that are not taken, unless they change nothing."""
    for key, value in found.items():
        if key in kind.model_fields or key in _IGNORED or value is None:
            continue
        if key not in _NEUTRAL:
            hint = did_you_mean(key, kind.model_fields, "leave it out")
            raise wrong(f"unknown parameter {quoted(key)}: {hint}", key[:80], "unknown_parameter")
        if not any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in _NEUTRAL[key]):
            raise wrong(f"{key} = {quoted(value)} is not done here: leave it out", key, "unsupported_value")


def _message(given: Mapping[str, Any], place: int) -> Message:
    where = f"messages.{place}"
    role = given.get("role")
    if role in ("tool", "function") or any(given.get(key) for key in _OF_TOOLS):
        raise _unsupported(f"{where} is of a tool, and tools are not offered here", where)
    if not isinstance(role, str) or role not in _ROLES:
        raise wrong(f"{where}.role = {quoted(role)}: use one of {', '.join(_ROLES)}", f"{where}.role")
    return Message(_ROLES[role], _content(given.get("content"), f"{where}.content"))


def _content(given: object, where: str) -> str:
    """The text of a message, which may come in parts."""
    if isinstance(given, str):
        return given
    if not isinstance(given, list):
        raise wrong(f"{where} = {quoted(given)}: give a text", where)
    texts = []
    for part in given:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind != "text":
            raise _unsupported(f"{where} has a part of type {quoted(kind)}: only text is read here", where)
        texts.append(part.get("text"))
    if not all(isinstance(text, str) for text in texts):
        raise wrong(f"{where} has a part of type 'text' without a text", where)
    return "".join(texts)


def _unsupported(message: str, parameter: str) -> ApiError:
    return wrong(message, parameter, "unsupported_value")
