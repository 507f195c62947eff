"""A router: high precision after the first k steps.

mixroute run default --router examples/last_k.py:LastK,k=3
"""

from mixroute import Step, StepRouter


class LastK(StepRouter):
    """High precision after the first ``k`` steps."""

    def __init__(self, k: int = 5) -> None:
        if k < 0:
            raise ValueError(f"k = {k}: give 0 or more")
        self.k = k

    def choose(self, step: Step) -> str:
        """``high`` from step ``k`` on."""
        return "high" if step.index >= self.k else "low"
