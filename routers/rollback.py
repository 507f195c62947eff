"""Low writes a reply and high reads it; from the first token that high finds unlikely on, high writes it itself.

This is the rollback policy of Big Little Decoder (Kim et al., "Speculative Decoding with Big Little Decoder", NeurIPS
2023) with the reply as its unit: the large model reads in one pass what the small one wrote, as in speculative decoding
(Leviathan et al., ICML 2023). Ours: it reads when the reply is over, and not when low is unsure; once it has rejected a
token, it writes all that follows.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate, chain
from typing import ClassVar

from mixroute import Completion, Granularity, Step, beginning, register_router
from routers.uncertainty import check_tokens, part_of


@register_router("rollback")
class Rollback:
    """High keeps low's reply up to the first token that surprises it, and writes the rest.

    The token that ends a reply is no part of its text, and not looked at; an empty reply is taken as it is.

    Args:
        threshold: Nats of surprise, -log p of high for a token of low's, above which high writes from there on.
        tokens: Tokens that are looked at where the scaffold has thoughts: those of the ``action``, of the ``thought``,
            or ``all``.
    """

    granularity: ClassVar[Granularity] = "token"
    role = "baseline"

    def __init__(self, threshold: float = 2.0, tokens: str = "all") -> None:
        if not threshold >= 0:
            raise ValueError(f"threshold must be 0 or more, not {threshold}")
        self._threshold = threshold
        self._tokens = check_tokens(tokens)

    async def act(self, step: Step) -> Completion:
        """Low's reply, or its beginning and high's rest."""
        draft = await step.ask("low")
        if not draft.text:
            return draft
        reading = await step.read("high", draft.text)
        surprise = {place: abs(reading.read[place].logprob) for place in self._looked_at(draft, reading)}
        step.log(surprise=max(surprise.values(), default=0.0), threshold=self._threshold)
        rejected = next((place for place, nats in surprise.items() if nats > self._threshold), None)
        if rejected is None:
            return draft
        kept = beginning(draft, reading.read_ends[rejected - 1]) if rejected else None
        return await (step.ask("high") if kept is None else step.complete(kept, "high"))

    def _looked_at(self, draft: Completion, reading: Completion) -> Iterator[int]:
        """Places of the tokens that low is answerable for: what the scaffold put in, no model wrote."""
        forced = _forced(draft)
        start, end = part_of(reading, self._tokens, "rollback")
        begun = (0, *reading.read_ends)
        for place in range(start, end) if start < end else range(len(reading.read)):
            if not any(first <= begun[place] and begun[place + 1] <= last for first, last in forced):
                yield place


def _forced(reply: Completion) -> list[tuple[int, int]]:
    """Where the texts of the scaffold stand in a reply, in characters."""
    places = list(
        accumulate(chain.from_iterable((len(part.forced), len(part.text)) for part in reply.parts), initial=0)
    )
    return [(first, last) for first, last in zip(places[:-1:2], places[1::2], strict=True) if first < last]
