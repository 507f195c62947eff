"""Asking the transformers backend."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from harness.backends.transformers import TransformersBackend
from harness.pool import ModelSpec
from mixroute import Completion, Message, Prompt, Request


def open_model(folder: Path, deterministic: bool = True, **options: Any) -> TransformersBackend:
    return TransformersBackend("high", ModelSpec(weights=str(folder), options=options), deterministic=deterministic)


def ask(backend: TransformersBackend, *requests: Request) -> list[Completion]:
    async def together() -> list[Completion]:
        return await asyncio.gather(*(backend.generate(request) for request in requests))

    answers = asyncio.run(together())
    for request in requests:
        backend.release(request.session)
    return answers


def plain(text: str, session: str = "s", **changes: Any) -> Request:
    return Request(session, Prompt((Message("user", text),), "plain"), **{"max_tokens": 8, **changes})
