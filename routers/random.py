"""Random routing: the baseline that a router must beat at the same share of high-precision steps."""

from mixroute import Step, StepRouter, register_router


@register_router("random")
class RandomRouter(StepRouter):
    """High precision with probability ``p``, independently at every step.

    Args:
        p: Probability in [0, 1].
    """

    role = "random"

    def __init__(self, p: float = 0.5) -> None:
        if not 0 <= p <= 1:
            raise ValueError(f"p must lie in [0, 1], not {p}")
        self._p = p

    def choose(self, step: Step) -> str:
        """Draw from the step's own generator."""
        return "high" if step.rng.random() < self._p else "low"
