"""How much memory the models of a pool take, from their shapes: what is counted stands in docs/backends.md."""

from __future__ import annotations

from harness.files import Record
from harness.pool import ModelSpec
from harness.weights.size import packing_of, size_of

GIB = float(1 << 30)
ROOM = 1.0
"""GiB that an engine of vLLM takes beside weights and caches, for activations and captured graphs: an allowance."""

_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
_SHARE = 0.45  # vLLM's of the GPU, unless the pool file says otherwise


class Need(Record, frozen=True):
    """Of one model, in GiB."""

    model: str
    weights: float
    cache: float
    """Of keys and values: what the pool file sets apart, else one prompt of the longest length."""
    room: float
    share: float
    """Of one GPU that the model may take; 1 where it shares freely."""
    gpus: int

    @property
    def total(self) -> float:
        """All of it."""
        return self.weights + self.cache + self.room

    @property
    def smallest_gpu(self) -> float:
        """GiB that each GPU must have."""
        return self.total / self.share / self.gpus


def need_of(name: str, spec: ModelSpec) -> Need | None:
    """What a model takes; None where its pool file gives no shape.

    Raises:
        MixrouteError: the shape cannot be read.
    """
    if spec.backend not in ("transformers", "vllm"):
        return Need(name, 0.0, 0.0, 0.0, 1.0, 1)  # it runs somewhere else
    if spec.shape is None:
        return None
    size, options = size_of(spec.shape), spec.options
    quantization = str(options.get("quantization", "none"))
    if spec.backend == "transformers":
        # Packed checkpoints are unpacked at load; only bitsandbytes' stay packed.
        packing = packing_of(spec.shape, quantization) if quantization in ("nf4", "int8") else None
        weights = size.weight_bytes(packing, _BYTES[str(options.get("dtype", "float32"))])
        return Need(name, weights / GIB, int(options.get("kv_cache_mb", 1024)) / 1024, 0.0, 1.0, 1)
    set_apart = options.get("kv_cache_mb")
    longest = int(options.get("max_model_len") or size.context)
    return Need(
        model=name,
        weights=size.weight_bytes(packing_of(spec.shape, quantization)) / GIB,
        cache=set_apart / 1024 if set_apart else size.cache_bytes(longest) / GIB,
        room=ROOM,
        share=float(options.get("memory_share", _SHARE)),
        gpus=int(options.get("tensor_parallel", 1)),
    )
