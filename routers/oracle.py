"""Oracles for analysis: they ask both models at every step, so they show what a perfect signal would reach.

They save nothing: both calls are charged. They show the success that a share of high steps can reach.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from mixroute import Completion, Granularity, MixrouteError, NotRecorded, Step, register_router

if TYPE_CHECKING:
    from harness.backends.encoding import Encoder
    from harness.quantization.divergence import Reader


@register_router("agreement-oracle")
class AgreementOracle:
    """High where the two models write different actions (the label of Hera, arXiv 2605.24598), low elsewhere."""

    granularity: ClassVar[Granularity] = "step"
    role = "oracle"

    async def act(self, step: Step) -> Completion:
        """Ask both models and compare their actions."""
        low, high = await step.ask("low"), await step.ask("high")
        return low if step.parse_action(low.text) == step.parse_action(high.text) else high


@register_router("kl-oracle")
class KlOracle:
    """High where KL(high || low), mean over the tokens of high's action, is at least ``tau``; low elsewhere.

    Both models read high's thought before the action, where replies have thoughts.

    The models are loaded a second time, to be read token by token. Only the new part of each prompt is read.

    Args:
        pool: Name or file of the suite's pool.
        tau: Threshold in nats; the card of a ``kl-sft`` checkpoint has quantiles of train steps.
    """

    granularity: ClassVar[Granularity] = "step"
    role = "oracle"

    def __init__(self, pool: str, tau: float) -> None:
        if tau < 0:
            raise ValueError(f"tau must be 0 or more, not {tau}")
        self._pool, self._tau = pool, tau
        self._loaded: tuple[Reader, Reader, Encoder] | None = None

    async def act(self, step: Step) -> Completion:
        """Ask both models, let both read high's action, and compare."""
        low, high = await step.ask("low"), await step.ask("high")
        divergence = self._divergence(step, high)
        step.log(kl=divergence)
        return high if divergence >= self._tau else low

    def _divergence(self, step: Step, high: Completion) -> float:
        from harness.quantization.divergence import mean_divergence

        # A thought that was cut is a part of its own, and the action is in the last one.
        *before, last = high.parts or (high,)
        written = [token.id for token in last.tokens]
        if min(written) < 0:
            raise NotRecorded("'kl-oracle' reads high's answer token by token, and a trace holds no token ids")
        ours, theirs, encoder = self._loaded = self._loaded or _load(self._pool)
        start = encoder.encode(step.prompt, "".join(part.forced + part.text for part in before) + last.forced).ids
        begun, end = (place - sum(len(part.tokens) for part in before) for place in high.action_tokens or (0, 0))
        action = slice(begun, end + 1) if 0 <= begun < end else slice(None)  # with the token that ends it
        return mean_divergence(ours.logprobs(start, written)[action], theirs.logprobs(start, written)[action])


def _load(name: str) -> tuple[Reader, Reader, Encoder]:
    from harness.backends.loading import open_for_comparison
    from harness.pool import load_pool
    from harness.quantization.divergence import Reader

    models = load_pool(name).models
    if not {"high", "low"} <= set(models):
        raise MixrouteError(f"router 'kl-oracle' needs a pool with 'high' and 'low'; '{name}' has {', '.join(models)}")
    high, encoder = open_for_comparison("high", models["high"])
    low, _ = open_for_comparison("low", models["low"])
    return Reader(high), Reader(low), encoder
