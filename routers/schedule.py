"""Routers that depend on the step's number alone."""

from mixroute import Step, StepRouter, register_router


def _at_least_one(k: int) -> int:
    if k < 1:
        raise ValueError(f"k must be 1 or more, not {k}")
    return k


@register_router("first-k")
class FirstK(StepRouter):
    """High precision for the first ``k`` steps of an episode, low after."""

    role = "baseline"

    def __init__(self, k: int = 5) -> None:
        self._k = _at_least_one(k)

    def choose(self, step: Step) -> str:
        """``high`` while the step's number is below ``k``."""
        return "high" if step.index < self._k else "low"


@register_router("every-k")
class EveryK(StepRouter):
    """High precision on every ``k``-th step, beginning with the first; low otherwise."""

    role = "baseline"

    def __init__(self, k: int = 4) -> None:
        self._k = _at_least_one(k)

    def choose(self, step: Step) -> str:
        """``high`` where ``k`` divides the step's number."""
        return "high" if step.index % self._k == 0 else "low"
