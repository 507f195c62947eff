"""``arith-gen``: generated arithmetic word problems with worked solutions and integer answers."""

from tasks.reasoning.arith.problem import Problem, problem
from tasks.reasoning.arith.task import ArithGenTask

__all__ = ["ArithGenTask", "Problem", "problem"]
