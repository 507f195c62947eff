"""Decoder layers of Llama, Mistral, Qwen 2 and Qwen 3, computed in fewer and larger products.

With few rows, calling the parts of a layer takes longer than computing them. Here queries, keys and values are one
product, gate and up another, and position encodings rotate queries and keys at once; no module is called but for
products and the activation. The results differ in the last digits from the model's own; ``self_test`` compares them
with its own forward pass, as everything that is run packed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.llama.modeling_llama import LlamaDecoderLayer
from transformers.models.mistral.modeling_mistral import MistralDecoderLayer
from transformers.models.qwen2.modeling_qwen2 import Qwen2DecoderLayer
from transformers.models.qwen3.modeling_qwen3 import Qwen3DecoderLayer

from harness.backends.joined import join, split
from harness.backends.linear import replace_modules
from harness.backends.packed_attention import ATTENTION

_WINDOWS: dict[type[nn.Module], Callable[[Any], int | None]] = {
    LlamaDecoderLayer: lambda attention: None,
    MistralDecoderLayer: lambda attention: getattr(attention.config, "sliding_window", None),
    Qwen2DecoderLayer: lambda attention: attention.sliding_window,
    Qwen3DecoderLayer: lambda attention: attention.sliding_window,
}
"""Classes of layers that are known, each with the window that its attention passes on. Not those derived from them."""
_QUERY_KEY_VALUE = ("q_proj", "k_proj", "v_proj")
_GATE_UP = ("gate_proj", "up_proj")


class _Rotation:
    """Rotary position encodings of the rows of a pass, which all layers share."""

    def __init__(self) -> None:
        self._last: tuple[Tensor, Tensor, Tensor] | None = None

    def __call__(self, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        """Factors of an entry, and of the entry half a head further: shape (1, rows, size) to (rows, 1, size) each."""
        if self._last is None or self._last[0] is not sin:
            first, second = sin[0].unsqueeze(1).chunk(2, -1)
            self._last = (sin, cos[0].unsqueeze(1), torch.cat([-first, second], -1))
        return self._last[1:]


class FusedLayer(nn.Module):
    """A decoder layer whose projections are joined.

    Args:
        layer: Transformers' layer. Its projections are taken out of it.
        query_key_value: Its projections to queries, keys and values, joined.
        gate_up: Its projections to gate and up, joined.
        rotation: Shared by the layers of a model.
    """

    def __init__(self, layer: nn.Module, query_key_value: nn.Module, gate_up: nn.Module, rotation: _Rotation) -> None:
        super().__init__()
        attention: Any = layer.self_attn
        self.layer: Any = layer
        self._sizes: dict[str, int] = {}
        for owner, name in self._places():
            self._sizes[name] = int(getattr(owner, name).out_features)
            delattr(owner, name)
        self.query_key_value = query_key_value
        self.gate_up = gate_up
        self._rotation = rotation
        self._window = _WINDOWS[type(layer)](attention)
        self._head = int(attention.head_dim)
        self._heads = [self._sizes[name] // self._head for name in _QUERY_KEY_VALUE]
        self.train(False)

    def forward(
        self,
        hidden_states: Tensor,
        position_embeddings: tuple[Tensor, Tensor],
        **_unused: Any,  # noqa: ANN401 - masks and caches are those of the pass; see ``packed_attention``
    ) -> Tensor:
        """Apply the layer within a packed pass: shape (1, rows, size) to itself."""
        attention = self.layer.self_attn
        x: Tensor = hidden_states[0]
        mixed = self._attend(attention, _normalised(x, self.layer.input_layernorm), position_embeddings)
        x = x + attention.o_proj(mixed)
        y = self.gate_up(_normalised(x, self.layer.post_attention_layernorm))
        wide = self._sizes["gate_proj"]
        x += self.layer.mlp.down_proj(self.layer.mlp.act_fn(y[:, :wide]).mul_(y[:, wide:]))
        return x[None]

    def _attend(self, attention: Any, x: Tensor, position_embeddings: tuple[Tensor, Tensor]) -> Tensor:  # noqa: ANN401
        queries, keys, _ = self._heads
        heads = self.query_key_value(x).view(len(x), -1, self._head)
        turning, value = heads[:, : queries + keys], heads[:, queries + keys :]
        if hasattr(attention, "q_norm"):
            normalised = [
                _normalised(turning[:, :queries], attention.q_norm),
                _normalised(turning[:, queries:], attention.k_norm),
            ]
            turning = torch.cat(normalised, 1)
        cos, sin = self._rotation(*position_embeddings)
        turned = torch.addcmul(turning * cos, turning.roll(self._head // 2, -1), sin)
        mixed, _ = ALL_ATTENTION_FUNCTIONS[ATTENTION](
            attention,
            turned[:, :queries].transpose(0, 1).unsqueeze(0),
            turned[:, queries:].transpose(0, 1).unsqueeze(0),
            value.transpose(0, 1).unsqueeze(0),
            None,
            scaling=attention.scaling,
            sliding_window=self._window,
        )
        rows: Tensor = mixed.reshape(len(x), -1)
        return rows

    def restored(self) -> nn.Module:
        """Transformers' layer, with its projections as they were."""
        sizes = list(self._sizes.values())
        parts = split(self.query_key_value, sizes[:3]) + split(self.gate_up, sizes[3:])
        for (owner, name), part in zip(self._places(), parts, strict=True):
            setattr(owner, name, part)
        layer: nn.Module = self.layer
        return layer

    def _places(self) -> list[tuple[nn.Module, str]]:
        """Where the joined projections were, in the order of their outputs."""
        attention, mlp = self.layer.self_attn, self.layer.mlp
        return [*((attention, name) for name in _QUERY_KEY_VALUE), *((mlp, name) for name in _GATE_UP)]


