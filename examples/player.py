"""A backend: a player of ``guess_number.py`` by rule, without weights. ``examples/pool.yaml`` names it."""

import re
from random import Random
from typing import Any

from mixroute import Completion, MixrouteError, ModelCard, ModelSpec, Request, Token


class Player:
    """Guesses the middle of what is left, or with ``skill`` 0 any number that is left.

    Options: ``skill``, the probability of guessing the middle.

    Raises:
        MixrouteError: an unknown option, or a skill that is no probability.
    """

    def __init__(self, name: str, spec: ModelSpec, *, deterministic: bool) -> None:
        options: dict[str, Any] = {"skill": 1.0, **spec.options}
        self._skill = options.pop("skill")
        if options or not isinstance(self._skill, int | float) or not 0 <= self._skill <= 1:
            raise MixrouteError(f"options of model '{name}': {spec.options}: give 'skill' alone, between 0 and 1")
        self._name = name
        self._read: dict[str, list[str]] = {}
        """Words that each session has read, as a key-value cache would hold them."""

    async def generate(self, request: Request) -> Completion:
        """Answer one prompt; a word of it counts as a token."""
        prompt = [word for message in request.prompt.messages for word in message.content.split()]
        before = self._read.get(request.session, [])
        same = len(before) if prompt[: len(before)] == before else 0
        self._read[request.session] = prompt
        text = "" if request.max_tokens == 0 else str(self._guess(request))
        tokens = () if request.max_tokens == 0 else (Token(id=0, logprob=0.0, entropy=0.0, margin=1.0),)
        return Completion(
            model=self._name,
            text=text,
            tokens=tokens,
            content_tokens=len(tokens),
            finish="stop" if tokens else "length",
            prompt_tokens=len(prompt),
            cached_tokens=min(same, len(prompt) - 1),  # the last one is read anew, to answer
        )

    def release(self, session: str) -> None:
        """Forget the session."""
        self._read.pop(session, None)

    def card(self) -> ModelCard:
        """Made-up sizes: a skilled player is four times as large."""
        parameters = 1000 if self._skill < 1 else 4000
        return ModelCard(self._name, parameters, 2 * parameters, 16.0, fingerprint=f"player-1-{self._skill}")

    def close(self) -> None:
        """Nothing to free."""

    def _guess(self, request: Request) -> int:
        low, high = 1, 100
        messages = request.prompt.messages
        for guess, answer in zip(messages[1::2], messages[2::2], strict=True):
            number = int(re.sub(r"\D", "", guess.content) or 0)
            if answer.content == "higher":
                low = max(low, number + 1)
            elif answer.content == "lower":
                high = min(high, number - 1)
        # Drawn from what was read, so that the same prompt has the same answer.
        rng = Random("\n".join(message.content for message in messages))
        return (low + high) // 2 if rng.random() < self._skill else rng.randint(low, high)
