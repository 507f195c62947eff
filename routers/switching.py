"""Baselines that ask no model twice: how unsure the last answer was decides which model answers next.

Nothing is drafted and nothing read for the decision, so each step costs one answer. ``hysteresis`` and ``sticky``
stay with a model until it is clearly time to change; the rule of ``sticky`` is that of vLLM's semantic-router, which
switches where the gain exceeds a margin plus the weighted cost of the switch. ``budget`` spends a share of high steps.
"""

from __future__ import annotations

from abc import abstractmethod

from mixroute import Step, StepRouter, register_router
from routers.uncertainty import ByDoubt, checked_share


class _ByLastAnswer(ByDoubt, StepRouter):
    """Low in the first step; then by the uncertainty of the answer before, whichever model gave it."""

    def choose(self, step: Step) -> str:
        """``low`` in the first step, then what the rule says."""
        threshold, answers = self._chosen_threshold(), step.answers
        if not answers:
            return "low"
        doubt = self._doubt(answers[-1])
        step.log(doubt=doubt, threshold=threshold)
        return "high" if self._is_high(step, doubt, threshold) else "low"

    @abstractmethod
    def _is_high(self, step: Step, doubt: float, threshold: float) -> bool:
        """Whether high answers."""


@register_router("hysteresis")
class Hysteresis(_ByLastAnswer):
    """High once an answer of low was too unsure, and until one of high is sure enough.

    Args:
        signal: As of router ``uncertainty``.
        target_share: Share of the low model's development steps above the threshold that is then chosen.
        threshold: Uncertainty of low above which high takes over. Leave it out to have it chosen.
        release: Fraction of the threshold below which high's uncertainty must fall for low to answer again, from 0
            (never) to 1.
        tokens: Tokens that are read where the scaffold has thoughts: those of the ``action``, of the ``thought``, or
            ``all``.
    """

    name = "hysteresis"

    def __init__(
        self,
        signal: str = "mean-entropy",
        target_share: float = 0.3,
        threshold: float | None = None,
        release: float = 0.5,
        tokens: str = "action",
    ) -> None:
        super().__init__(signal, target_share, threshold, tokens)
        if not 0 <= release <= 1:
            raise ValueError(f"release must lie in [0, 1], not {release}")
        self._release = release

    def _is_high(self, step: Step, doubt: float, threshold: float) -> bool:
        return doubt >= threshold * self._release if step.models_used[-1] == "high" else doubt > threshold


@register_router("sticky")
class Sticky(_ByLastAnswer):
    """The model that answered last, until the other one is worth what it has to read first.

    Low gives way where its uncertainty exceeds the threshold by the margin and the price of what high has not read;
    high where its own falls as far below, by what low has not read.

    Args:
        signal: As of router ``uncertainty``.
        target_share: Share of the low model's development steps above the threshold that is then chosen.
        threshold: Uncertainty at which either model would do. Leave it out to have it chosen.
        margin: Uncertainty, in the signal's unit, by which a change must pay.
        price: Uncertainty, in the signal's unit, that reading 100 tokens must be worth (``Step.switch_tokens``).
        tokens: Tokens that are read where the scaffold has thoughts: those of the ``action``, of the ``thought``, or
            ``all``.
    """

    name = "sticky"

    def __init__(
        self,
        signal: str = "mean-entropy",
        target_share: float = 0.3,
        threshold: float | None = None,
        margin: float = 0.0,
        price: float = 0.01,
        tokens: str = "action",
    ) -> None:
        super().__init__(signal, target_share, threshold, tokens)
        for name, value in (("margin", margin), ("price", price)):
            if value < 0:
                raise ValueError(f"{name} must be 0 or more, not {value}")
        self._margin, self._price = margin, price

    def _is_high(self, step: Step, doubt: float, threshold: float) -> bool:
        was_high = step.models_used[-1] == "high"
        unread = step.switch_tokens("low" if was_high else "high")
        worth = self._margin + self._price * unread / 100
        step.log(unread=unread, worth=worth)
        return doubt >= threshold - worth if was_high else doubt > threshold + worth


@register_router("budget")
class Budget(_ByLastAnswer):
    """High after an unsure answer, as long as the episode has not had its share of high steps.

    Args:
        share: Share of the steps so far that may be high.
        spare: High steps that an episode may have before its share allows them.
        signal: As of router ``uncertainty``.
        target_share: Share of the low model's development steps above the threshold that is then chosen.
        threshold: Uncertainty above which high is asked. Leave it out to have it chosen.
        tokens: Tokens that are read where the scaffold has thoughts: those of the ``action``, of the ``thought``, or
            ``all``.
    """

    name = "budget"

    def __init__(
        self,
        share: float = 0.3,
        spare: int = 1,
        signal: str = "mean-entropy",
        target_share: float = 0.5,
        threshold: float | None = None,
        tokens: str = "action",
    ) -> None:
        super().__init__(signal, target_share, threshold, tokens)
        self._share = checked_share("share", share)
        if spare < 0:
            raise ValueError(f"spare must be 0 or more, not {spare}")
        self._spare = spare

    def _is_high(self, step: Step, doubt: float, threshold: float) -> bool:
        left = self._spare + self._share * (step.index + 1) - step.models_used.count("high")
        step.log(left=left)
        return left >= 1 and doubt > threshold
