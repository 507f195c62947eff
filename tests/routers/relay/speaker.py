"""Models of one token a character that say what the test wants, within the stop strings and length of the request."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from harness.engine.opening import OpenTask
from harness.records import Episode
from harness.suite import TaskEntry
from harness.training.play import play_episodes
from mixroute import Completion, ModelCard, Request, Router, Token
from tests.routers.pyramid.guess import Guess

Speak = Callable[[str], str]


class Speaker:
    """A model that goes on from a text as ``speak`` says."""

    def __init__(self, name: str, speak: Speak, entropy: Callable[[str], float] = lambda text: 1.0) -> None:
        self._name, self._speak, self._entropy = name, speak, entropy
        self.requests: list[Request] = []

    @property
    def read(self) -> list[str]:
        """What it has gone on from, call by call."""
        return [request.continue_from for request in self.requests]

    async def generate(self, request: Request) -> Completion:
        self.requests.append(request)
        whole = self._speak(request.continue_from)
        text = whole[: request.max_tokens]
        ends = [(place, stop) for stop in request.stop if (place := text.find(stop)) >= 0]
        stopped = bool(ends) or len(whole) < request.max_tokens
        decoded = text + "\0" if stopped else text
        if ends:
            place, stop = min(ends)
            text, decoded = text[:place], text[: place + len(stop)]
        tokens = tuple(
            Token(ord(one), -0.5, self._entropy(request.continue_from + decoded[:place]), 0.2)
            for place, one in enumerate(decoded)
        )
        finish = "stop" if stopped else "length"
        return Completion(self._name, text, tokens, len(text), finish, 5 + len(request.continue_from), 5)  # type: ignore[arg-type]

    def release(self, session: str) -> None:
        pass

    def card(self) -> ModelCard:
        return ModelCard(self._name, 1000, 2000, 16.0, f"speaker-{self._name}")

    def close(self) -> None:
        pass


def answered(router: Router, pool: Mapping[str, Speaker], max_tokens: int = 60, stop: tuple[str, ...] = ()) -> Episode:
    """One question, answered by the router."""
    task = Guess(count=1, max_tokens=max_tokens)
    task.stop = stop
    opened = OpenTask(TaskEntry(task="guess", split="test", limit=None), task, task.instances())
    (episode,) = play_episodes(opened, router, pool, 0)
    assert episode.error is None, episode.error
    return episode
