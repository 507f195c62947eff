"""Equations of an answer that do not hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixroute import open_task
from routers.pyramid.equations import false_equations


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("Elif now has: 6 * 4 = 24\nElif now has: 54 * 4 = 226", 1),
        ("2 + 3 * 4 = 14, not 2 + 3 * 4 = 20", 1),
        ("(2 + 3) * 4 = 20 and (2 + 3) * 4 = 14", 1),
        ("\\(9 \\times \\$2 = \\$18\\), \\[ 9 \\times 2 = 19 \\]", 1),
        ("\\frac{3}{4} \\cdot 8 = 7", 1),
        ("10 \\text{ dogs} \\times 0.5 \\text{ hours/dog} = 6 \\text{ hours}", 1),
        ("<<48/2=24>>24 x 3 = 73", 1),
        ("5 \u00d7 3 = 16; 8 \u00f7 2 = 5; 8 \u2212 2 = 5", 3),
        ("1,000 + 1 = 1,001", 0),
        ("1,000 + 1 = 1,002", 1),
        ("5 - -3 = 8, -5 + 3 = -2", 0),
        # Decimals may be rounded or cut.
        ("2/3 = 0.67 or 0.66, 2/3 = 0.66, -2/3 = -0.66", 0),
        ("10 / 3 = 3.4", 1),
        ("97 / 3 = 32", 1),
        # Marks of lists, sentences and money are no part of it.
        ("- 5 * 3 = 15\n1. 16 - 3 = 13\n**3 * 4 = 12**. 7 + 1 = 8.", 0),
        # Part of a longer expression, or not made of numbers alone.
        ("2 + 3 = 10/2, x * 5 + 3 = 18, 2x + 3 = 7, 5^2 + 1 = 26, 20% * 50 = 10, 50 + 5% = 60%", 0),
        ("5 + 3 = 8 = 4 * 2", 0),
        # No value.
        ("1 / 0 = 3, ((2 + 3) = 5, 007 + 1 = 8", 0),
        ("2 + 3 =\n6", 0),
        ("123456789012.123456 * 1 = 123456789012.123457, 123456789.123456 * 1 = 123456789.123456", 0),
        ("123456789012345 * 1 = 123456789012346, 0.000001 + 0.1 = 0.100003", 2),
        ("", 0),
    ],
)
def test_equations_that_do_not_hold_are_counted(text: str, count: int) -> None:
    assert false_equations(text) == count


def test_worked_solutions_hold() -> None:
    for one in open_task("arith-gen", split="dev").instances()[:60]:
        assert false_equations(one.data.solution) == 0


NUMBERS = st.integers(-999, 999)


@given(NUMBERS, st.sampled_from("+-*"), NUMBERS, st.integers(-3, 3), st.text("so: \n", max_size=5))
def test_an_equation_is_false_if_its_result_is(one: int, sign: str, other: int, off: int, around: str) -> None:
    result = {"+": one + other, "-": one - other, "*": one * other}[sign] + off
    assert false_equations(f"{around} {one} {sign} {other} = {result}\n{around}") == (off != 0)


@given(st.text("12+-*/=() .,$x\\\n%", max_size=60))
def test_any_text_can_be_read(text: str) -> None:
    assert 0 <= false_equations(text) <= text.count("=")
