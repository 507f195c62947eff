"""Conversations through a model's chat template, cut into the pieces that an append-only prompt grows by."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any

from transformers import PreTrainedTokenizerBase

from harness.data import Message
from harness.errors import EpisodeError, RunStopped
from harness.text import one_line

CLOCK = datetime(2025, 1, 1)
"""What templates that print the date are told, in every run: prompts do not depend on the day."""
_MARK = "Ae7Qz"
"""A text that no template contains."""

Turns = list[dict[str, str]]

_NO_ARGUMENTS: Mapping[str, Any] = MappingProxyType({})


class ChatTemplate:
    """The chat template of a tokenizer.

    Args:
        tokenizer: The tokenizer; it may have no template as long as none is needed.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._template = tokenizer.chat_template if getattr(tokenizer, "chat_template", None) else ""
        user = {"role": "user", "content": "x"}
        self._renders = bool(self._template) and self._try([user]) is not None
        shown = self._try([{"role": "system", "content": _MARK}, user]) if self._renders else ""
        self._folds = self._renders and (shown is None or _MARK not in shown)

    def notes(self, messages: Sequence[Message]) -> dict[str, str]:
        """What is done to conversations such as ``messages`` beside rendering them, for the protocol."""
        found = {}
        if self._folds and any(message.role == "system" for message in messages):
            found["system"] = "folded into the first user turn"
        if "strftime_now" in str(self._template):
            found["clock"] = CLOCK.isoformat()
        return found

    def pieces(self, messages: Sequence[Message], arguments: Mapping[str, Any]) -> list[tuple[str, bool]]:
        """Pieces of the rendered conversation, cut where a turn ends and where an answer begins, each with whether an
        answer begins at its end.

        Args:
            messages: The conversation.
            arguments: Keyword arguments of the template.

        Raises:
            EpisodeError: the template refuses the conversation.
            RunStopped: it refuses every conversation, there is none, or it does not read one of the arguments.
        """
        if not self._template:
            raise RunStopped(f"{self._tokenizer.name_or_path} has no chat template: use a prompt of format 'plain'")
        for name in arguments:
            if not re.search(rf"\b{re.escape(name)}\b", str(self._template)):
                raise RunStopped(
                    f"the chat template of {self._tokenizer.name_or_path} reads no argument '{name}': take it out of "
                    "the scaffold's template_arguments"
                )
        turns = [{"role": message.role, "content": message.content} for message in messages]
        if self._folds:
            turns = _folded(turns)
        try:
            whole = self._render(turns, arguments, answer=True)
        except Exception as error:  # a template is a program, and may fail in any way
            stopped = EpisodeError if self._renders else RunStopped
            reason = one_line(error, 200)
            raise stopped(
                f"the chat template of {self._tokenizer.name_or_path} cannot render the prompt: "
                f"{type(error).__name__}: {reason}; a prompt of format 'plain' needs no template"
            ) from error
        pieces, done = [], 0
        for count in range(1, len(turns) + 1):
            prefixes = [(self._try(turns[:count], arguments), False)]
            if turns[count - 1]["role"] == "assistant":
                prefixes.insert(0, (self._try(turns[: count - 1], arguments, answer=True), True))
            for prefix, answered in prefixes:
                # A prefix that cannot be rendered is no border, nor is one of a template that rewrites earlier turns
                # (dropping old reasoning).
                if prefix is not None and len(prefix) > done and whole.startswith(prefix):
                    pieces.append((whole[done : len(prefix)], answered))
                    done = len(prefix)
        return [*pieces, (whole[done:], True)]

    def _try(self, turns: Turns, arguments: Mapping[str, Any] = _NO_ARGUMENTS, *, answer: bool = False) -> str | None:
        """The rendered conversation, None if the template refuses it."""
        try:
            return self._render(turns, arguments, answer=answer)
        except Exception:  # as above
            return None

    def _render(self, turns: Turns, arguments: Mapping[str, Any], *, answer: bool) -> str:
        text = self._tokenizer.apply_chat_template(
            turns, tokenize=False, add_generation_prompt=answer, strftime_now=CLOCK.strftime, **arguments
        )
        return str(text)


def _folded(turns: Turns) -> Turns:
    """The conversation with what system turns say at the start of the user turn that follows."""
    folded: Turns = []
    waiting = ""
    for turn in turns:
        if turn["role"] == "system":
            waiting += turn["content"] + "\n\n"
        elif turn["role"] == "user" and waiting:
            folded.append({**turn, "content": waiting + turn["content"]})
            waiting = ""
        else:
            folded.append(turn)
    return [*folded, {"role": "user", "content": waiting.rstrip("\n")}] if waiting else folded
