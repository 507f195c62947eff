"""Features of an ensemble's answers: how far they agree, how sure the models were of them and, if the recipe says so,
whether their equations hold.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean

from rapidfuzz.distance import Indel

from harness.data import Completion
from harness.records import CallRecord
from routers.pyramid.answers import votes
from routers.pyramid.equations import false_equations


@dataclass(frozen=True, slots=True)
class Draft:
    """One model's answer. Statistics are of the tokens that make the text and the one that ends it, in nats."""

    text: str
    logprobs: tuple[float, ...]
    margins: tuple[float, ...]
    """Of each token, the probability of the likeliest minus that of the second."""

    @property
    def logprob(self) -> float:
        """Mean over its tokens."""
        return fmean(self.logprobs)


def draft_of(call: Completion | CallRecord) -> Draft:
    """The draft in a call, as it is answered or as it stands in the trace."""
    if isinstance(call, CallRecord):
        logprobs, margins = call.logprobs, call.margins
    else:
        logprobs, margins = [token.logprob for token in call.tokens], [token.margin for token in call.tokens]
    count = call.content_tokens + 1
    return Draft(call.text, tuple(logprobs[:count]), tuple(margins[:count]))


FEATURES = (
    "vote_share",
    "answer_entropy",
    "distinct_answers",
    "abstained",
    "similarity_mean",
    "similarity_min",
    "logprob_mean",
    "logprob_min",
    "logprob_chosen",
    "margin_mean",
    "margin_min",
    "length_mean",
    "length_min",
    "length_max",
)
"""Names of the values that ``features`` returns."""

CHECKED = (*FEATURES, "false_equations_mean", "false_equations_chosen")
"""Names of the values with equations checked (ours)."""


def majority(drafts: Sequence[Draft]) -> int:
    """Index of the draft that is chosen by majority vote.

    Ours: ties between answers go to the one with the likeliest draft (mean log-probability of its tokens), and of the
    drafts with the chosen answer the likeliest is taken.
    """
    cast = votes([draft.text for draft in drafts])
    counts = Counter(vote for vote in cast if vote is not None)

    def weight(place: int) -> tuple[int, float]:
        vote = cast[place]
        return (0 if vote is None else counts[vote]), drafts[place].logprob

    return max(range(len(drafts)), key=weight)


def features(drafts: Sequence[Draft], *, checked: bool = False) -> tuple[float, ...]:
    """Features of one or several models' answers to one query, as named by ``FEATURES`` or ``CHECKED``.

    ``vote_share`` in [0, 1] of the majority; ``answer_entropy`` of the votes, in nats; ``distinct_answers`` counted;
    ``abstained`` the share of drafts without a vote; similarities of all pairs of texts in [0, 1] (1 minus the Indel
    distance over the summed lengths; 1 for a single draft); mean and smallest token log-probability in nats, and the
    mean of the draft that ``majority`` chooses; margins in [0, 1]; lengths in tokens; if ``checked`` also the mean
    number of equations that do not hold, and that of the chosen draft. The order of drafts is irrelevant.
    """
    cast = votes([draft.text for draft in drafts])
    counts = Counter(vote for vote in cast if vote is not None)
    total = counts.total()
    shares = [count / total for count in counts.values()]
    alike = [Indel.normalized_similarity(one.text, other.text) for one, other in combinations(drafts, 2)] or [1.0]
    lengths = [len(draft.logprobs) for draft in drafts]
    chosen = majority(drafts)
    errors = [false_equations(draft.text) for draft in drafts] if checked else []
    return (
        max(counts.values(), default=0) / len(drafts),
        math.fsum(-share * math.log(share) for share in shares if share < 1),
        float(len(counts)),
        1 - total / len(drafts),
        fmean(alike),
        min(alike),
        fmean(draft.logprob for draft in drafts),
        min(min(draft.logprobs) for draft in drafts),
        drafts[chosen].logprob,
        fmean(fmean(draft.margins) for draft in drafts),
        min(min(draft.margins) for draft in drafts),
        fmean(lengths),
        float(min(lengths)),
        float(max(lengths)),
        *((fmean(errors), float(errors[chosen])) if checked else ()),
    )
