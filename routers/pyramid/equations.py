"""Checks of the equations in an answer by calculation, without a model and without the right answer."""

from __future__ import annotations

import ast
import re
from fractions import Fraction

_SIGNS = (
    (re.compile(r"\\times|\\cdot|[×·]|(?<=\d)[ \t]*x[ \t]*(?=\d)"), "*"),
    (re.compile(r"\\div|÷"), "/"),
    (re.compile("\u2212"), "-"),
    (re.compile(r"\\frac\{([^{}]*)\}\{([^{}]*)\}"), r"(\1)/(\2)"),
    (re.compile(r"\\text\{[^{}]*\}|\\?\$|\*\*|\\[()\[\]]|(?<=\d),(?=\d{3}\b)"), ""),
    (re.compile(r"[ \t]+"), " "),
)
"""Replacements: other ways to write operators; marks of money, mathematics and emphasis; words within formulas;
separators of thousands."""

_NUMBER = r"-?(?:\d{1,9}\.\d{1,6}|\d{1,15})"
"""A number with no more digits than a float can represent exactly."""

_TERM = rf"\({{0,2}} ?{_NUMBER} ?\){{0,2}}"
_EQUATION = re.compile(rf"(?<![\w.])({_TERM}(?: ?[-+*/] ?{_TERM}){{1,9}}) ?= ?({_NUMBER})(?![\w]|\.\d| ?[-+*/%^(])")
_GOES_ON = re.compile(r"[\w)\]}%] ?[-+*/^] ?\(*$")
"""Matches before an expression that is the end of a longer one with a part that is no number."""


def false_equations(text: str) -> int:
    """Number of equations between numbers in a text that do not hold.

    An equation is an expression of up to ten numbers with ``+ - * /`` and parentheses, in plain text or simple LaTeX,
    an equals sign and a number, all in one line. A result with decimals may be truncated or rounded. Anything else
    (variables, units in plain text, percentages) is ignored.
    """
    for sign, plain in _SIGNS:
        text = sign.sub(plain, text)
    return sum(
        _holds(found[1], found[2]) is False
        for found in _EQUATION.finditer(text)
        if not _GOES_ON.search(text, max(0, found.start() - 8), found.start())
    )


def _holds(expression: str, result: str) -> bool | None:
    """Whether an equation holds; None if the expression has no value (unbalanced parentheses, division by 0)."""
    try:
        value = _value(ast.parse(expression.strip(), mode="eval").body)
    except (SyntaxError, ZeroDivisionError):
        return None
    _, _, decimals = result.partition(".")
    if not decimals:
        return value == Fraction(result)
    unit = Fraction(1, 10 ** len(decimals))
    cut_off = abs(value) - abs(Fraction(result))
    return abs(value - Fraction(result)) <= unit / 2 or 0 <= cut_off < unit


def _value(node: ast.expr) -> Fraction:
    """Exact value of a tree of the four operations; anything else in it raises ``SyntaxError``."""
    match node:
        case ast.Constant(value=int() | float() as number):
            return Fraction(str(number))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand)
        case ast.BinOp(left=left, op=sign, right=right):
            one, other = _value(left), _value(right)
            match sign:
                case ast.Add():
                    return one + other
                case ast.Sub():
                    return one - other
                case ast.Mult():
                    return one * other
                case ast.Div():
                    return one / other
    raise SyntaxError(ast.dump(node))
