"""The router ``relay``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness.joining import text_before
from mixroute import Completion, Granularity, Step, register_router
from routers.relay.answer import Answer
from routers.relay.call_tag import CLOSE, OPEN, requested_tokens

MOST_CALLS = 5
"""The paper's limit for one answer."""


@dataclass(frozen=True, slots=True)
class Relayed:
    """An answer, and the calls that training learns from."""

    answer: Completion
    small_calls: tuple[tuple[str, Completion], ...]
    """Each call of the small model, with the text that it continued."""
    requested: tuple[int, ...]
    """Tokens that the small model asked for in each call that was carried out."""


async def relay(
    step: Step, small: str, large: str, calls: int = MOST_CALLS, temperature: float | None = None
) -> Relayed:
    """Let the small model answer, and carry out its calls.

    After ``<call>n</call>`` the large model continues for n tokens, at most as many as the task leaves, from the text
    without tags; then the small one continues, which also reads its own tags. If the large model ends the answer, the
    answer is complete. Ours, where the paper is silent: a tag with 0 or without a number calls nobody, nor does a tag
    after the last call that is allowed; the small model continues in both cases. A text that ends within a tag counts
    as if the tag were closed there. The tokens of both models, tags included, count towards the length of the answer.

    Args:
        step: Step to answer.
        small: Name of the small model in the pool.
        large: Name of the large model in the pool.
        calls: Most calls that are carried out.
        temperature: Temperature of the small model; the run's if not given.
    """
    answer = Answer(step, delimiter=OPEN)
    small_calls: list[tuple[str, Completion]] = []
    requested: list[int] = []
    history = ""
    while not answer.over:
        part = await answer.write(small, answer.left, history=history, stop=(CLOSE,), temperature=temperature)
        small_calls.append((history, part))
        _, opened, content = part.text.partition(OPEN)
        if not opened:
            break
        history += part.text + CLOSE
        tokens = requested_tokens(content)
        if tokens == 0 or len(requested) == calls or answer.over:
            continue
        requested.append(tokens)
        part = await answer.write(large, tokens)
        history += text_before(part.text, OPEN)
        if part.finish == "stop":
            break
    step.log(calls=len(requested), asked=sum(requested))
    return Relayed(answer.completion(), tuple(small_calls), tuple(requested))


@register_router("relay")
class Relay:
    """The small model writes and calls the large one (RelayLLM, arXiv 2601.05167).

    ``mixroute train relay`` writes a pool with a small model that was trained to do so; it is called ``relay`` there,
    so that ``low`` stays unchanged.

    Args:
        small: The model that writes.
        large: The model that it calls.
        calls: Most calls in an answer.
    """

    granularity: ClassVar[Granularity] = "token"
    role = "trained"

    def __init__(self, small: str = "relay", large: str = "high", calls: int = MOST_CALLS) -> None:
        if calls < 0:
            raise ValueError(f"calls must be 0 or more, not {calls}")
        self._small, self._large, self._calls = small, large, calls

    async def act(self, step: Step) -> Completion:
        """Relay one answer."""
        return (await relay(step, self._small, self._large, self._calls)).answer
