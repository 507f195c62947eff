"""The two ends of every curve."""

from harness import Step, StepRouter, register_router


@register_router("always-high")
class AlwaysHigh(StepRouter):
    """High precision at every step: quality and cost that others are measured against."""

    def choose(self, step: Step) -> str:
        """Always ``high``."""
        return "high"


@register_router("always-low")
class AlwaysLow(StepRouter):
    """Low precision at every step."""

    def choose(self, step: Step) -> str:
        """Always ``low``."""
        return "low"
