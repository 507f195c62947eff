"""An answer that several models write in turn, within the task's stop strings and length."""

from __future__ import annotations

from harness.joining import text_before
from mixroute import Completion, Step, join


class Answer:
    """The answer as far as it is written. Every call reads the prompt and the text before it, and is charged for both.

    Args:
        step: The step to answer.
        delimiter: Text after it in a part is no part of the answer; see ``harness.data.join``.
    """

    def __init__(self, step: Step, delimiter: str = "") -> None:
        self._step = step
        self._delimiter = delimiter
        self.parts: list[Completion] = []
        self.text = ""
        self.left = step.max_tokens
        """Number of tokens that may still be decoded, by all models together."""

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
            tokens: Most tokens that it may write; never more than are left.
            history: The text that it reads after the prompt; the text so far if not given.
            stop: Stop strings in addition to the task's.
            temperature: Sampling temperature; the run's if not given.
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
        """Append a part that a model wrote."""
        self.parts.append(part)
        self.text += text_before(part.text, self._delimiter)
        self.left -= max(1, len(part.tokens))

    def completion(self) -> Completion:
        """The whole answer, for the router to return."""
        return join(self.parts, self._delimiter)
