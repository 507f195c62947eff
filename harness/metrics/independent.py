"""Two independent samples: games that a claim was made on, and games that were drawn afterwards."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from harness.metrics.statistics import RESAMPLES, SEED, Estimate

PERMUTATIONS = 20_000
_MOST_PARTS = 100
"""Largest common denominator of values up to which the permutation test is computed exactly."""
_MOST_STATES = 1 << 22


def lower_test(fresh: Sequence[float], claimed: Sequence[float]) -> float | None:
    """P-value against "the values of ``fresh`` are no smaller than those of ``claimed``": a permutation test.

    If both were drawn from one distribution, any of the pooled values could as well be the fresh ones (Fisher, Pitman;
    see Phipson and Smyth, 2010, for the correction of drawn permutations). The p-value is the share of all choices of
    as many values whose sum is at most that of the fresh ones. It is computed exactly where the values are multiples of
    one fraction, such as differences of success rates over a few seeds; else it is the share among 20,000 choices drawn
    from a fixed seed, the observed one counted. None where one of the two is empty; 1 where no value differs.

    Args:
        fresh: One value an instance.
        claimed: One value an instance, of other instances.

    Raises:
        ValueError: a value is not finite.
    """
    if not all(map(math.isfinite, (*fresh, *claimed))):
        raise ValueError("a permutation test needs finite values")
    if not fresh or not claimed:
        return None
    pooled = np.sort(np.array([*fresh, *claimed], dtype=np.float64))
    if pooled[0] == pooled[-1]:
        return 1.0
    parts = _common_parts(pooled)
    if parts is not None:
        whole = np.rint((pooled - pooled[0]) * parts).astype(np.intp)
        observed = round(math.fsum(value - pooled[0] for value in fresh) * parts)
        if len(fresh) * int(whole[-1]) * len(fresh) <= _MOST_STATES:
            return _exact(whole, len(fresh), observed)
    slack = 1e-9 * float(np.abs(pooled).sum())
    rng, limit = np.random.default_rng(SEED), math.fsum(fresh) + slack
    below = sum(float(rng.permutation(pooled)[: len(fresh)].sum()) <= limit for _ in range(PERMUTATIONS))
    return (below + 1) / (PERMUTATIONS + 1)


def _common_parts(values: NDArray[np.float64]) -> int | None:
    """The least number that makes all distances from the smallest value whole; None where there is no small one."""
    above = sorted(set((values - values[0]).tolist()))
    fractions = [Fraction(value).limit_denominator(_MOST_PARTS) for value in above]
    parts = math.lcm(*(fraction.denominator for fraction in fractions))
    exact = all(abs(float(fraction) - value) < 1e-9 for fraction, value in zip(fractions, above, strict=True))
    return parts if exact and parts <= _MOST_PARTS else None


def _exact(values: NDArray[np.intp], chosen: int, limit: int) -> float:
    """Chance that ``chosen`` of the values, drawn without replacement, sum to ``limit`` at most.

    ``chances[m, s]`` is the chance that, of the values passed so far, m were chosen and sum to s. Each of the values is
    passed once, and chosen with the chance (still wanted) / (still there).
    """
    longest = chosen * int(values.max())
    chances = np.zeros((chosen + 1, longest + 1))
    chances[0, 0] = 1.0
    wanted = chosen - np.arange(chosen + 1)
    for passed, value in enumerate(values.tolist()):
        taken = chances * np.clip(wanted / (len(values) - passed), 0, 1)[:, None]
        chances -= taken
        chances[1:, value:] += taken[:-1, : longest + 1 - value]
    return float(min(1.0, chances[chosen, : limit + 1].sum()))


def excess_cost(fresh: Sequence[tuple[float, float]], claimed: Sequence[tuple[float, float]]) -> Estimate:
    """How much larger a cost ratio is on fresh instances than on those of a claim: ratio over ratio, 1 where equal.

    A ratio is that of sums: the router's cost over the reference's. The 95% interval is the percentile bootstrap over
    instances, of which as many as there are are drawn with replacement from each of the two samples, 10,000 times from
    a fixed seed: a claim that rests on few instances is itself uncertain. None where a sum of the reference or of the
    claim is 0, or a sample is empty.

    Args:
        fresh: Cost of the router and of the reference, an instance each.
        claimed: The same on other instances.
    """
    samples = [np.array(sorted(sample), dtype=np.float64).reshape(-1, 2) for sample in (fresh, claimed)]
    sums = [sample.sum(axis=0) for sample in samples]
    if any(not len(sample) for sample in samples) or 0 in (sums[0][1], sums[1][0], sums[1][1]):
        return Estimate(None, None, None)
    rng = np.random.default_rng(SEED)
    ratios = []
    for sample in samples:
        drawn = rng.multinomial(len(sample), np.full(len(sample), 1 / len(sample)), size=RESAMPLES) @ sample
        ratios.append(drawn[:, 0] / drawn[:, 1])
    mean = float(sums[0][0] / sums[0][1] / (sums[1][0] / sums[1][1]))
    low, high = np.quantile(ratios[0] / ratios[1], (0.025, 0.975)).tolist()
    return Estimate(mean, min(low, mean), max(high, mean))


def excess_test(fresh: Sequence[tuple[float, float]], claimed: Sequence[tuple[float, float]]) -> float | None:
    """P-value against "the cost ratio of ``fresh`` is no larger than that of ``claimed``": a permutation test.

    As ``lower_test``, with the instances' pairs of costs exchanged and the ratio of ratios as statistic: the share
    among 20,000 divisions drawn from a fixed seed, the observed one counted. Unlike the interval of ``excess_cost`` it
    keeps its level with few instances. None where ``excess_cost`` gives none.
    """
    observed = excess_cost(fresh, claimed).mean
    if observed is None:
        return None
    pooled = np.array(sorted((*fresh, *claimed)), dtype=np.float64)
    total, rng, beyond = pooled.sum(axis=0), np.random.default_rng(SEED), 0
    with np.errstate(divide="ignore", invalid="ignore"):
        for _ in range(0, PERMUTATIONS, 1000):
            places = rng.random((1000, len(pooled))).argpartition(len(fresh) - 1, axis=1)[:, : len(fresh)]
            chosen = pooled[places].sum(axis=1)
            rest = total - chosen
            ratios = chosen[:, 0] / chosen[:, 1] / (rest[:, 0] / rest[:, 1])
            beyond += int(np.count_nonzero(~(ratios < observed * (1 - 1e-9))))
    return (beyond + 1) / (PERMUTATIONS + 1)
