"""Prompts to token ids, so that an append-only prompt is append-only in tokens too.

Every turn is tokenised by itself: the ids of a prompt then begin with the ids of the prompt before it, whatever the
tokenizer would merge across the border, and a key-value cache serves from step to step.
"""

from __future__ import annotations

from collections import OrderedDict

from transformers import PreTrainedTokenizerBase

from harness.data import Message, Prompt
from harness.errors import RunStopped

_REMEMBERED = 4096


class Encoder:
    """Tokenises prompts for one tokenizer, remembering the pieces it has seen."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._pieces: OrderedDict[str, list[int]] = OrderedDict()
        plain = tokenizer("x", add_special_tokens=True)["input_ids"]
        bos = tokenizer.bos_token_id
        self._start = [bos] if bos is not None and plain and plain[0] == bos else []

    def encode(self, prompt: Prompt, continue_from: str) -> list[int]:
        """Token ids of the prompt, then of the part of the answer that is already there."""
        if prompt.format == "plain":
            ids = list(self._start)
            pieces = [message.content for message in prompt.messages]
        else:
            ids = []  # a chat template writes its own start
            pieces = self._chat_pieces(prompt.messages)
        for piece in [*pieces, continue_from]:
            ids += self._piece(piece)
        return ids

    def _piece(self, text: str) -> list[int]:
        known = self._pieces.get(text)
        if known is None:
            known = list(self._tokenizer(text, add_special_tokens=False)["input_ids"]) if text else []
            self._pieces[text] = known
            if len(self._pieces) > _REMEMBERED:
                self._pieces.popitem(last=False)
        return known

    def _chat_pieces(self, messages: tuple[Message, ...]) -> list[str]:
        """The rendered conversation, cut where a turn ends and where an answer begins."""
        if not getattr(self._tokenizer, "chat_template", None):
            raise RunStopped(f"{self._tokenizer.name_or_path} has no chat template: use a prompt of format 'plain'")
        turns = [{"role": message.role, "content": message.content} for message in messages]
        whole = self._render(turns, answer=True)
        pieces, done = [], 0
        for count in range(1, len(turns) + 1):
            prefixes = [self._render(turns[:count], answer=False)]
            if turns[count - 1]["role"] == "assistant":
                prefixes.insert(0, self._render(turns[: count - 1], answer=True))
            for prefix in prefixes:
                # Templates that rewrite earlier turns (dropping old reasoning) have no stable border there.
                if len(prefix) > done and whole.startswith(prefix):
                    pieces.append(whole[done : len(prefix)])
                    done = len(prefix)
        return [*pieces, whole[done:]]

    def _render(self, turns: list[dict[str, str]], *, answer: bool) -> str:
        text = self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=answer)
        return str(text)
