"""The router's network: a causal Transformer encoder over the steps of a trajectory, with a decision at every step.

Paper: 2 layers (v1) or 8 (v2), 2 to 3 percent of the model's parameters. Ours: 2 layers of width 64 by default and 0.6
million parameters, most of them word embeddings. A step is one position, so an episode is a sequence of tens of
positions, not thousands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from harness.config import Strict
from routers.dmr.drafts import LENGTHS
from routers.dmr.features import BUCKETS, FACTS, StepView

Reads = Literal["text", "hidden", "draft", "checked", "compared", "placed"]


class NetworkConfig(Strict):
    """Sizes of the network."""

    width: int = Field(default=64, ge=1)
    layers: int = Field(default=2, ge=1)
    heads: int = Field(default=4, ge=1)
    steps: int = Field(default=64, ge=1)
    """Most steps that are read; of a longer trajectory the last ones."""
    reads: Reads = "text"
    """``text``: the words of the trajectory. ``hidden``: besides, the low model's last hidden state at the end of the
    prompt. Low then reads every prompt, which costs nothing where it also answers. ``draft``: besides, how sure low was
    of each token of its answer. Low then answers every step, and is charged for it; see ``drafts.draft_facts``.
    ``checked``: besides that, whether the environment lists low's action, and whether it was taken before; see
    ``drafts.action_facts``. ``compared``: besides that, how its words compare with those of the task and of the
    observations; see ``drafts.word_facts``. ``placed``: besides that, what it leaves out; see
    ``drafts.place_facts``."""
    hidden_size: int = Field(default=576, ge=1)
    """Width of the low model's hidden states, for ``reads: hidden``."""

    @property
    def state_size(self) -> int:
        """Length of the vector that is read at each step besides the trajectory."""
        return {"text": 0, "hidden": self.hidden_size, **LENGTHS}[self.reads]


class RouterNetwork(nn.Module):
    """Computes the logit of choosing high at each step."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.words = nn.EmbeddingBag(BUCKETS, config.width, mode="mean")
        self.facts = nn.Linear(FACTS, config.width)
        self.places = nn.Embedding(config.steps, config.width)
        layer = nn.TransformerEncoderLayer(
            config.width, config.heads, 4 * config.width, dropout=0.1, batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, config.layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(config.width)
        # Added after the encoder: a decision needs the state of its own step only.
        self.state = None if config.reads == "text" else _state_reader(config)
        self.head = nn.Linear(config.width, 1)

    def forward(self, batch: Sequence[Trajectory], rows: int = 0, length: int = 0) -> Tensor:
        """Logits, shape (rows, length), float32; meaningless after a trajectory's own steps.

        Args:
            batch: The trajectories, each of no more than ``config.steps`` steps.
            rows: Least number of rows; missing ones are padded.
            length: Least length; shorter trajectories are padded.
        """
        rows = max(rows, len(batch))
        length = max(length, *(len(one.steps) for one in batch))
        steps = [step for one in batch for step in one.steps]
        flat = torch.frombuffer(bytearray().join(step.words for step in steps), dtype=torch.int64)
        starts = torch.tensor([0, *(len(step.words) for step in steps)]).cumsum(0)[:-1]
        read = self.words(flat, starts)
        where = torch.tensor([row * length + step for row, one in enumerate(batch) for step in range(len(one.steps))])
        # Matrix products see padded tensors only: their rounding may depend on the number of rows.
        facts = read.new_zeros(rows * length, FACTS)
        facts[where] = torch.tensor([step.facts for step in steps])
        x = read.new_zeros(rows * length, read.shape[1]).index_copy(0, where, read) + self.facts(facts)
        x = x.view(rows, length, -1) + self.places(torch.arange(length))
        mask = nn.Transformer.generate_square_subsequent_mask(length)
        x = self.norm(self.encoder(x, mask=mask, is_causal=True))
        if self.state is not None:
            states = x.new_zeros(rows, length, self.config.state_size)
            for row, one in enumerate(batch):
                if one.states is not None:
                    states[row, len(one.steps) - len(one.states) : len(one.steps)] = one.states
            x = x + self.state(states)
        logits: Tensor = self.head(x)[..., 0]
        return logits


def _state_reader(config: NetworkConfig) -> nn.Module:
    return nn.Sequential(
        nn.LayerNorm(config.state_size) if config.reads == "hidden" else nn.Identity(),
        nn.Linear(config.state_size, config.width),
        nn.GELU(),
        nn.Dropout(0.1),
        nn.Linear(config.width, config.width),
    )


@dataclass(frozen=True, slots=True)
class Trajectory:
    """Input of the network. ``states`` belong to the last steps, shape (some steps, ``state_size``)."""

    steps: Sequence[StepView]
    states: Tensor | None = None

    def last(self, count: int) -> Trajectory:
        """The last ``count`` steps."""
        return Trajectory(self.steps[-count:], None if self.states is None else self.states[-count:])
