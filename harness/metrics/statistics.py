"""Means with intervals that respect clusters: episodes of one instance are not independent of each other.

The interval is the 95% percentile bootstrap over clusters: whole clusters are drawn with replacement, as many as there
are; the mean of a draw is the sum of all its values over their number; the interval runs from the 2.5% to the 97.5%
quantile of these means. Where all clusters have as many values and their sums are whole numbers (successes, and
differences of successes) the distribution of the mean is computed; else it is that of 10,000 draws from a fixed seed,
with linear interpolation. Its coverage falls short of 95% with few clusters (below about 20), as for every bootstrap of
percentiles. Differences of two have the interval of ``clustered_difference``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
SEED = 20_260_202
_Z = 1.959963984540054  # the 97.5% quantile of the standard normal
_CHUNK = 1 << 20  # random draws held at once: 8 MB
_MOST_VALUES = 64  # different sums of clusters up to which the bootstrap is computed exactly


class Estimate(msgspec.Struct, frozen=True):
    """A mean and its 95% interval; ``None`` where the data cannot give one."""

    mean: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Partition:
    """Values divided into clusters; every clustered statistic takes its clusters from here.

    ``keys`` are the distinct labels, sorted; ``index[i]`` is the cluster of value ``i``; ``sizes`` counts the values.
    """

    keys: tuple[str, ...]
    index: NDArray[np.intp]
    sizes: NDArray[np.intp]


def partition(labels: Sequence[str]) -> Partition:
    """The partition of values into clusters of equal label (for episodes: the instance)."""
    keys = tuple(sorted(set(labels)))
    number = {key: i for i, key in enumerate(keys)}
    index = np.fromiter((number[label] for label in labels), dtype=np.intp, count=len(labels))
    return Partition(keys, index, np.bincount(index, minlength=len(keys)))


def clustered_mean(values: Sequence[float] | Sequence[bool], labels: Sequence[str]) -> Estimate:
    """Mean of all values and its 95% bootstrap interval clustered on ``labels``; see the module for the method.

    Edge cases:

    - No values: mean, low and high are ``None``.
    - All cluster means equal (one cluster included): every bootstrap mean is the same and the interval would have no
      width, which claims certainty that is not there. A proportion (all values are 0 or 1) then gets the Wilson score
      interval with the number of clusters as its sample size: conservative, since the values of a cluster count as one.
      Other values have no such bound, so low and high are ``None``.

    The result does not depend on the order of the values.

    Args:
        values: What is averaged; values that are all 0 or 1 make a proportion.
        labels: The cluster of each value.

    Raises:
        ValueError: the lengths differ, or a value is not finite.
    """
    clusters = _clustered(values, labels)
    if clusters is None:
        return Estimate(None, None, None)
    mean = clusters.mean
    if clusters.are_alike:
        if any(value not in (0, 1) for value in values):
            return Estimate(mean, None, None)
        return Estimate(mean, *wilson(mean, len(clusters.sums)))
    low, high = _interval(clusters)
    # Interpolated quantiles of rounded sums may miss the mean by an ulp.
    return Estimate(mean, min(low, mean), max(high, mean))


def clustered_difference(differences: Sequence[float], labels: Sequence[str], *, of_successes: bool) -> Estimate:
    """Mean of paired differences and its 95% interval clustered on ``labels``.

    The interval of the negated differences is the negated interval, to the last bit: the bootstrap is computed for both
    signs, and the wider limit counts.

    Where all clusters have one mean c (all pairs tie, say), the bootstrap interval would have no width. None of the
    ``n`` clusters then has another mean, so that the share of those that would have one is at most ``u``, the upper
    Wilson limit of 0 in n (as the rule of three, with another constant). Differences of successes lie in [-1, 1], and
    so their mean in ``[c - u (1 + c), c + u (1 - c)]``: [-u, u] where all tie, [1 - 2u, 1] where the first always
    wins, [-1, 2u - 1] where it always loses. Other differences have no known bounds: low and high are ``None``.

    Args:
        differences: First minus second of each pair.
        labels: The cluster of each.
        of_successes: Whether both sides are successes or means of them, so that differences lie in [-1, 1].

    Raises:
        ValueError: the lengths differ, or a difference is not finite.
    """
    clusters = _clustered(differences, labels)
    if clusters is None:
        return Estimate(None, None, None)
    mean = clusters.mean
    if not clusters.are_alike:
        low, high = _interval(clusters, signs=(1, -1))
        return Estimate(mean, min(low, mean) + 0.0, max(high, mean) + 0.0)  # no -0.0
    if not of_successes:
        return Estimate(mean, None, None)
    most = wilson(0.0, len(clusters.sums))[1]
    return Estimate(mean, mean - most * (1 + mean), mean + most * (1 - mean))


@dataclass(frozen=True, slots=True)
class _Clusters:
    """What an interval is computed from: the sum and the number of values of each cluster, and the mean of all."""

    sums: NDArray[np.float64]
    sizes: NDArray[np.intp]
    mean: float

    @property
    def are_alike(self) -> bool:
        """Whether all clusters have the same mean, but for rounding."""
        return bool(np.ptp(self.sums / self.sizes) <= 1e-12 * max(1.0, abs(self.mean)))


def _clustered(values: Sequence[float] | Sequence[bool], labels: Sequence[str]) -> _Clusters | None:
    """The clusters of the values; None without any.

    Raises:
        ValueError: the lengths differ, or a value is not finite.
    """
    if len(values) != len(labels):
        raise ValueError(f"{len(values)} values but {len(labels)} labels")
    if not all(map(math.isfinite, values)):
        raise ValueError("a mean needs finite values")
    if not values:
        return None
    clusters = partition(labels)
    return _Clusters(clustered_sums(values, clusters), clusters.sizes, math.fsum(values) / len(values))


def wilson(proportion: float, n: int) -> tuple[float, float]:
    """Wilson score interval (95%) of a proportion observed in ``n`` independent trials.

    ``(p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)`` with z = 1.96 (E. B. Wilson, 1927). It ends exactly at
    0 for p = 0 and at 1 for p = 1.
    """
    square = _Z * _Z / n
    middle = (proportion + square / 2) / (1 + square)
    half = _Z / (1 + square) * math.sqrt(proportion * (1 - proportion) / n + square / (4 * n))
    return (0.0 if proportion == 0 else middle - half), (1.0 if proportion == 1 else middle + half)


def clustered_sums(values: Sequence[float] | Sequence[bool], clusters: Partition) -> NDArray[np.float64]:
    """Sum of each cluster, exactly rounded: it depends neither on the order of the values nor on their sign."""
    members: list[list[float]] = [[] for _ in clusters.keys]
    for place, value in zip(clusters.index.tolist(), values, strict=True):
        members[place].append(value)
    return np.array([math.fsum(some) for some in members], dtype=np.float64)


def _interval(clusters: _Clusters, signs: Sequence[int] = (1,)) -> tuple[float, float]:
    """The 2.5% and 97.5% quantiles of the bootstrap mean.

    Args:
        clusters: What is drawn from.
        signs: Signs that the values are given before the interval is computed, and that it is turned back by; the
            widest limits count. Quantiles of two signs may differ by a step of the distribution, or by rounding.
    """
    sums, sizes = clusters.sums, clusters.sizes
    if np.ptp(sizes) == 0 and np.ptp(sums) <= _MOST_VALUES and np.array_equal(sums, np.rint(sums)):
        found = [_exact_interval(sign * sums, int(sizes[0])) for sign in signs]
    else:
        means = _bootstrap_means(sums, sizes)
        found = [np.quantile(sign * means, (0.025, 0.975)).tolist() for sign in signs]
    ends = [sign * end for sign, limits in zip(signs, found, strict=True) for end in limits]
    return min(ends), max(ends)


def _exact_interval(sums: NDArray[np.float64], size: int) -> tuple[float, float]:
    """The interval that infinitely many draws would give.

    The sum of a draw is that of ``count`` independent clusters: its distribution is the ``count``-fold convolution of
    theirs.

    Args:
        sums: Sums of the clusters, whole numbers.
        size: Values a cluster.
    """
    count, lowest = len(sums), float(sums.min())
    chances = np.bincount((sums - lowest).astype(np.intp)) / count
    length = count * (len(chances) - 1) + 1
    points = 1 << (length - 1).bit_length()
    drawn = np.fft.irfft(np.fft.rfft(chances, points) ** count, points)[:length].clip(0)
    below = np.cumsum(drawn) / drawn.sum()
    low, high = ((np.searchsorted(below, quantile) / count + lowest) / size for quantile in (0.025, 0.975))
    return float(low), float(high)


def _bootstrap_means(sums: NDArray[np.float64], sizes: NDArray[np.intp]) -> NDArray[np.float64]:
    """Means of ``RESAMPLES`` draws of clusters with replacement, in chunks that bound the memory."""
    rng = np.random.default_rng(SEED)
    count = len(sums)
    rows = max(1, _CHUNK // count)
    parts: list[NDArray[np.float64]] = []
    for start in range(0, RESAMPLES, rows):
        drawn = rng.integers(0, count, size=(min(rows, RESAMPLES - start), count))
        parts.append(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1))
    return np.concatenate(parts)
