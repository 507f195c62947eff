"""Decoding: from logits to tokens, and from tokens to text up to a stop string."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from harness.data import ScoredToken, Token


def pick_token(logits: Tensor, temperature: float, generator: torch.Generator | None) -> Token:
    """The next token of one sequence, greedy at temperature 0, with statistics at temperature 1.

    One sequence at a time on purpose: a reduction over a batch may round differently with its size.

    Args:
        logits: Shape (vocabulary,), float32.
        temperature: 0 picks the most likely token.
        generator: Source of randomness; needed when ``temperature`` is above 0.

    Raises:
        ValueError: the model gave no finite distribution.
    """
    if temperature == 0:
        chosen = int(logits.argmax())
    else:
        weights = torch.softmax(logits / temperature, dim=-1)
        chosen = int(torch.multinomial(weights.cpu(), 1, generator=generator))
    return score_token(logits, chosen).token


def score_token(logits: Tensor, chosen: int) -> ScoredToken:
    """A token with its statistics at temperature 1, as ``pick_token`` records them.

    Args:
        logits: Shape (vocabulary,), float32.
        chosen: Id of the token.

    Raises:
        ValueError: the model gave no finite distribution.
    """
    logprobs = torch.log_softmax(logits, dim=-1)
    probs = logprobs.exp()
    top = torch.topk(probs, 2)
    # 0 * -inf is nan; a token of probability zero adds nothing to the entropy.
    entropy = float(-(probs * logprobs.clamp_min(-1e4)).sum())
    margin = float(top.values[0] - top.values[1])
    logprob = float(logprobs[chosen])
    if not math.isfinite(logprob + entropy):
        raise ValueError("its next-token distribution is not finite")
    token = Token(id=chosen, logprob=logprob, entropy=entropy, margin=margin)
    return ScoredToken(token, float(logprobs.max()) - logprob)


def end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Ids of the tokens that end an answer."""
    ends = model.generation_config.eos_token_id if model.generation_config else None
    return frozenset({*(ends if isinstance(ends, list) else [ends]), tokenizer.eos_token_id} - {None})


def cut_at_stop(text: str, stop: Sequence[str]) -> str | None:
    """``text`` up to its first stop string, or None if it has none."""
    places = [place for string in stop if (place := text.find(string)) >= 0]
    return text[: min(places)] if places else None


def ended_by_special(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], stop: Sequence[str]) -> bool:
    """Whether generated tokens hold a stop string that special tokens are part of: texts leave these out."""
    known = _special_stops.setdefault(tokenizer, {})
    wanted = known.get(tuple(stop))
    if wanted is None:
        special = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
        wanted = known[tuple(stop)] = [string for string in stop if any(token in string for token in special)]
    if not wanted:
        return False
    raw = tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return any(string in raw for string in wanted)


def token_ends(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], text: str) -> tuple[int, ...]:
    """Where each of the leading tokens that make ``text`` ends in it, in characters."""
    ends: list[int] = []
    for count in range(1, len(ids) + 1 if text else 0):
        # A character may take several tokens, and its first bytes alone decode to a replacement character.
        written = decode(tokenizer, ids[:count])
        if written.startswith(text):
            return (*ends, len(text))
        differ = (place for place, (ours, theirs) in enumerate(zip(written, text, strict=False)) if ours != theirs)
        ends.append(next(differ, len(written)))
    return tuple(ends)


def every_token_end(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], text: str) -> tuple[int, ...]:
    """Where each of the tokens that a text was split into ends in it, in characters; never before an earlier one."""
    ends = token_ends(tokenizer, ids, text)
    return tuple(accumulate((*ends, *[len(text)] * (len(ids) - len(ends))), max))


def content_length(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], text: str) -> int:
    """Number of leading tokens whose text begins with ``text``."""
    return len(token_ends(tokenizer, ids, text))


def decode(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    """Text of generated tokens, special tokens left out, spaces as generated."""
    lead = _lead(tokenizer)
    before, text = _decode(tokenizer, lead) if lead else "", _decode(tokenizer, [*lead, *ids])
    return text.removeprefix(before) if text.startswith(before) else _decode(tokenizer, ids)


_special_stops: WeakKeyDictionary[PreTrainedTokenizerBase, dict[tuple[str, ...], list[str]]] = WeakKeyDictionary()
"""Stop strings that special tokens are part of, by tokenizer and all stop strings."""
_leads: WeakKeyDictionary[PreTrainedTokenizerBase, list[int]] = WeakKeyDictionary()


def _lead(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Tokens to decode before others, for a tokenizer that drops the space at the start of what it decodes, as those of
    the Llama-2 kind do; none for others.
    """
    if tokenizer not in _leads:
        ids = tokenizer("x x", add_special_tokens=False)["input_ids"]
        splits = [ids[:count] for count in range(1, len(ids)) if _decode(tokenizer, ids[:count]) == "x"]
        drops = splits and "x" + _decode(tokenizer, ids[len(splits[0]) :]) != _decode(tokenizer, ids) == "x x"
        _leads[tokenizer] = splits[0] if drops else []
    return _leads[tokenizer]


def _decode(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    text = tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return text if isinstance(text, str) else "".join(text)