def _normalised(x: Tensor, norm: Any) -> Tensor:  # noqa: ANN401 - each architecture has a class of its own
    """Root-mean-square normalisation over the last dimension, computed in float32."""
    wide = x.float()
    scale = wide.square().mean(-1, keepdim=True).add_(norm.variance_epsilon).rsqrt_()
    return (wide * scale).to(x.dtype).mul_(norm.weight)


@torch.inference_mode()
def fuse_layers(model: PreTrainedModel) -> None:
    """Fuse the decoder layers of a model, in place: those that are known and unchanged.

    To be called before linear layers are prepacked.
    """
    rotation = _Rotation()

    def made(layer: Any) -> nn.Module | None:  # noqa: ANN401 - any module
        # The layer within a fused one is of a known class, too.
        if type(layer) not in _WINDOWS or not hasattr(layer.self_attn, _QUERY_KEY_VALUE[0]) or _changed(layer):
            return None
        query_key_value = join([getattr(layer.self_attn, one) for one in _QUERY_KEY_VALUE])
        gate_up = join([getattr(layer.mlp, one) for one in _GATE_UP])
        return FusedLayer(layer, query_key_value, gate_up, rotation)

    replace_modules(model, made)


def _changed(layer: nn.Module) -> bool:
    """Whether some library has given a part of the layer another ``forward`` than its class has. That of linear layers
    does not count: what they hold is joined, and ``prepack_linear_layers`` does not ask either.
    """
    parts = (part for part in layer.modules() if not isinstance(part, nn.Linear))
    return any(_own_forward(part) is not type(part).forward for part in parts)


def _own_forward(module: nn.Module) -> Any:  # noqa: ANN401 - any function
    return getattr(module.forward, "__func__", module.forward)


@torch.inference_mode()
def restore_layers(model: PreTrainedModel) -> None:
    """Undo ``fuse_layers``. To be called after linear layers are restored."""
    replace_modules(model, lambda layer: layer.restored() if isinstance(layer, FusedLayer) else None)
