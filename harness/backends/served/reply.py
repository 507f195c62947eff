"""From an endpoint's checked answer to a completion: tokens aligned with the text, numbers that can be true."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeVar

from harness.backends.decoding import cut_at_stop
from harness.backends.served.alignment import ListedToken, find_text, token_texts
from harness.backends.served.schema import Choice, Logprobs, NotAnswered, Number, Reply, Usage
from harness.backends.served.shares import token_from_top
from harness.data import UNTOLD, Completion, FinishReason, Request, Timing, Token

T = TypeVar("T")

_MOST_HIDDEN = 1 << 17
"""Most tokens of thoughts that are charged beside the answer's own."""
_MOST_TEMPLATE = 100_000
"""Most prompt tokens that an endpoint may add to the bytes of the text that it was sent."""
_MOST_COUNTED = 1 << 40
"""As in ``harness.records.Count``."""
_FLOOR = -9999.0
"""Log-probability of a token that cannot occur; that of OpenAI's own endpoint."""


class NoStatistics(NotAnswered):
    """The endpoint gives no log-probabilities, or too few of them."""


@dataclass(frozen=True, slots=True)
class _Listed:
    """A listed token with its log-probability and those of the likeliest tokens at its place."""

    token: ListedToken
    logprob: float | None
    top: list[float | None] | None


def completion_of(model: str, reply: Reply, request: Request, limit: int, timing: Timing) -> Completion:
    """The completion that a reply holds.

    Args:
        model: Name of the model in its pool.
        reply: What the endpoint answered.
        request: What was asked.
        limit: Most tokens that were asked for.
        timing: Of the call.

    Raises:
        NoStatistics: the endpoint gives no statistics of tokens.
        NotAnswered: it holds none, or one with numbers that cannot be true.
    """
    choice = reply.choices[0]
    whole = _text(choice)
    listed = _listed(choice.logprobs)
    if whole and not any(one.logprob is not None and one.top for one in listed):
        missing = "top_logprobs" if any(one.logprob is not None for one in listed) else "log-probabilities"
        raise NoStatistics(f"the endpoint gives no {missing}: start it with them on")
    usage = reply.usage or Usage()
    decoded = _decoded(usage, len(listed), limit, has_text=bool(whole))
    cut = cut_at_stop(whole, request.stop)
    text = whole if cut is None else cut
    tokens, content, ends = _tokens(listed, whole, text)
    known = content is not None
    if content is None:
        content = len(tokens) if text else 0
    # Some endpoints do not list the token that ends a turn, or thoughts, which were decoded too.
    tokens += [UNTOLD] * ((decoded or 0) - len(tokens))
    prompt = _count(usage.prompt_tokens, "prompt_tokens")
    sent = "".join(one.content for one in request.prompt.messages) + request.continue_from
    most = len(sent.encode("utf-8", "replace"))
    if prompt is not None and prompt > most + _MOST_TEMPLATE:
        raise NotAnswered(f"it says that a prompt of {most:,} bytes has {prompt:,} tokens")
    details = usage.prompt_tokens_details
    cached = _count(details.cached_tokens if details else None, "cached_tokens")
    finish: FinishReason = "length" if choice.finish_reason == "length" and cut is None else "stop"
    return Completion(
        model=model,
        text=text,
        tokens=tuple(tokens),
        content_tokens=content,
        finish=finish,
        prompt_tokens=prompt or 0,
        cached_tokens=min(prompt or 0, cached or 0),
        timing=timing,
        usage_known=bool(prompt) and decoded is not None,
        statistics_known=known,
        token_ends=ends,
    )


def _text(choice: Choice) -> str:
    message = choice.message
    if message is None and choice.text is None:
        raise NotAnswered("it has a choice without a message")
    if choice.finish_reason == "content_filter":
        raise NotAnswered("a filter of the endpoint withheld it")
    if choice.finish_reason == "error":
        raise NotAnswered("the endpoint's model failed while it wrote")
    if message is None:
        return choice.text or ""
    if not message.text and message.refusal:
        raise NotAnswered("it is a refusal", message.refusal)
    if not message.text and message.tool_calls:
        raise NotAnswered("it is a call of a tool, and none was offered")
    return message.text


