"""A tokenizer that transformers reads wrongly from a GGUF file, rebuilt from its scores."""

from __future__ import annotations

from pathlib import Path

from gguf import GGUFWriter

from harness.weights.sentencepiece import sentencepiece_tokenizer

PIECES = ["<pad>", "<eos>", "<bos>", "<unk>", "\n\n", *(f"<0x{value:02X}>" for value in range(256))]
WORDS = {"▁ab": -1.0, "ab": -2.0, "abc": -3.0, "bc": -4.0, "▁a": -5.0, "a": -6.0, "b": -7.0, "c": -8.0, "▁": -9.0}


def vocabulary(path: Path) -> Path:
    """A file with a vocabulary and nothing else: control pieces, a break between paragraphs, bytes, scored pieces."""
    writer = GGUFWriter(path, "gemma3")
    writer.add_tokenizer_model("llama")
    writer.add_token_list([*PIECES, *WORDS])
    writer.add_token_scores([0.0] * len(PIECES) + list(WORDS.values()))
    writer.add_token_types([3, 3, 3, 2, 4] + [6] * 256 + [1] * len(WORDS))
    writer.add_bos_token_id(2)
    writer.add_unk_token_id(3)
    writer.add_add_bos_token(True)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path


def test_pieces_are_merged_by_their_scores(tmp_path: Path) -> None:
    tokenizer = sentencepiece_tokenizer(vocabulary(tmp_path / "vocabulary.gguf"))
    for text, tokens in {
        "abc": ["<bos>", "abc"],  # ab is better than bc, and then abc
        "a bc": ["<bos>", "a", "▁", "bc"],
        " abc": ["<bos>", "▁ab", "c"],
        "c\n\nc": ["<bos>", "c", "\n\n", "c"],
        "cé": ["<bos>", "c", "<0xC3>", "<0xA9>"],
        "<eos>a": ["<bos>", "<eos>", "a"],
    }.items():
        encoded = tokenizer.encode(text)
        assert encoded.tokens == tokens
        assert tokenizer.decode(encoded.ids) == text.removeprefix("<eos>")
