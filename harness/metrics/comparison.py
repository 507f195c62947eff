"""Differences of two routers on the same episodes: interval, permutation test, Holm's correction, sample size.

Pairs are formed on (instance, seed) and clustered on the instance: the episodes of one instance are not independent of
each other, so resampling and sign changes treat an instance's pairs as one. Where two routers have played an instance
with different seeds (one that draws with ten, one that does not with one), their means over the seeds make one pair.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from statistics import NormalDist, fmean

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.metrics.statistics import SEED, Estimate, clustered_difference, clustered_sums, partition

PERMUTATIONS = 20_000
_EXACT = 14
"""Up to so many clusters that differ, all sign changes are tried."""

Key = tuple[str, int]
"""Instance and seed."""


class Difference(msgspec.Struct, frozen=True):
    """What the first router has over the second, on the episodes that both played."""

    difference: Estimate
    """Mean of first minus second, with the interval of ``clustered_difference``."""
    p: float | None
    """Two-sided p-value of the permutation test; None without pairs."""
    pairs: int
    """Pairs compared."""
    clusters: int
    """Instances compared."""


def pairs(first: Mapping[Key, float], second: Mapping[Key, float]) -> list[tuple[str, float]]:
    """Instance and difference of each pair, in order."""
    ours, theirs = _by_instance(first), _by_instance(second)
    found = []
    for instance in sorted(set(ours) & set(theirs)):
        one, two = ours[instance], theirs[instance]
        if one.keys() == two.keys():
            found += [(instance, one[seed] - two[seed]) for seed in sorted(one)]
        else:
            found.append((instance, fmean(one.values()) - fmean(two.values())))
    return found


def _by_instance(values: Mapping[Key, float]) -> dict[str, dict[int, float]]:
    found: dict[str, dict[int, float]] = {}
    for (instance, seed), value in values.items():
        found.setdefault(instance, {})[seed] = value
    return found


def paired_difference(first: Mapping[Key, float], second: Mapping[Key, float]) -> Difference:
    """Compare two routers on what both have played; the module says how pairs are formed.

    The test: if the two were the same, the signs of an instance's differences could as well be the other way round. The
    p-value is the share of sign changes, an instance's pairs changing together, whose sum is at least as far from zero
    as what was observed: over all of them where all differences have one size (McNemar's exact test) or up to 14
    instances differ, else over 20,000 drawn from a fixed seed, the observed one counted (so that p is never 0).
    Ties and instances without a difference change nothing.

    Swapping the two turns the signs of the difference and its interval, and changes nothing else.

    Edge cases: without pairs everything is None; if nothing differs, p is 1. An interval where all instances have the
    same difference takes values that are all 0 or 1 (successes).
    """
    found = pairs(first, second)
    if not found:
        return Difference(Estimate(None, None, None), None, 0, 0)
    instances, differences = [instance for instance, _ in found], [difference for _, difference in found]
    clusters = partition(instances)
    p = _sign_test(clustered_sums(differences, clusters))
    successes = all(value in (0, 1) for values in (first, second) for value in values.values())
    estimate = clustered_difference(differences, instances, of_successes=successes)
    return Difference(estimate, p, len(found), len(clusters.keys))


def _sign_test(sums: NDArray[np.float64]) -> float:
    own = np.abs(sums[sums != 0])
    if not len(own):
        return 1.0
    if np.ptp(own) <= 1e-12 * own[0]:
        return _mcnemar(int(np.count_nonzero(sums > 0)), len(own))
    observed = abs(float(sums.sum()))
    slack = 1e-9 * float(own.sum())  # sums that are equal but for rounding are ties
    if len(own) <= _EXACT:
        signs = 1 - 2 * ((np.arange(1 << len(own))[:, None] >> np.arange(len(own))) & 1)
        return float(np.mean(np.abs(signs @ own) >= observed - slack))
    rng = np.random.default_rng(SEED)
    beyond = 0
    for _ in range(0, PERMUTATIONS, 1000):
        signs = rng.choice((-1.0, 1.0), size=(1000, len(own)))
        beyond += int(np.count_nonzero(np.abs(signs @ own) >= observed - slack))
    return (beyond + 1) / (PERMUTATIONS + 1)


def _mcnemar(positive: int, count: int) -> float:
    """Exact permutation test for differences of one size: the binomial distribution (McNemar)."""
    tail = sum(math.comb(count, k) for k in range(min(positive, count - positive) + 1))
    return min(1.0, float(Fraction(2 * tail, 2**count)))


def holm(values: Sequence[float]) -> list[float]:
    """P-values corrected for all comparisons of a table (S. Holm, 1979), in the order given.

    The k-th smallest of m is multiplied by m - k + 1, then made no smaller than those before it and no larger than 1.
    Rejecting where the result is at most alpha keeps the chance of any false rejection at alpha.
    """
    corrected = [0.0] * len(values)
    highest = 0.0
    for place, index in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        highest = max(highest, min(1.0, (len(values) - place) * values[index]))
        corrected[index] = highest
    return corrected


def required_instances(
    first: Mapping[Key, float], second: Mapping[Key, float], gap: float, alpha: float = 0.05, power: float = 0.8
) -> int | None:
    """How many instances it takes to see a difference of ``gap`` with probability ``power``, judged from these pairs.

    ``n = (z(1 - alpha/2) + z(power))^2 * var / gap^2``, the normal approximation for a paired mean, with the variance
    of the instances' mean differences. None with fewer than two instances in common, or where they do not vary.

    Raises:
        ValueError: the gap is not above 0.
    """
    if not gap > 0:
        raise ValueError(f"a gap of {gap} cannot be looked for: give one above 0")
    found = pairs(first, second)
    clusters = partition([instance for instance, _ in found])
    if len(clusters.keys) < 2:
        return None
    means = clustered_sums([difference for _, difference in found], clusters) / clusters.sizes
    variance = float(means.var(ddof=1))
    normal = NormalDist()
    wanted = (normal.inv_cdf(1 - alpha / 2) + normal.inv_cdf(power)) ** 2 * variance / gap**2
    return math.ceil(wanted) if variance > 0 else None
