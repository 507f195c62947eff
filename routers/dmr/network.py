"""The router's network: a Transformer encoder over the steps of a trajectory, causal, with a decision at every step.

Paper: 2 layers (v1) or 8 (v2), 2 to 3 percent of the model's parameters. Ours: 2 layers of width 64 by default, 0.6
million parameters, of which most are word embeddings; a step is one position, so an episode is a sequence of tens, not
thousands.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from harness.config import Strict
from routers.dmr.features import BUCKETS, FACTS, StepView


class NetworkConfig(Strict):
    """Sizes of the network."""

    width: int = Field(default=64, ge=1)
    layers: int = Field(default=2, ge=1)
    heads: int = Field(default=4, ge=1)
    steps: int = Field(default=64, ge=1)
    """Most steps that are read: of a longer trajectory the last."""
    reads: Literal["text", "hidden"] = "text"
    """``text``: the words of the trajectory. ``hidden``: besides, the low model's last hidden state at each prompt's
    end, which costs a prefill of low at every step."""
    hidden_size: int = Field(default=0, ge=0)
    """Width of the low model, with ``reads: hidden``."""


class RouterNetwork(nn.Module):
    """Logits of choosing high, one a step."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.words = nn.EmbeddingBag(BUCKETS, config.width, mode="mean")
        self.facts = nn.Linear(FACTS, config.width)
        self.places = nn.Embedding(config.steps, config.width)
        self.hidden = nn.Linear(config.hidden_size, config.width) if config.reads == "hidden" else None
        layer = nn.TransformerEncoderLayer(
            config.width, config.heads, 4 * config.width, dropout=0.1, batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, config.layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, 1)

    def forward(self, batch: Sequence[Trajectory], rows: int = 0, length: int = 0) -> Tensor:
        """Logits, shape (rows, length), float32; meaningless after a trajectory's own steps.

        Args:
            batch: The trajectories, each of no more than ``config.steps`` steps.
            rows: At least so many, by padding.
            length: At least so long, by padding.
        """
        rows = max(rows, len(batch))
        length = max(length, *(len(one.steps) for one in batch))
        steps = [step for one in batch for step in one.steps]
        flat = torch.tensor([word for step in steps for word in step.words])
        starts = torch.tensor([0, *(len(step.words) for step in steps)]).cumsum(0)[:-1]
        read = self.words(flat, starts) + self.facts(torch.tensor([step.facts for step in steps]))
        if self.hidden is not None:
            read = read + self.hidden(torch.stack([state for one in batch for state in one.hidden]))
        where = torch.tensor([row * length + step for row, one in enumerate(batch) for step in range(len(one.steps))])
        x = read.new_zeros(rows * length, read.shape[1]).index_copy(0, where, read).view(rows, length, -1)
        x = x + self.places(torch.arange(length))
        mask = nn.Transformer.generate_square_subsequent_mask(length)
        logits: Tensor = self.head(self.norm(self.encoder(x, mask=mask, is_causal=True)))[..., 0]
        return logits


class Trajectory:
    """What the network reads: the last steps of a trajectory, and with ``reads: hidden`` a state for each."""

    __slots__ = ("hidden", "steps")

    def __init__(self, steps: Sequence[StepView], hidden: Sequence[Tensor] = ()) -> None:
        self.steps = steps
        self.hidden = hidden

    def last(self, count: int) -> Trajectory:
        """The last ``count`` steps."""
        return Trajectory(self.steps[-count:], self.hidden[-count:])
