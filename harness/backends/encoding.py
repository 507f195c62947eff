"""Prompts to token ids, so that an append-only prompt is append-only in tokens too.

Every turn is tokenised by itself: the ids of a prompt then begin with the ids of the prompt before it, whatever the
tokenizer would merge across the turns, and a key-value cache serves from step to step. A *turn boundary* is a place
where an answer begins, or would have begun at an earlier step; boundaries too depend on the prompt alone. Part of an
answer has one every ``BLOCK`` tokens, so that models which alternate within an answer read it once and not once more
each time.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from harness.data import Message, Prompt
from harness.errors import RunStopped

_MOST_PIECES = 4096
BLOCK = 16
"""Tokens between boundaries in part of an answer: the block size of vLLM's prefix cache (its option ``block_size``)."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """A prompt in tokens."""

    ids: list[int]
    boundaries: tuple[int, ...]
    """Ends of the turns, as counts of ids, rising; the last is the length of the prompt."""

    def cached_prefix_length(self, previous: Encoded) -> int:
        """Number of leading ids that form whole turns of ``previous`` too. The last turn never counts: it is read for
        the answer.
        """
        length = 0
        for theirs, ours in zip(previous.boundaries, self.boundaries[:-1], strict=False):
            if theirs != ours or previous.ids[length:theirs] != self.ids[length:ours]:
                break
            length = ours
        return length


NOTHING = Encoded([], ())


class Encoder:
    """Tokenises prompts with one tokenizer, and caches the ids of their pieces."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._pieces: OrderedDict[str, list[int]] = OrderedDict()
        plain = tokenizer("x", add_special_tokens=True)["input_ids"]
        bos = tokenizer.bos_token_id
        self._start = [bos] if bos is not None and plain and plain[0] == bos else []

    def encode(self, prompt: Prompt, continue_from: str = "") -> Encoded:
        """Tokens of the prompt and of ``continue_from``, the part of the answer that is already there."""
        if prompt.format == "plain":
            ids = list(self._start)
            pieces = [(message.content, message.role == "user") for message in prompt.messages]
        else:
            ids = []  # a chat template writes its own start
            pieces = self._chat_pieces(prompt.messages)
        boundaries = []
        for text, answered in pieces:
            ids += self.encode_piece(text)
            if answered:
                boundaries.append(len(ids))
        begun = len(ids)
        ids += self.encode_piece(continue_from)
        boundaries += [*range(begun, len(ids), BLOCK), len(ids)]
        return Encoded(ids, tuple(sorted({*boundaries} - {0})))

    def count(self, text: str) -> int:
        """Number of tokens that the tokenizer splits a text into."""
        return len(self.encode_piece(text))

    def token_bytes(self) -> frozenset[bytes]:
        """The bytes that single tokens stand for."""
        tokenizer = self._tokenizer
        texts = [tokenizer.decode([number]) for number in range(len(tokenizer))]
        found = {text.encode() for text in texts if isinstance(text, str) and "\ufffd" not in text}
        return frozenset(found | {bytes([value]) for value in range(256)})

    def encode_piece(self, text: str) -> list[int]:
        """Tokens of a text by itself, without special ones. The list is shared: do not change it."""
        known = self._pieces.get(text)
        if known is None:
            known = list(self._tokenizer(text, add_special_tokens=False)["input_ids"]) if text else []
            self._pieces[text] = known
            if len(self._pieces) > _MOST_PIECES:
                self._pieces.popitem(last=False)
        return known

    def _chat_pieces(self, messages: tuple[Message, ...]) -> list[tuple[str, bool]]:
        """Pieces of the rendered conversation, cut where a turn ends and where an answer begins, each with whether an
        answer begins at its end.
        """
        if not getattr(self._tokenizer, "chat_template", None):
            raise RunStopped(f"{self._tokenizer.name_or_path} has no chat template: use a prompt of format 'plain'")
        turns = [{"role": message.role, "content": message.content} for message in messages]
        whole = self._render(turns, answer=True)
        pieces, done = [], 0
        for count in range(1, len(turns) + 1):
            prefixes = [(self._render(turns[:count], answer=False), False)]
            if turns[count - 1]["role"] == "assistant":
                prefixes.insert(0, (self._render(turns[: count - 1], answer=True), True))
            for prefix, answered in prefixes:
                # Templates that rewrite earlier turns (dropping old reasoning) have no stable boundary there.
                if len(prefix) > done and whole.startswith(prefix):
                    pieces.append((whole[done : len(prefix)], answered))
                    done = len(prefix)
        return [*pieces, (whole[done:], True)]

    def _render(self, turns: list[dict[str, str]], *, answer: bool) -> str:
        text = self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=answer)
        return str(text)
