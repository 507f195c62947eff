"""Models that share a key-value cache, and conversations with them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.backends.transformers import TransformersBackend
from harness.pool import ModelSpec
from mixroute import Completion, Message, Prompt, Request

ROOM = ("You are in a room.\n>", " look\n", "You see desk 1.\n>", " open\n", "It is open.\n>", " go\n", "The end.\n>")


@dataclass(frozen=True)
class Asked:
    """A call: which model, at which step, whether it only reads, and how much of an answer it goes on from."""

    model: str
    step: int
    reads: bool = False
    begun: str = ""

    def request(self, session: str) -> Request:
        turns = ROOM[: 2 * self.step + 1]
        told = tuple(Message(("user", "assistant")[place % 2], text) for place, text in enumerate(turns))
        return Request(session, Prompt(told, "plain"), self.begun, max_tokens=0 if self.reads else 4)


Models = dict[str, TransformersBackend]


def opened(folders: dict[str, Path], *, deterministic: bool = True, **options: Any) -> Models:
    return {
        name: TransformersBackend(name, ModelSpec(weights=str(folder), options=options), deterministic=deterministic)
        for name, folder in folders.items()
    }


def close(models: Models) -> None:
    for model in models.values():
        model.close()


def share(models: Models, reread: int = 0) -> Models:
    models["high"].share_cache({"low": models["low"]}, reread)
    return models


def talk(models: Models, calls: Sequence[Asked], session: str = "s", *, at_once: bool = False) -> list[Completion]:
    """The answers of a session's calls, made one after the other or all at once."""

    async def run() -> list[Completion]:
        asked = [models[call.model].generate(call.request(session)) for call in calls]
        return list(await asyncio.gather(*asked)) if at_once else [await one for one in asked]

    try:
        return asyncio.run(run())
    finally:
        for model in models.values():
            model.release(session)
