"""Tiny random models of the architectures that the installed transformers has, and the table of docs/backends.md.

``python -m tests.harness.backends.architectures`` writes the table anew.
"""

from __future__ import annotations

import logging
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import CONFIG_MAPPING, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from docs import marked
from harness.backends.self_test import cause_of, choose

DOCS = Path(__file__).parents[3] / "docs" / "backends.md"
VOCABULARY = 259
_LARGEST = 5_000_000  # parameters

_SIZES: dict[str, Any] = {"is_decoder": True, "use_mamba_kernels": False}
_SIZES |= {
    key: int(size)
    for key, size in re.findall(
        r"(\w+)=(\d+)",
        """
    vocab_size=259 hidden_size=64 intermediate_size=128 max_position_embeddings=512 num_hidden_layers=4
    num_attention_heads=4 num_key_value_heads=2 head_dim=16 eos_token_id=2 bos_token_id=1 pad_token_id=0
    sliding_window=16 query_pre_attn_scalar=16 num_experts=4 num_local_experts=4 n_routed_experts=4
    num_experts_per_tok=2 n_group=1 moe_intermediate_size=32 topk_group=1 n_shared_experts=1
    shared_expert_intermediate_size=32 moe_num_experts=4 moe_k=2 moe_topk=2 intermediate_size_mlp=128
    shared_intermediate_size=64 kv_lora_rank=16 q_lora_rank=16 qk_nope_head_dim=16 qk_rope_head_dim=8 v_head_dim=16
    linear_num_value_heads=4 linear_num_key_heads=2 linear_key_head_dim=16 linear_value_head_dim=16 mamba_n_heads=8
    mamba_d_head=16 mamba_d_state=16 mamba_n_groups=1 mamba_d_ssm=128 mamba_dt_rank=8 state_size=16 lru_width=64
    attention_chunk_size=16 mamba_num_heads=8 mamba_head_dim=16 ssm_state_size=16 n_groups=1
    attention_hidden_size=64 attention_window_size=16 local_attention=16 embedding_size=64 rotary_dim=8 d_ff=128
    word_embed_proj_dim=64 ffn_dim=128 decoder_ffn_dim=128 global_head_dim=32 block_size=16
    hidden_size_per_layer_input=16 vocab_size_per_layer_input=259 laurel_rank=8 cls_token_id=1 sep_token_id=2
    index_n_heads=4 index_head_dim=16 index_topk=512 num_kv_shared_layers=0 moe_layer_freq=1 first_k_dense_replace=1
    num_nextn_predict_layers=0 encoder_layers=2 decoder_layers=2 d_model=64 attention_head_size=16 n_positions=512
    decoder_attention_heads=4 encoder_attention_heads=4 encoder_ffn_dim=128 n_embd=64 n_layer=2 max_seq_len=512
    expert_ffn_hidden_size=32 ffn_hidden_size=64 num_blocks=2
""",
    )
}
"""Settings of small models; a configuration takes those that it has."""

SPECIAL: dict[str, dict[str, Any]] = {
    "bamba": {"num_hidden_layers": 2, "attn_layer_indices": [1]},
    "gemma3n_text": {
        "num_hidden_layers": 5,
        "num_kv_shared_layers": 2,
        "intermediate_size": [128] * 5,
        "activation_sparsity_pattern": None,
        "layer_types": [
            "sliding_attention",
            "sliding_attention",
            "full_attention",
            "sliding_attention",
            "full_attention",
        ],
    },
    "granitemoehybrid": {"num_hidden_layers": 2, "layer_types": ["mamba", "attention"], "num_local_experts": 0},
    "ernie4_5_moe": {"moe_layer_start_index": 0, "moe_layer_end_index": 3, "moe_intermediate_size": 32},
    "gpt_neo": {"attention_types": [[["global", "local"], 2]], "window_size": 16},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2, "expert_layer_offset": 1},
    "lfm2": {"full_attn_idxs": [1, 3], "layer_types": ["conv", "full_attention"] * 2},
    "llama4_text": {"interleave_moe_layer_step": 2, "num_experts_per_tok": 1},
    "mamba2": {"num_heads": 8, "head_dim": 16},
    "minimax": {"num_hidden_layers": 2, "layer_types": ["linear_attention", "full_attention"]},
    "mpt": {"n_layers": 2, "n_heads": 4, "d_model": 64},
    "bloom": {"n_layer": 2, "n_head": 4},
    "nemotron_h": {"num_hidden_layers": 3, "layers_block_type": ["mamba", "attention", "mamba"]},
    "recurrent_gemma": {"num_hidden_layers": 3, "num_key_value_heads": 1, "intermediate_size": 192},
    "zamba2": {
        "layers_block_type": ["mamba", "mamba", "hybrid", "mamba"],
        "n_mamba_heads": 8,
        "num_mem_blocks": 1,
        "attention_head_dim": 32,
        "num_key_value_heads": 4,
        "mamba_ngroups": 1,
        "use_mem_rope": True,
        "attention_hidden_size": 128,
    },
}
"""What else some models need to be small."""


