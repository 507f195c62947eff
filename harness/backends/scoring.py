"""Scoring: what a model says of the tokens of answers that it is given, instead of writing them.

What answers and their prompts share at the beginning is read once: their tokens form a tree, and a pass goes on from
the branch that the pass before has read. Prompts of an episode are append-only, so that all its steps take about as
long as its longest prompt.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor
from transformers import PreTrainedTokenizerBase

from harness.backends.decoding import content_length, cut_at_stop, decode, end_tokens, score_token
from harness.backends.encoding import Encoder
from harness.backends.sequences import SequenceModel
from harness.data import GivenAnswer, Request, ScoredToken

_MOST_LOGITS = 1 << 27
"""Most logits that a pass returns, 512 MB in float32."""


@dataclass(slots=True)
class _Given:
    """An answer in tokens."""

    place: int
    """Among the answers to be scored."""
    prompt: list[int]
    ids: list[int]
    stop: tuple[str, ...]
    text: str
    open_end: bool
    """Whether one more token ended it, which may be any that ends an answer or completes a stop string."""

    @property
    def read(self) -> list[int]:
        """What the model must read to say all about the answer."""
        return self.prompt + (self.ids if self.open_end else self.ids[:-1])


class Tree:
    """Token sequences, merged where they begin alike, that hang on a trunk which was read in the pass before.

    Tokens are numbered: those of the trunk first, then those of the tree as they were added.

    Args:
        trunk: The trunk's tokens.
        places: Where the pass before read them: their numbers in its tree.
    """

    def __init__(self, trunk: Sequence[int] = (), places: Sequence[int] = ()) -> None:
        self.places = list(places)
        self.ids: list[int] = []
        self.parents: list[int] = []
        self.given: list[tuple[_Given, list[int]]] = []
        """The answers, each with the numbers of the tokens after which the model speaks of one of its own."""
        self.keep: dict[int, int] = {}
        """Numbers of the tokens to score, each with its row among the logits of the pass."""
        self.last: list[int] = []
        """Numbers of the tokens of the answer that was added last."""
        self._held = len(places)
        self._children = {(place - 1, token): place for place, token in enumerate(trunk)}
        self._again: dict[int, int] = {}
        """Tokens of the trunk that are read again for their logits, with their new numbers."""

    def missing(self, ids: Sequence[int]) -> int:
        """How many tokens ``ids`` would add."""
        node = -1
        for place, token in enumerate(ids):
            found = self._children.get((node, token))
            if found is None:
                return len(ids) - place
            node = found
        return 0

    def add(self, given: _Given) -> None:
        """Add an answer."""
        node, path = -1, []
        for token in given.read:
            if (node, token) not in self._children:
                self._children[node, token] = self._new(token, node)
            node = self._children[node, token]
            path.append(node)
        asked = [self._with_logits(node, given.read[depth]) for depth, node in self._asked(given, path)]
        for one in asked:
            self.keep.setdefault(one, len(self.keep))
        self.given.append((given, asked))
        self.last = path

    def _asked(self, given: _Given, path: Sequence[int]) -> list[tuple[int, int]]:
        return list(enumerate(path))[len(given.prompt) - 1 :]

    def _with_logits(self, node: int, token: int) -> int:
        if node >= self._held:
            return node
        if node not in self._again:
            self._again[node] = self._new(token, node - 1)
        return self._again[node]

    def _new(self, token: int, parent: int) -> int:
        self.ids.append(token)
        self.parents.append(parent)
        return self._held + len(self.ids) - 1

    def rows(self) -> list[int]:
        """Places among ``ids`` of the tokens of ``keep``, in order."""
        return [number - self._held for number in self.keep]


class Scorer:
    """Scores answers with a model; ``passes`` plans, ``score`` computes, on the thread that the model runs on.

    Args:
        model: The model.
        tokenizer: The model's.
        encoder: Tokenises prompts and texts.
        max_rows: Most tokens in one pass. A longer text still runs whole.
        context: Most tokens of a text.
    """

    def __init__(
        self,
        model: SequenceModel,
        tokenizer: PreTrainedTokenizerBase,
        encoder: Encoder,
        *,
        max_rows: int,
        context: int,
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._encoder = encoder
        self._ends = end_tokens(model.model, tokenizer)
        self._cache = model.new_cache()
        """What the last pass read."""
        self._max_rows = max_rows
        self._context = context
        self._most_kept = max(16, _MOST_LOGITS // int(model.model.config.get_text_config().vocab_size))

    def passes(self, answers: Sequence[tuple[Request, GivenAnswer]]) -> Iterator[Tree]:
        """The passes that score the answers, to be run in this order; answers that cannot be scored are in none."""
        found = [self._given(place, request, answer) for place, (request, answer) in enumerate(answers)]
        tree = Tree()
        read: list[int] = []
        for given in sorted((one for one in found if one), key=lambda one: one.read):
            rows = len(tree.ids) + tree.missing(given.read)
            kept = len(tree.keep) + len(given.ids) + 1
            if tree.ids and (rows > self._max_rows or kept > self._most_kept):
                yield tree
                # In this order no later text shares more with what was read than this one does.
                shared = next((n for n, (a, b) in enumerate(zip(read, given.read, strict=False)) if a != b), len(read))
                tree = Tree(read[:shared], tree.last[:shared])
            tree.add(given)
            read = given.read
        if tree.ids:
            yield tree

    def score(self, tree: Tree) -> dict[int, tuple[ScoredToken, ...]]:
        """Run one pass; returns the scored tokens of its answers by their place."""
        self._cache = self._model.branch(self._cache, tree.places)
        logits = self._model.read_tree(self._cache, tree.ids, tree.parents, tree.rows())
        scored = {}
        for given, asked in tree.given:
            rows = [logits[tree.keep[node]] for node in asked]
            tokens = [score_token(row, token) for row, token in zip(rows, given.ids, strict=False)]
            if given.open_end:
                tokens.append(self._end(rows[-1], given))
            scored[given.place] = tuple(tokens)
        return scored

    def _end(self, logits: Tensor, given: _Given) -> ScoredToken:
        """The token that ends an answer: the model's first choice if it does, else the likeliest end of turn."""
        first = int(logits.argmax())
        if first in self._ends or cut_at_stop(decode(self._tokenizer, [*given.ids, first]), given.stop) == given.text:
            return score_token(logits, first)
        return min((score_token(logits, end) for end in self._ends), key=lambda one: one.shortfall)

    def _given(self, place: int, request: Request, answer: GivenAnswer) -> _Given | None:
        prompt = self._encoder.encode(request.prompt, request.continue_from).ids
        if not prompt or len(prompt) + answer.decoded_tokens > self._context:
            return None
        content = self._encoder.encode_piece(answer.text)
        if answer.finish == "length":
            fits = content and len(content) == answer.content_tokens == answer.decoded_tokens
            return _Given(place, prompt, content, request.stop, answer.text, open_end=False) if fits else None
        if len(content) == answer.content_tokens == answer.decoded_tokens - 1:
            return _Given(place, prompt, content, request.stop, answer.text, open_end=True)
        for stop in request.stop:
            whole = self._encoder.encode_piece(answer.text + stop)
            for ids in (whole, content + self._encoder.encode_piece(stop)):
                length = content_length(self._tokenizer, ids, answer.text)
                if (length, len(ids)) == (answer.content_tokens, answer.decoded_tokens):
                    return _Given(place, prompt, ids, request.stop, answer.text, open_end=False)
        return None
