"""Conversion of lm-eval's requests into prompts, stop strings and lengths. Does not need lm-eval.

lm-eval passes prompts as text. A conversation is encoded into a string here and decoded again for the model, so that
the backend applies the model's own chat template, as it does for every prompt.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from harness.data import Message, Prompt
from harness.errors import MixrouteError

MAX_TOKENS = 256
"""Longest answer in tokens where the task states none; the default of lm-eval's own models."""

_MARK = "\x1echat\x1e"
"""Prefix of an encoded conversation; it holds a control character that no ordinary prompt holds."""


def chat_as_text(history: Sequence[dict[str, Any]], add_generation_prompt: bool = True) -> str:
    """Encode a conversation for ``prompt_of``.

    Raises:
        MixrouteError: the task prefills the answer (``gen_prefix``).
    """
    if not add_generation_prompt:
        raise MixrouteError("the task begins the answer itself (gen_prefix): run it without a chat template")
    return _MARK + json.dumps([[one["role"], one["content"]] for one in history], ensure_ascii=False)


def prompt_of(text: str) -> Prompt:
    """Decode a prompt: a conversation that ``chat_as_text`` encoded, or plain text."""
    if not text.startswith(_MARK):
        return Prompt((Message("user", text),), "plain")
    return Prompt(tuple(Message(role, content) for role, content in json.loads(text.removeprefix(_MARK))), "chat")


def generation_limits(settings: Mapping[str, Any]) -> tuple[tuple[str, ...], int]:
    """Stop strings and longest answer in tokens, from a task's ``generation_kwargs``."""
    until = settings.get("until") or ()
    return (until,) if isinstance(until, str) else tuple(until), int(settings.get("max_gen_toks") or MAX_TOKENS)
