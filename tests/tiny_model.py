"""A real model, small enough to load in a tenth of a second."""

from pathlib import Path
from typing import Any

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tiny_tokenizer() -> Any:
    """A byte-level tokenizer with a chat template: 3 special tokens, then 256 bytes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    vocabulary = {token: place for place, token in enumerate([*specials, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        additional_special_tokens=specials,
        chat_template=TEMPLATE,
    )


def tiny_model(seed: int = 0, letters: str | None = None) -> tuple[Any, Any]:
    """A random Llama (2 layers, 4 heads on 2 key heads) and its tokenizer.

    Args:
        seed: Of the weights.
        letters: If given, the model tells only these ASCII letters apart, and writes no others.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    fast = tiny_tokenizer()
    vocabulary = [fast.convert_ids_to_tokens(place) for place in range(len(fast))]
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        eos_token_id=2,
        bos_token_id=1,
        dtype="float32",
    )
    torch.manual_seed(seed)
    model = LlamaForCausalLM(config)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(6)  # wide enough apart that the likeliest token is not a toss-up
        if letters is not None:
            kept = torch.tensor([token in {*letters, "<|im_end|>"} for token in vocabulary])
            model.model.embed_tokens.weight[~kept] = 0.0  # tied: their logits are 0
    return model, fast


def save_tiny_model(folder: Path, seed: int = 0, letters: str | None = None) -> None:
    """Write weights and tokenizer of ``tiny_model`` to ``folder``."""
    model, tokenizer = tiny_model(seed, letters)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
