"""Baseline for routers that read low's action: high where the environment does not list that action."""

from __future__ import annotations

from typing import ClassVar

from mixroute import Completion, Granularity, Step, register_router
from routers.dmr.features import is_listed


@register_router("unlisted")
class Unlisted:
    """Low answers every step; high is asked where the environment lists its actions and low's is not among them.

    The agent does not see that list. Both answers are charged. On tasks that list no actions, low always answers.
    """

    granularity: ClassVar[Granularity] = "step"
    role = "baseline"

    async def act(self, step: Step) -> Completion:
        """Low's answer, or high's."""
        draft = await step.ask("low")
        if not step.observation.admissible or is_listed(step.parse_action(draft.text), step.observation):
            return draft
        return await step.ask("high")
