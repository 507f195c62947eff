"""Heuristics that read the text of the episode. They know the words of ALFWorld and stay low on other tasks."""

from mixroute import Step, StepRouter, register_router

NOTHING_HAPPENS = "Nothing happens."


@register_router("stuck")
class Stuck(StepRouter):
    """High precision where the agent makes no progress: after "Nothing happens.", or in a state seen before.

    A state is what the agent sees: the observation with the admissible actions.
    """

    role = "baseline"

    def choose(self, step: Step) -> str:
        """``high`` if the last action failed or the observation repeats an earlier one."""
        failed = step.observation.text.strip() == NOTHING_HAPPENS
        repeated = any(turn.observation == step.observation for turn in step.turns)
        return "high" if failed or repeated else "low"


@register_router("phase")
class Phase(StepRouter):
    """High precision in one phase of the goal; the phase depends on whether the agent holds an object.

    Args:
        high: ``search`` (hands empty: finding the object) or ``deliver`` (holding one: treating and placing it).
    """

    role = "baseline"

    def __init__(self, high: str = "deliver") -> None:
        if high not in ("search", "deliver"):
            raise ValueError(f"high must be 'search' or 'deliver', not {high!r}")
        self._high = high

    def choose(self, step: Step) -> str:
        """``high`` in the chosen phase."""
        phase = "deliver" if _holds_object(step) else "search"
        return "high" if phase == self._high else "low"


def _holds_object(step: Step) -> bool:
    """Whether the last object that changed hands was picked up, judged by the environment's answers."""
    answers = [turn.observation for turn in step.turns[1:]] + [step.observation]
    # One answer a turn: what the environment showed after the turn's action.
    for turn, answer in reversed(list(zip(step.turns, answers, strict=False))):
        if answer.text.strip() == NOTHING_HAPPENS:
            continue
        verb = turn.action.split(" ", 1)[0]
        if verb == "take":
            return True
        if verb in ("move", "put"):
            return False
    return False