def _listed(found: Logprobs | None) -> list[_Listed]:
    """The listed tokens, from the answer of either interface."""
    if found is None:
        return []
    if found.content:
        return [
            _Listed(
                ListedToken(one.token, _bytes(one.bytes)),
                one.logprob,
                None if one.top_logprobs is None else [other.logprob for other in one.top_logprobs],
            )
            for one in found.content
        ]
    texts = found.tokens or []
    own = _of_length(found.token_logprobs, len(texts), "token_logprobs")
    tops = _of_length(found.top_logprobs, len(texts), "top_logprobs")
    return [
        _Listed(ListedToken(text), logprob, None if top is None else list(top.values()))
        for text, logprob, top in zip(texts, own, tops, strict=True)
    ]


def _of_length(values: list[T] | None, length: int, name: str) -> list[T | None]:
    if values is not None and len(values) != length:
        raise NotAnswered(f"it has {length} tokens, but {len(values)} {name}")
    return [None] * length if values is None else list(values)


def _bytes(values: list[int] | None) -> bytes | None:
    return bytes(values) if values and all(0 <= value < 256 for value in values) else None


def _tokens(listed: list[_Listed], whole: str, text: str) -> tuple[list[Token], int | None, tuple[int, ...]]:
    """The tokens of ``text`` first, those that follow it, and then what was decoded before it; with the number of those
    of the text, None where it is not known, and where each of these ends.

    Args:
        listed: All that are listed.
        whole: The endpoint's text.
        text: Its beginning, up to a stop string.
    """
    if not whole:
        return [_lenient(one) for one in listed], 0, ()
    found = find_text([one.token for one in listed], whole, text)
    if found is None:
        return [UNTOLD] * len(listed), None, ()
    start, end = found
    content = [_token(number, one) for number, one in enumerate(listed[start:end], 1)]
    around = [_lenient(one) for one in (*listed[end:], *listed[:start])]
    return content + around, len(content), _ends([one.token for one in listed[start:end]], text)


def _ends(tokens: Sequence[ListedToken], text: str) -> tuple[int, ...]:
    """Where each of a text's tokens ends in it; empty where their texts are not those of ``text``."""
    texts = token_texts(tokens)
    ends = [min(len(text), end) for end in accumulate(map(len, texts))]
    return tuple(ends) if "".join(texts).startswith(text) else ()


def _token(number: int, one: _Listed) -> Token:
    """A token of the text.

    Raises:
        NotAnswered: its log-probabilities are missing, or none that a distribution can have.
    """
    if one.logprob is None or not one.top:
        missing = "log-probability" if one.logprob is None else "top_logprobs"
        raise NotAnswered(f"token {number} of its text has no {missing}")
    return token_from_top(-1, _log(one.logprob, number), [_log(value, number) for value in one.top])


def _log(value: float | None, number: int) -> float:
    if value is None or math.isnan(value) or value > 1e-3:
        raise NotAnswered(f"token {number} of its text has a log-probability of {value}")
    return min(0.0, max(_FLOOR, value))


def _lenient(one: _Listed) -> Token:
    """A token that is no part of the text: without statistics where it has no proper ones."""
    try:
        return _token(0, one)
    except NotAnswered:
        return UNTOLD


def _decoded(usage: Usage, listed: int, limit: int, *, has_text: bool) -> int | None:
    """Number of decoded tokens, None if the endpoint does not tell.

    Args:
        usage: What it tells.
        listed: Tokens with a log-probability.
        limit: Most tokens that were asked for.
        has_text: Whether there is text, so that 0 tokens cannot be meant.

    Raises:
        NotAnswered: there are more of them than were asked for.
    """
    told = _count(usage.completion_tokens, "completion_tokens")
    details = usage.completion_tokens_details
    thoughts = _count(details.reasoning_tokens if details else None, "reasoning_tokens") or 0
    most = limit + 1 + min(thoughts, _MOST_HIDDEN)  # some count an end of turn beyond the limit
    for count in (told, listed):
        if count is not None and count > most:
            raise NotAnswered(f"it has {count:,} tokens, and {limit:,} were asked for")
    return None if told is None or (told == 0 and has_text) else max(told, listed)


def _count(value: Number, name: str) -> int | None:
    """A number of tokens as an integer; None if it is not told.

    Raises:
        NotAnswered: it is none.
    """
    if value is None:
        return None
    if not 0 <= value <= _MOST_COUNTED or value != int(value):
        raise NotAnswered(f"its usage has {name} = {str(value)[:20]}")
    return int(value)
