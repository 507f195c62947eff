"""A pool's model as the GGUF file that llama.cpp reads: the package's own file, with the weights that tuning made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
from safetensors.torch import load_file
from transformers import AutoConfig

from harness.files import made_once
from harness.pool import ModelSpec, PackageWeights
from harness.weights.adapters import weights_folder
from harness.weights.packages import extract_file
from tests.harness.weights.gguf_file import rotated


def tuned_gguf(spec: ModelSpec) -> Path:
    """The file, made in the cache the first time."""
    source = spec.weights
    assert isinstance(source, PackageWeights)
    tuned = Path(weights_folder(spec))

    def make(target: Path) -> None:
        target.mkdir()
        _write(extract_file(source, target.parent), tuned, target / "model.gguf")

    return made_once("gguf", tuned.name, make) / "model.gguf"


def _write(package: Path, tuned: Path, out: Path) -> None:
    """Tokenizer and hyperparameters from the package's file, bfloat16 weights from the folder."""
    original: Any = gguf.GGUFReader(package)
    writer = gguf.GGUFWriter(out, "llama")
    for field in original.fields.values():
        if not field.name.startswith("GGUF.") and field.name not in ("general.architecture", "general.file_type"):
            inner = field.types[1] if len(field.types) > 1 else None
            writer.add_key_value(field.name, field.contents(), field.types[0], inner)
    config = AutoConfig.from_pretrained(tuned)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for key, tensor in sorted(load_file(tuned / "model.safetensors").items()):
        name = names.get_name(key, try_suffixes=(".weight",))
        assert name is not None, key
        values = rotated(tensor.float().numpy(), heads.get(key.split(".")[-2]))
        if values.ndim == 1:
            writer.add_tensor(name, values)
        else:
            packed = gguf.quantize(values, gguf.GGMLQuantizationType.BF16)
            writer.add_tensor(name, packed, raw_dtype=gguf.GGMLQuantizationType.BF16)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
