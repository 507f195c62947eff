"""The tokenizer of a GGUF file that holds SentencePiece pieces with scores, as Gemma's do.

transformers 5.17 builds a Unigram model from them, but the scores are negated ranks of byte-pair merges: nearly every
letter would become a token of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors

_NORMAL, _CONTROL, _USER_DEFINED = 1, 3, 4
"""``tokenizer.ggml.token_type``."""

_SPACE = "▁"


def sentencepiece_tokenizer(gguf: Path) -> Tokenizer:
    """Byte-pair encoding by the file's scores, with byte tokens for text that has no piece, and the BOS token.

    Args:
        gguf: The file.

    Returns:
        A tokenizer whose ids are those of llama.cpp.
    """
    from gguf import GGUFReader

    reader = GGUFReader(gguf)

    def field(name: str) -> Any:  # noqa: ANN401 - the file states the type
        found = reader.get_field(f"tokenizer.ggml.{name}")
        return None if found is None else found.contents()

    tokens: list[str] = field("tokens")
    types: list[int] = field("token_type")
    ids = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(
        models.BPE(
            vocab=ids,
            merges=_merges(tokens, field("scores"), types, ids),
            unk_token=tokens[field("unknown_token_id")],
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    tokenizer.normalizer = normalizers.Replace(" ", _SPACE)
    tokenizer.decoder = decoders.Sequence([decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()])
    kinds = list(zip(tokens, types, strict=True))
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token, kind in kinds if kind == _CONTROL])
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token, kind in kinds if kind == _USER_DEFINED])
    if field("add_bos_token"):
        bos = tokens[field("bos_token_id")]
        tokenizer.post_processor = processors.TemplateProcessing(single=f"{bos} $A", special_tokens=[(bos, ids[bos])])
    return tokenizer


def _merges(tokens: list[str], scores: list[float], types: list[int], ids: dict[str, int]) -> list[tuple[str, str]]:
    """All merges of two pieces into a third, the pieces of best score first."""
    ranked = []
    for token, score, kind in zip(tokens, scores, types, strict=True):
        if kind == _NORMAL:
            halves = [(token[:cut], token[cut:]) for cut in range(1, len(token))]
            ranked += [(-score, ids[left], left, right) for left, right in halves if left in ids and right in ids]
    return [(left, right) for _, _, left, right in sorted(ranked, key=lambda merge: merge[:2])]
