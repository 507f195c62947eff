"""Completions that are joined of several, for replies that more than one call wrote."""

from __future__ import annotations

from collections.abc import Sequence

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
