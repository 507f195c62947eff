"""Completions as trace records, and records as completions.

A record holds what a router can read of a completion; token ids, measured times and hidden states are not in it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, TypeVar

import msgspec

from harness import lines
from harness.data import UNTOLD, Completion, Token, TokenSpan
from harness.errors import EpisodeError, MixrouteError
from harness.files import Record
from harness.joining import first_tokens, is_part, join
from harness.json_files import check_values
from harness.records import CallRecord, CallTiming, ReadRecord, StepRecord, StepTiming
from harness.text import quoted
from harness.token_statistics import TokenStatistics
from harness.traces.rounding import rounded_step

R = TypeVar("R", bound=Record)

UNKNOWN_ID = -1
"""Stands for the id of a token, which traces do not hold."""


def record_call(completion: Completion, switch: bool, *, with_ends: bool = False) -> CallRecord:
    """The trace record of a finished call.

    Args:
        completion: What the model answered.
        switch: Whether the episode's call before it went to another model.
        with_ends: Whether to record where its tokens end, for a router that may keep a beginning of it.
    """
    statistics = completion.statistics if completion.statistics_known else TokenStatistics((), (), (), 0)
    return CallRecord(
        model=completion.model,
        prompt_tokens=completion.prompt_tokens,
        cached_tokens=completion.cached_tokens,
        decoded_tokens=len(completion.tokens),
        content_tokens=completion.content_tokens,
        finish=completion.finish,
        switch=switch,
        text=completion.text,
        logprobs=list(statistics.logprobs),
        entropies=list(statistics.entropies),
        margins=list(statistics.margins),
        usage_known=completion.usage_known,
        forced=completion.forced,
        thought_tokens=list(completion.thought_tokens or ()),
        action_tokens=list(completion.action_tokens or ()),
        read=_record_read(completion) if completion.read or completion.read_ends else None,
        token_ends=list(completion.token_ends) if with_ends else [],
    )


def _record_read(completion: Completion) -> ReadRecord:
    return ReadRecord(
        logprobs=[token.logprob for token in completion.read],
        entropies=[token.entropy for token in completion.read],
        margins=[token.margin for token in completion.read],
        ends=list(completion.read_ends),
    )


def same_as_read(record: R) -> R:
    """The record as it will be read: its line is decoded again. Scalars of NumPy become plain numbers.

    Raises:
        EpisodeError: it cannot be written, or not be read; the message names the field.
    """
    try:
        line = _encoder.encode(record)
        if len(line) >= lines.MOST_LINE:
            raise EpisodeError(f"it cannot be recorded: {len(line)} bytes, and a line has {lines.MOST_LINE} at most")
        return msgspec.json.decode(line, type=type(record))
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError) as error:
        null = " (null: None, infinite or not a number)" if "`null`" in str(error) else ""
        raise EpisodeError(f"it cannot be recorded: {error}{null}") from error


def as_json(value: object) -> Any:  # noqa: ANN401 - JSON
    """``value`` as it is when its JSON is read again.

    Raises:
        TypeError: it, or something in it, is no JSON.
        ValueError: likewise: an infinite number, a number that is none, text that is not Unicode; or what no reader of
            ours takes (``check_values``).
    """
    json.dumps(value, allow_nan=False, default=_plain)
    plain = msgspec.json.decode(_encoder.encode(value))
    check_values(plain)
    return plain


def _plain(value: Any) -> object:  # noqa: ANN401 - whatever a plug-in gave
    """What msgspec does not know and means a plain value: scalars of NumPy and torch, subclasses of ``str``."""
    if isinstance(value, str):
        return str.__str__(value)
    plain: object = value.item() if hasattr(value, "item") else value
    if type(plain) not in (bool, int, float):
        raise TypeError(f"{type(value).__name__} is not a plain value")
    return plain


_encoder = msgspec.json.Encoder(enc_hook=_plain)


def recorded_completion(call: CallRecord) -> Completion:
    """The completion that a call record was made from, without token ids and timing.

    Raises:
        MixrouteError: the record has neither no statistics nor a log-probability, entropy and margin for each decoded
            token; or what it says of a reply that was read, or of where tokens end, cannot be.
    """
    lengths = {len(call.logprobs), len(call.entropies), len(call.margins)}
    known = lengths == {call.decoded_tokens}
    if not known and lengths != {0}:
        raise MixrouteError(f"{call.decoded_tokens} decoded tokens, but statistics of {sorted(lengths)}")
    tokens = _tokens(call)
    if call.token_ends:
        _check_ends(call.token_ends, call.content_tokens, len(call.text))
    return Completion(
        model=call.model,
        text=call.text,
        tokens=tokens if known else (UNTOLD,) * call.decoded_tokens,
        content_tokens=call.content_tokens,
        finish="stop" if call.finish == "stop" else "length",
        prompt_tokens=call.prompt_tokens,
        cached_tokens=call.cached_tokens,
        read=_read_tokens(call),
        read_ends=tuple(call.read.ends) if call.read else (),
        token_ends=tuple(call.token_ends),
        usage_known=call.usage_known,
        statistics_known=known,
        forced=call.forced,
        thought_tokens=token_span(call.thought_tokens, call),
        action_tokens=token_span(call.action_tokens, call),
    )


def _tokens(statistics: CallRecord | ReadRecord) -> tuple[Token, ...]:
    each = zip(statistics.logprobs, statistics.entropies, statistics.margins, strict=True)
    return tuple(Token(UNKNOWN_ID, *values) for values in each)


def _read_tokens(call: CallRecord) -> tuple[Token, ...]:
    """The tokens of a reply that a call read.

    Raises:
        MixrouteError: there can be no such tokens.
    """
    if call.read is None:
        return ()
    check_read(call)
    return _tokens(call.read)


def check_read(call: CallRecord) -> None:
    """Check what a call says of a reply that it read.

    Raises:
        MixrouteError: it cannot be: a call that read a reply wrote nothing, and has a log-probability, entropy, margin
            and end for each token of it.
    """
    read = call.read
    if read is None:
        return
    lengths = {len(read.logprobs), len(read.entropies), len(read.margins), len(read.ends)}
    if call.decoded_tokens or len(lengths) != 1 or lengths == {0}:
        raise MixrouteError(
            f"a reply was read, but {call.decoded_tokens} tokens written, and statistics are of {sorted(lengths)}"
        )
    _check_ends(read.ends, len(read.ends), read.ends[-1])


def _check_ends(ends: Sequence[int], count: int, last: int) -> None:
    if len(ends) != count or list(ends) != sorted(ends) or ends[-1] != last:
        raise MixrouteError(f"{count} tokens of a text of {last} characters cannot end at {list(ends)[:20]}")


def token_span(recorded: Sequence[int], call: CallRecord) -> TokenSpan | None:
    """A part of a completion's tokens; None where none is recorded.

    Raises:
        MixrouteError: it is no part of them.
    """
    if not recorded:
        return None
    start, end = recorded if len(recorded) == 2 else (1, 0)
    count = call.content_tokens if call.read is None else len(call.read.ends)
    if not start <= end <= count:
        raise MixrouteError(f"tokens {list(recorded)} are no part of the {count} that make the text")
    return start, end


def joined_call_indices(answer: Completion, calls: Sequence[Completion]) -> list[int]:
    """Indices of the calls that ``answer`` was joined from; none for an answer of a single call."""
    rest = iter(enumerate(calls))
    return [
        next(index for index, call in rest if call is part or (part.kept is not None and is_part(part, call)))
        for part in answer.parts
    ]


def kept_tokens(answer: Completion) -> list[int]:
    """How many tokens of each part of ``answer`` count; none where all of all parts do."""
    if all(part.kept is None for part in answer.parts):
        return []
    return [part.content_tokens for part in answer.parts]


def recorded_answer(step: StepRecord) -> Completion:
    """The completion that the router returned in a step: joined from its calls, or one of them.

    Raises:
        MixrouteError: the step names calls that it does not hold, or no call wrote its text; or a call does not have
            the tokens that are to count of it.
    """
    if step.kept and len(step.kept) != len(step.parts):
        raise MixrouteError(f"the answer is joined from {len(step.parts)} calls, and {len(step.kept)} of them are cut")
    if not step.parts:
        wrote = [call for call in step.calls if (call.model, call.text) == (step.model, step.text)]
        if not wrote:
            raise MixrouteError(f"the text of {quoted(step.model)} was written by no call")
        return recorded_completion(wrote[-1])
    if step.parts != sorted(set(step.parts)) or not 0 <= step.parts[0] <= step.parts[-1] < len(step.calls):
        raise MixrouteError(f"the answer is joined from calls {step.parts} of {len(step.calls)}")
    parts = [recorded_completion(step.calls[index]) for index in step.parts]
    try:
        for place, count in enumerate(step.kept):
            if count != parts[place].content_tokens:
                parts[place] = first_tokens(parts[place], count)
    except ValueError as error:
        raise MixrouteError(f"the answer is joined from calls {step.parts}: {error}") from error
    return join(parts, step.delimiter)


def record_step_timing(environment: float, router: float, calls: Sequence[Completion]) -> StepTiming:
    """The trace record of a step's measured times, rounded to 5 significant digits.

    Args:
        environment: Seconds spent in the environment.
        router: Seconds spent in the router's own code.
        calls: The step's calls, which hold their own times.
    """
    measured = [CallTiming(**asdict(call.timing), reused=call.reused) for call in calls]
    return rounded_step(StepTiming(environment, router, measured))
