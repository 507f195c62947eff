"""Prompts to token ids, so that an append-only prompt is append-only in tokens too.

Every turn is tokenised by itself: the ids of a prompt then begin with the ids of the prompt before it, whatever the
tokenizer would merge across the turns, and a key-value cache serves from step to step. A *turn boundary* is a place
where an answer begins, or would have begun at an earlier step; boundaries too depend on the prompt alone. Part of an
answer has one every ``BLOCK`` tokens, so that models which alternate within an answer read it once and not once more
each time. So has a prompt that is not append-only, such as one with the last turns alone: it shares with the one before
what comes before the first difference.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace

from transformers import PreTrainedTokenizerBase

from harness.backends.chat_template import ChatTemplate
from harness.backends.decoding import every_token_end, token_ends
from harness.backends.reading import BLOCK, Encoded
from harness.data import Prompt, Request
from harness.errors import EpisodeError

log = logging.getLogger(__name__)

_MOST_PIECES = 4096
_LEADS = ("\n", ".", "a", ">", "1")
"""Texts to put before a piece; the first that does not merge with it is taken."""
_SAMPLE = (
    "You are in a room.\n>",
    " look\n",
    "You see desk 1, a lamp.\n\n>",
    "go to bed 2\n",
    "  Done: 3 x 4 = 12.\n>",
)


class Encoder:
    """Tokenises prompts with one tokenizer, and caches the ids of their pieces.

    Some tokenizers put a space before all that they are given (SentencePiece's dummy prefix, ``add_prefix_space``):
    theirs are tokenised behind another text, so that only the prompt's start has it. Where the turns still do not add
    up to the prompt, the prompt is tokenised whole, and a boundary is where the tokens of its beginning end.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._pieces: OrderedDict[tuple[str, bool], list[int]] = OrderedDict()
        plain = tokenizer("x", add_special_tokens=True)["input_ids"]
        bos = tokenizer.bos_token_id
        self._start = [bos] if bos is not None and plain and plain[0] == bos else []
        self._chat = ChatTemplate(tokenizer)
        self._leads: list[tuple[str, list[int]]] = []
        self._by_piece = True
        if not self._adds_up():
            self._leads = [(text, self._ids(text)) for text in _LEADS]
            self._pieces.clear()
            self._by_piece = self._adds_up()
        if not self._by_piece:
            log.warning(
                "%s: turns do not tokenise one by one, so that prompts are tokenised whole, and cached less",
                tokenizer.name_or_path,
            )

    def encode(self, prompt: Prompt, continue_from: str = "") -> Encoded:
        """Tokens of the prompt and of ``continue_from``, the part of the answer that is already there."""
        if prompt.format == "plain":
            start = self._start
            pieces = [(message.content, message.role == "user") for message in prompt.messages]
        else:
            start = []  # a chat template writes its own
            pieces = self._chat.pieces(prompt.messages, prompt.template_arguments)
        encode = self._encode if self._by_piece else self._whole
        encoded = encode(pieces, start, continue_from)
        if prompt.append_only:
            return encoded
        begun = len(encode(pieces, start, "").ids) if continue_from else len(encoded.ids)
        ends = {*range(BLOCK, begun, BLOCK), *range(begun, len(encoded.ids), BLOCK), len(encoded.ids)}
        return Encoded(encoded.ids, tuple(sorted(ends - {0})))

    def encode_reply(self, prompt: Prompt, reply: str) -> Encoded:
        """Tokens of the prompt and of a whole reply, of which a model is to say how likely each token is.

        Raises:
            EpisodeError: the reply has no tokens of its own.
        """
        begun, whole = self.encode(prompt).ids, self.encode(prompt, reply)
        if not begun or whole.ids[: len(begun)] != begun or len(whole.ids) == len(begun):
            raise EpisodeError("the reply cannot be read: the tokenizer gives it no tokens apart from the prompt's")
        return replace(whole, reply_from=len(begun))

    def encode_request(self, request: Request, context: int) -> Encoded:
        """Tokens of a request's prompt, without its beginning where it is too long and may be truncated.

        Args:
            request: The request.
            context: Most tokens of a prompt with its answer.

        Raises:
            EpisodeError: it is empty, or leaves no room for the answer; or a reply that is to be read has no prompt.
        """
        judged = request.max_tokens == 0 and bool(request.continue_from)
        prompt = (self.encode_reply if judged else self.encode)(request.prompt, request.continue_from)
        room = context - request.max_tokens
        if request.truncate and len(prompt.ids) > room > 0:
            log.warning(
                "a prompt of %d tokens is too long for a context of %d with an answer of %d: its first %d tokens are "
                "left out",
                *(len(prompt.ids), context, request.max_tokens, len(prompt.ids) - room),
            )
            prompt = prompt.last(room)
            if prompt.reply_from is not None and prompt.reply_from <= 0:
                raise EpisodeError(f"a reply leaves no room for its prompt in a context of {context}")
            return prompt
        if not prompt.ids:
            raise EpisodeError("the prompt is empty")
        if len(prompt.ids) > room:
            raise EpisodeError(f"a prompt of {len(prompt.ids)} tokens leaves no room in a context of {context}")
        return prompt

    def notes(self, prompt: Prompt) -> dict[str, str]:
        """What is done to prompts like this one beside rendering them; see ``ChatTemplate.notes``."""
        return {} if prompt.format == "plain" else self._chat.notes(prompt.messages)

    def _encode(self, pieces: Sequence[tuple[str, bool]], start: Sequence[int], continue_from: str) -> Encoded:
        """Tokens of each piece by itself."""
        ids = list(start)
        begun = 0
        boundaries = []
        for text, answered in [*pieces, (continue_from, False)]:
            begun = len(ids)
            ids += self._piece(text, first=begun == len(start))
            if answered:
                boundaries.append(len(ids))
        boundaries += [*range(begun, len(ids), BLOCK), len(ids)]
        return Encoded(ids, tuple(sorted({*boundaries} - {0})))

    def _whole(self, pieces: Sequence[tuple[str, bool]], start: Sequence[int], continue_from: str) -> Encoded:
        """Tokens of the text as one."""
        ids = [*start, *self._ids("".join(text for text, _ in pieces) + continue_from)]
        boundaries, text = [], ""
        for piece, answered in pieces:
            text += piece
            beginning = [*start, *self._ids(text)]
            if answered and ids[: len(beginning)] == beginning:
                boundaries.append(len(beginning))
        begun = boundaries[-1] if boundaries else 0
        boundaries += [*range(begun, len(ids), BLOCK), len(ids)]
        return Encoded(ids, tuple(sorted({*boundaries} - {0})))

    def _adds_up(self) -> bool:
        """Whether the tokens of turns, one by one, are read as the text of all of them."""
        pieces = [(text, True) for text in _SAMPLE]
        whole = "".join(_SAMPLE)
        ids = self._encode(pieces, [], "").ids
        return self._text(ids) in (whole, self._text(self._ids(whole)))

    def _text(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(ids), clean_up_tokenization_spaces=False))

    def count(self, text: str) -> int:
        """Number of tokens that the tokenizer splits a text into."""
        return len(self.encode_piece(text))

    def token_ends(self, text: str) -> tuple[int, ...]:
        """Where each of the tokens that the tokenizer splits a text into ends in it, in characters."""
        return token_ends(self._tokenizer, self.encode_piece(text), text)

    def reply_ends(self, encoded: Encoded, reply: str) -> tuple[int, ...]:
        """Where each token of the reply in a prompt of ``encode_reply`` ends in it, in characters."""
        return every_token_end(self._tokenizer, encoded.ids[encoded.reply_from :], reply)

    def token_bytes(self) -> frozenset[bytes]:
        """The bytes that single tokens stand for."""
        tokenizer = self._tokenizer
        texts = [tokenizer.decode([number]) for number in range(len(tokenizer))]
        found = {text.encode() for text in texts if isinstance(text, str) and "\ufffd" not in text}
        return frozenset(found | {bytes([value]) for value in range(256)})

    def encode_piece(self, text: str) -> list[int]:
        """Tokens of a text that other text precedes, without special ones. The list is shared: do not change it."""
        return self._piece(text, first=False)

    def _piece(self, text: str, *, first: bool) -> list[int]:
        """Tokens of a piece of a prompt, the first or a later one."""
        key = text, first and bool(self._leads)
        known = self._pieces.get(key)
        if known is None:
            known = self._pieces[key] = self._ids(text) if first else self._behind_other_text(text)
            if len(self._pieces) > _MOST_PIECES:
                self._pieces.popitem(last=False)
        return known

    def _behind_other_text(self, text: str) -> list[int]:
        for lead, ids in self._leads if text else ():
            both = self._ids(lead + text)
            if ids and both[: len(ids)] == ids:
                return both[len(ids) :]
        return self._ids(text)

    def _ids(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"]) if text else []
