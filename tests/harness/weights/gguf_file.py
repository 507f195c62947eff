"""A small model as a GGUF file, as registry packages hold them."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load_file
from transformers import AutoConfig, AutoTokenizer


def write_gguf(weights: Path, out: Path) -> None:
    """Write a Llama and its byte-level tokenizer, as ``save_tiny_model`` saves them, in float32."""
    config, tokenizer = AutoConfig.from_pretrained(weights), AutoTokenizer.from_pretrained(weights)
    writer = gguf.GGUFWriter(out, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    # Two bytes that no text has make room for pairs of letters: the conversion takes no tokenizer without merges.
    pairs = {"À": "ab", "Á": "cd"}
    tokens = [pairs.get(token, token) for token in tokenizer.convert_ids_to_tokens(list(range(config.vocab_size)))]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in tokenizer.all_special_tokens else 1 for token in tokens])
    writer.add_token_merges([" ".join(pair) for pair in pairs.values()])
    writer.add_bos_token_id(config.bos_token_id)
    writer.add_eos_token_id(config.eos_token_id)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for key, tensor in sorted(load_file(weights / "model.safetensors").items()):
        name = names.get_name(key, try_suffixes=(".weight",))
        assert name is not None, key
        writer.add_tensor(name, rotated(tensor.float().numpy(), heads.get(key.split(".")[-2])))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def rotated(values: NDArray[np.float32], heads: int | None) -> NDArray[np.float32]:
    """A projection to ``heads`` heads in the order of llama.cpp, which rotates neighbours where transformers rotates
    halves; with None the weights as they are.
    """
    if heads is None:
        return values
    split = values.reshape(heads, 2, -1, values.shape[1])
    return np.ascontiguousarray(split.swapaxes(1, 2)).reshape(values.shape)
