"""The router ``relay``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness.data import text_before
from mixroute import Completion, Granularity, Step, register_router
from routers.relay.answer import Answer
from routers.relay.command import CLOSE, OPEN, asked_for

MOST_CALLS = 5
"""The paper's limit for one answer."""


@dataclass(frozen=True, slots=True)
class Relayed:
    """An answer with what training needs of it."""

    answer: Completion
    spoken: tuple[tuple[str, Completion], ...]
    """Each call of the small model, with the history that it went on from."""
    numbers: tuple[int, ...]
    """What it asked for in each command that was carried out."""


async def relay(
    step: Step, small: str, large: str, calls: int = MOST_CALLS, temperature: float | None = None
) -> Relayed:
    """Let the small model answer, and carry out its commands.

    After ``<call>n</call>`` the large model goes on for n tokens, at most as many as the task leaves, from the text
    without commands; then the small one, which reads its own commands too. Where the large model ends the answer, it is
    over. Ours, where the paper is silent: what is no number, or 0, calls nobody, and neither does a command after the
    last call that is allowed; the small model goes on in both cases. A text that ends within a command, whatever ended
    it, counts as one whose command is closed there. Both models' tokens, commands included, count towards the length of
    the answer.

    Args:
        step: To answer.
        small: Its name in the pool.
        large: Its name in the pool.
        calls: Most that are carried out.
        temperature: Of the small model; the run's if not given.
    """
    answer = Answer(step, delimiter=OPEN)
    spoken: list[tuple[str, Completion]] = []
    numbers: list[int] = []
    history = ""
    while not answer.over:
        part = await answer.write(small, answer.left, history=history, stop=(CLOSE,), temperature=temperature)
        spoken.append((history, part))
        _, opened, said = part.text.partition(OPEN)
        if not opened:
            break
        history += part.text + CLOSE
        tokens = asked_for(said)
        if tokens == 0 or len(numbers) == calls or answer.over:
            continue
        numbers.append(tokens)
        part = await answer.write(large, tokens)
        history += text_before(part.text, OPEN)
        if part.finish == "stop":
            break
    step.log(calls=len(numbers), asked=sum(numbers))
    return Relayed(answer.completion(), tuple(spoken), tuple(numbers))


@register_router("relay")
class Relay:
    """The small model writes and calls the large one by commands (arXiv 2601.05167).

    ``mixroute train relay`` writes a pool with a small model that was trained to; it is called ``relay`` there, so that
    ``low`` remains what it was.

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
