"""Routers that always ask the same model: the two ends of every trade-off curve."""

from mixroute import Step, StepRouter, register_router


@register_router("always")
class Always(StepRouter):
    """One model at every step.

    Args:
        model: Name of the model in the pool.
    """

    role = "baseline"

    def __init__(self, model: str) -> None:
        self._model = model

    def choose(self, step: Step) -> str:
        """The model that was given."""
        return self._model


@register_router("always-high")
class AlwaysHigh(StepRouter):
    """High precision at every step: the quality and cost that other routers are compared with."""

    role = "baseline"

    def choose(self, step: Step) -> str:
        """Always ``high``."""
        return "high"


@register_router("always-low")
class AlwaysLow(StepRouter):
    """Low precision at every step."""

    role = "baseline"

    def choose(self, step: Step) -> str:
        """Always ``low``."""
        return "low"
