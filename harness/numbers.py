"""Rounding and means of plain numbers."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean


def round_significant(value: float, digits: int = 5) -> float:
    """``value`` rounded to ``digits`` significant decimal digits; NaN and infinities stay as they are.

    Rounding a rounded number changes nothing, and a larger number never becomes the smaller one.
    """
    return float(f"{value:.{digits}g}")


def bounded_mean(values: Sequence[float]) -> float:
    """The arithmetic mean, which lies between the smallest and the largest value.

    ``fmean`` rounds the sum and the quotient: the mean of three equal numbers may differ from them in the last bit.

    Raises:
        ValueError: there are no values.
    """
    return min(max(fmean(values), min(values)), max(values))
