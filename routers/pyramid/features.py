"""Features of an ensemble's answers: how far they agree, how sure the models were of them, and, where a recipe asks for
it, whether their equations hold.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from statistics import fmean

from rapidfuzz.distance import Indel

from harness.data import Completion
from harness.numbers import bounded_mean
from harness.records import CallRecord
from routers.pyramid.answers import votes
from routers.pyramid.equations import false_equations

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
"""Names of the numbers that ``features`` gives."""

CHECKED = (*FEATURES, "false_equations_mean", "false_equations_chosen")
"""Their names where equations are checked, too (ours)."""


def majority(drafts: Sequence[Completion | CallRecord]) -> int:
    """Index of the draft that speaks for the answer with most votes.

    Ours: ties between answers go to the one with the likeliest draft (mean log-probability of its tokens), and of the
    drafts with the chosen answer the likeliest is taken.
    """
    cast = votes([draft.text for draft in drafts])
    counts = Counter(vote for vote in cast if vote is not None)

    def weight(place: int) -> tuple[int, float]:
        vote = cast[place]
        return (0 if vote is None else counts[vote]), drafts[place].statistics.content_and_end.mean_logprob

    return max(range(len(drafts)), key=weight)


def features(drafts: Sequence[Completion | CallRecord], *, checked: bool = False) -> tuple[float, ...]:
    """Numbers on one model's answer or several models' answers to one query, as ``FEATURES`` or ``CHECKED`` names them.

    ``vote_share`` in [0, 1] of the majority; ``answer_entropy`` of the votes, in nats; ``distinct_answers`` counted;
    ``abstained`` the share of drafts without a vote; similarities of all pairs of texts in [0, 1] (1 minus the Indel
    distance over the summed lengths; 1 for a single draft); mean and smallest token log-probability in nats, and the
    mean of the draft that ``majority`` chooses; margins in [0, 1]; lengths in tokens; if ``checked`` also the mean
    number of equations that do not hold, and that of the chosen draft. The token that ended a text counts as one of its
    tokens. The order of drafts is irrelevant.
    """
    cast = votes([draft.text for draft in drafts])
    counts = Counter(vote for vote in cast if vote is not None)
    total = counts.total()
    shares = [count / total for count in counts.values()]
    alike = [Indel.normalized_similarity(one.text, other.text) for one, other in combinations(drafts, 2)] or [1.0]
    tokens = [draft.statistics.content_and_end for draft in drafts]
    lengths = [len(one) for one in tokens]
    chosen = majority(drafts)
    errors = [false_equations(draft.text) for draft in drafts] if checked else []
    return (
        max(counts.values(), default=0) / len(drafts),
        math.fsum(-share * math.log(share) for share in shares if share < 1),
        float(len(counts)),
        1 - total / len(drafts),
        bounded_mean(alike),
        min(alike),
        bounded_mean([one.mean_logprob for one in tokens]),
        min(one.min_logprob for one in tokens),
        tokens[chosen].mean_logprob,
        bounded_mean([one.mean_margin for one in tokens]),
        min(one.min_margin for one in tokens),
        bounded_mean(lengths),
        float(min(lengths)),
        float(max(lengths)),
        *((fmean(errors), float(errors[chosen])) if checked else ()),
    )