class NotTried(Exception):
    """No small model of an architecture could be made."""


def tiny(kind: str, **changes: Any) -> PreTrainedModel:
    """A random model of a type of model, on the CPU in float32, with eager attention.

    Raises:
        NotTried: it cannot be made small.
    """
    configuration = CONFIG_MAPPING[kind]
    known = {*vars(configuration()), *getattr(configuration, "attribute_map", {})}
    sizes = {key: value for key, value in _SIZES.items() if key in known}
    if any(key in known for key in ("kv_lora_rank", "n_mamba_heads")):
        sizes["num_key_value_heads"] = 4
        sizes.pop("head_dim", None)
    config = configuration(**{**sizes, **SPECIAL.get(kind, {}), **changes})
    named = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[kind]
    made: Any = getattr(transformers, named if isinstance(named, str) else named[0])
    config._attn_implementation = "eager"
    with torch.device("meta"):
        parameters = sum(parameter.numel() for parameter in made(config).parameters())
    if parameters > _LARGEST:
        raise NotTried(f"no small configuration of it is known ({parameters / 1e6:.0f} million parameters)")
    torch.manual_seed(3)
    model: PreTrainedModel = made(config).eval().requires_grad_(False)
    for name, parameter in model.named_parameters():
        if "sinks" in name:
            parameter.normal_(1.0, 1.0)
        elif parameter.dim() > 1:
            parameter.mul_(5)  # wide enough apart that a mistake shows
    return model


def outcome(kind: str) -> tuple[str, str, str]:
    """Name of the class, how it runs, and why so."""
    named = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[kind]
    name = named if isinstance(named, str) else named[0]
    try:
        model = tiny(kind)
    except Exception:  # whatever a configuration lacks or refuses
        return name, "not tried", "no small random model of it could be made"
    try:
        choice = choose(model, range(3, 67))
    except Exception as error:
        return name, "refused", cause_of(error)
    if choice.way == "plain":
        return name, {"session": "plain", "decode": "plain, decode", "none": "plain, none"}[choice.reuse], choice.why
    return name, "packed, alone" if choice.isolated else "packed", choice.why


def outcomes() -> Iterator[tuple[str, str, str]]:
    """The outcome of each architecture of transformers that generates text."""
    for kind in sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES):
        yield outcome(kind)


def table(found: list[tuple[str, str, str]]) -> str:
    """Markdown: for each outcome the architectures, and the reasons of those that are not packed."""
    packed = sorted({name for name, how, _ in found if how == "packed"})
    lines = [[", ".join(packed), "packed", ""]]
    tried = {name for name, how, _ in found if how != "not tried"}  # an architecture may have several types of model
    found = [one for one in found if one[1] != "not tried" or one[0] not in tried]
    ways = ("packed, alone", "plain", "plain, decode", "plain, none", "refused", "not tried")
    reasons = sorted({(ways.index(how), tidy(why)) for _, how, why in found if how != "packed"})
    for place, why in reasons:
        names = sorted({name for name, how, cause in found if (how, tidy(cause)) == (ways[place], why)})
        lines.append([", ".join(names), ways[place], why])
    return marked.table(["architecture", "runs", "why"], lines)


def tidy(why: str) -> str:
    """A reason without what differs from run to run, and harmless in a table."""
    why = re.sub(r", by up to .*", "", " ".join(why.split()))
    return why.replace("|", "/")[:140]


PLACE = "sweep of architectures"


def with_table(page: str, found: list[tuple[str, str, str]]) -> str:
    """docs/backends.md with the table of these outcomes."""
    text = table(found)
    return marked.fill(page, lambda name: text if name == PLACE else None)


def main() -> None:
    """Write the table."""
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore")
    found = []
    for one in outcomes():
        found.append(one)
        print(*one, sep=" | ", file=sys.stderr, flush=True)
    DOCS.write_text(with_table(DOCS.read_text(), found))


if __name__ == "__main__":
    main()
