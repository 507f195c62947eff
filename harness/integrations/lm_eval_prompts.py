"""What lm-eval hands to a model, as our data: prompts and how an answer ends. Needs no lm-eval.

It hands prompts around as text. A conversation is rendered into a string here and read back for the model, so that the
model's own chat template is applied where that of every prompt is, in the backend.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from harness.data import Message, Prompt
from harness.errors import MixrouteError

MAX_TOKENS = 256
"""Of an answer, where the task does not say: what lm-eval's own models take."""

_MARK = "\x1echat\x1e"
"""Begins such a string; a control character that no prompt of words holds."""


def chat_as_text(history: Sequence[dict[str, Any]], add_generation_prompt: bool = True) -> str:
    """The conversation, to be given to ``prompt_of``.

    Raises:
        MixrouteError: the answer is to go on from words that are put in the model's mouth.
    """
    if not add_generation_prompt:
        raise MixrouteError("the task begins the answer itself (gen_prefix): run it without a chat template")
    return _MARK + json.dumps([[one["role"], one["content"]] for one in history], ensure_ascii=False)


def prompt_of(text: str) -> Prompt:
    """The prompt that a string stands for: a conversation of ``chat_as_text``, or plain text."""
    if not text.startswith(_MARK):
        return Prompt((Message("user", text),), "plain")
    return Prompt(tuple(Message(role, content) for role, content in json.loads(text.removeprefix(_MARK))), "chat")


def ends_of(settings: Mapping[str, Any]) -> tuple[tuple[str, ...], int]:
    """Stop strings and most tokens of an answer, from a task's ``generation_kwargs``."""
    until = settings.get("until") or ()
    return (until,) if isinstance(until, str) else tuple(until), int(settings.get("max_gen_toks") or MAX_TOKENS)
