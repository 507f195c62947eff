"""Routers that let one model think and another act, within one reply (docs/scaffolds.md)."""

from __future__ import annotations

from typing import ClassVar

from mixroute import Completion, Granularity, Step, register_router


class _Divided:
    """A reply whose thought one model writes, and whose action another. Both read the prompt; the second also the
    thought.
    """

    granularity: ClassVar[Granularity] = "token"
    role = "baseline"
    thinks: ClassVar[str]
    acts: ClassVar[str]

    async def act(self, step: Step) -> Completion:
        """The thought of one model, and the action of the other after it."""
        return await step.act_on(await step.think(self.thinks), self.acts)


@register_router("think-low-act-high")
class ThinkLowActHigh(_Divided):
    """Low writes the thought of each reply and high the action; for scaffolds with thoughts."""

    thinks = "low"
    acts = "high"


@register_router("think-high-act-low")
class ThinkHighActLow(_Divided):
    """High writes the thought of each reply and low the action; for scaffolds with thoughts."""

    thinks = "high"
    acts = "low"
