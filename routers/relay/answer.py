"""An answer that several models write in turn, within the task's stop strings and length."""

from __future__ import annotations

from harness.data import before
from mixroute import Completion, Step, join


class Answer:
    """What was written so far. All calls read the prompt and the text before them, and are charged for it.

    Args:
        step: To answer.
        until: Mark up to which each part counts; see ``harness.data.join``.
    """

    def __init__(self, step: Step, until: str = "") -> None:
        self._step = step
        self._until = until
        self.parts: list[Completion] = []
        self.text = ""
        self.left = step.max_tokens
        """Tokens that may still be decoded, all models together."""

    @property
    def over(self) -> bool:
        """Whether nothing may follow: the length is used up, or a stop string came about where two parts meet."""
        return self.left <= 0 or any(stop in self.text for stop in self._step.stop)

    async def write(
        self,
        model: str,
        tokens: int,
        *,
        history: str | None = None,
        stop: tuple[str, ...] = (),
        temperature: float | None = None,
    ) -> Completion:
        """Let a model write the next part.

        Args:
            model: Its name in the pool.
            tokens: At most so many, and no more than are left.
            history: What it reads after the prompt; the text so far if not given.
            stop: Stop strings beside the task's.
            temperature: The run's if not given.
        """
        part = await self._step.ask(
            model,
            continue_from=self.text if history is None else history,
            stop=(*self._step.stop, *stop),
            max_tokens=min(tokens, self.left),
            temperature=temperature,
        )
        self.add(part)
        return part

    def add(self, part: Completion) -> None:
        """Append what a model wrote after the text so far."""
        self.parts.append(part)
        self.text += before(part.text, self._until)
        self.left -= max(1, len(part.tokens))

    def completion(self) -> Completion:
        """The whole, to be returned by the router."""
        return join(self.parts, self._until)
