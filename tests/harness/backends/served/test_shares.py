"""Shares of time add up, and statistics from few log-probabilities bound those from all."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.backends.served.shares import BusyClock, token_from_top
from harness.numbers import round_significant


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0.001, 10)), min_size=1, max_size=40))
def test_shares_of_all_calls_add_up_to_the_busy_time(events: list[tuple[int, float]]) -> None:
    now = busy = total = 0.0
    clock = BusyClock(lambda: now)
    flying: dict[int, float] = {}
    for call, seconds in events:
        if call in flying:
            clock.end()
            total += clock.read() - flying.pop(call)
        else:
            flying[call] = clock.begin()
        now += seconds
        busy += seconds if flying else 0.0
    for began in list(flying.values()):
        clock.end()
        total += clock.read() - began
    assert total == pytest.approx(busy)


@given(st.lists(st.floats(0.001, 1), min_size=2, max_size=50), st.integers(1, 20))
def test_entropy_of_the_likeliest_is_a_lower_bound(weights: list[float], count: int) -> None:
    logprobs = sorted((math.log(weight / math.fsum(weights)) for weight in weights), reverse=True)
    exact = -math.fsum(math.exp(value) * value for value in logprobs)
    token = token_from_top(7, logprobs[0], logprobs[:count])
    # A token keeps 5 significant digits of each figure.
    assert (token.id, token.logprob) == (7, round_significant(logprobs[0]))
    assert token.entropy <= round_significant(exact + 1e-9)
    if count >= len(logprobs):
        assert token.entropy == pytest.approx(exact, rel=5e-5, abs=1e-9)
    if count >= 2:
        assert token.margin == pytest.approx(math.exp(logprobs[0]) - math.exp(logprobs[1]), rel=5e-5)
