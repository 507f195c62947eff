"""Curve metrics over (cost, quality) points, one point a router."""

from __future__ import annotations

import math
from collections.abc import Sequence


def pareto_front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Which (cost, quality) points lie on the Pareto front: lower cost is better, higher quality is better.

    A point is off the front if and only if another point costs no more, is no worse, and is strictly better in one of
    the two. Equal points are therefore on the front together or off it together, and of points with equal cost only the
    best are on it. Definition: routing.md, "Curve metrics".

    Returns:
        One flag a point, in the order given; ``[]`` without points.

    Raises:
        ValueError: a coordinate is not a finite number.
    """
    if not all(math.isfinite(cost) and math.isfinite(quality) for cost, quality in points):
        raise ValueError("a Pareto front needs finite costs and qualities")
    on_front: set[tuple[float, float]] = set()
    best = -math.inf
    # By rising cost, best first: a point survives only if it beats everything that costs no more.
    for cost, quality in sorted(set(points), key=lambda point: (point[0], -point[1])):
        if quality > best:
            on_front.add((cost, quality))
            best = quality
    return [point in on_front for point in points]
