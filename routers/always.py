"""The two ends of every curve."""

from mixroute import Step, StepRouter, register_router


@register_router("always")
class Always(StepRouter):
    """The same model at every step.

    Args:
        model: Its name in the pool.
    """

    role = "baseline"

    def __init__(self, model: str) -> None:
        self._model = model

    def choose(self, step: Step) -> str:
        """Always that model."""
        return self._model


@register_router("always-high")
class AlwaysHigh(StepRouter):
    """High precision at every step: quality and cost that others are measured against."""

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
