"""Completions that are joined of several, for replies that more than one call wrote."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.data import Completion, TokenSpan


def join(parts: Sequence[Completion], delimiter: str = "") -> Completion:
    """One completion whose text is that of ``parts`` in order, for routers that route inside a step.

    Args:
        parts: Completions of this step, each once.
        delimiter: A mark such as ``<call>``: from there to its end, a part speaks to the router and is no part of the
            answer. It cuts a text where it would as a stop string, and is recorded in the trace.
    """
    parts = [one for part in parts for one in (part.parts if part.delimiter == delimiter and part.parts else (part,))]
    models = {part.model for part in parts}
    return Completion(
        model=models.pop() if len(models) == 1 else "mixed",
        text="".join(part.forced + text_before(part.text, delimiter) for part in parts),
        tokens=tuple(token for part in parts for token in part.content),
        content_tokens=sum(part.content_tokens for part in parts),
        finish=parts[-1].finish,
        prompt_tokens=parts[0].prompt_tokens,
        cached_tokens=parts[0].cached_tokens,
        parts=tuple(parts),
        delimiter=delimiter,
        usage_known=all(part.usage_known for part in parts),
        statistics_known=all(part.statistics_known for part in parts),
        thought_tokens=_joined_span(parts, [part.thought_tokens for part in parts]),
        action_tokens=_joined_span(parts, [part.action_tokens for part in parts]),
    )


def beginning(completion: Completion, length: int) -> Completion | None:
    """The beginning of a completion that a router keeps: whole tokens, and at most ``length`` characters.

    Where the action was asked for, its opening text counts among them, and stays where a token after it does.

    Args:
        completion: An answer of ``step.ask``, or one that is joined of such without a delimiter.
        length: Characters of its text.

    Returns:
        A joined completion, whose last part may be cut (``Completion.kept``); None where no token is left.

    Raises:
        ValueError: it has a delimiter, or its backend does not tell where tokens end.
    """
    if completion.delimiter:
        raise ValueError("a completion that is joined at a delimiter has no beginning: keep some of its parts")
    kept = []
    for part in completion.parts or (completion,):
        length -= len(part.forced)
        if len(part.text) > length:
            ends = _ends(part)
            end = max((end for end in ends if end <= length), default=0)
            if end > 0:  # the first token that ends there: those after it begin a character that is cut
                kept.append(first_tokens(part, ends.index(end) + 1))
            break
        kept.append(part)
        length -= len(part.text)
    return join(kept) if any(part.text for part in kept) else None


def first_tokens(completion: Completion, count: int) -> Completion:
    """The first ``count`` tokens of a call's completion, as a part of an answer.

    Raises:
        ValueError: it does not have them, or it is not known where they end.
    """
    ends = _ends(completion)
    if not 0 < count <= len(ends):
        raise ValueError(f"a completion of {len(ends)} tokens has no first {count}")
    return replace(
        completion,
        text=completion.text[: ends[count - 1]],
        tokens=completion.tokens[:count],
        content_tokens=count,
        finish="length",
        token_ends=ends[:count],
        thought_tokens=_first_of_span(completion.thought_tokens, count),
        action_tokens=_first_of_span(completion.action_tokens, count),
        kept=count,
    )


def is_part(part: Completion, call: Completion) -> Completion | None:
    """``call``, or the beginning of it, if ``part`` is that; None if it is neither."""
    if call == part:
        return call
    ends = len(call.token_ends) == call.content_tokens
    if not ends or type(part.kept) is not int or not 0 < part.kept <= call.content_tokens:
        return None
    first = first_tokens(call, part.kept)
    return first if first == part else None


def _ends(completion: Completion) -> tuple[int, ...]:
    """Where the tokens of a completion end in its text.

    Raises:
        ValueError: it is not known.
    """
    if len(completion.token_ends) != completion.content_tokens:
        raise ValueError(f"it is not known where the tokens of model '{completion.model}' end (docs/backends.md)")
    return completion.token_ends


def _first_of_span(span: TokenSpan | None, count: int) -> TokenSpan | None:
    return None if span is None else (min(span[0], count), min(span[1], count))


def _joined_span(parts: Sequence[Completion], spans: Sequence[TokenSpan | None]) -> TokenSpan | None:
    """From the first to the last token of the part's spans, among the content of all; None if one is not known."""
    found: list[TokenSpan] = []
    begun = 0
    for part, span in zip(parts, spans, strict=True):
        if span is None:
            return None
        if span[0] < span[1]:
            found.append((begun + span[0], begun + span[1]))
        begun += part.content_tokens
    return (found[0][0], found[-1][1]) if found else (begun, begun)


def text_before(text: str, delimiter: str) -> str:
    """``text`` up to the first ``delimiter``; all of it where that is empty or does not occur."""
    return text.partition(delimiter)[0] if delimiter else text
