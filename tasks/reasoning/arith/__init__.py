"""``arith-gen``: arithmetic word problems drawn from a number, with worked solutions and exact whole answers."""

from tasks.reasoning.arith.problem import Problem, problem
from tasks.reasoning.arith.task import ArithGenTask

__all__ = ["ArithGenTask", "Problem", "problem"]
