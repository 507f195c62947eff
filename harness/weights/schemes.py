"""Weight-only quantization schemes, by name: ``awq-w4``, ``gptq-w3``, ``rtn-w2`` and so on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from harness.errors import MixrouteError, did_you_mean

GROUPS = (128, 64, 32)
"""Numbers of weights that may share a scale; the first that divides the width of every layer is used."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """Integers of ``bits`` bits with a scale (and, if not ``symmetric``, a zero point) a group of weights."""

    method: Literal["awq", "gptq", "rtn"]
    bits: int
    symmetric: bool
    per_channel: bool = False
    """One scale for all weights of an output, instead of one for every group of them."""

    @property
    def calibrated(self) -> bool:
        """Whether it uses activations, and so needs prompts."""
        return self.method != "rtn"

    def group(self, widths: Iterable[int]) -> int:
        """Number of weights that share a scale, for layers of these input widths.

        Raises:
            MixrouteError: no supported group divides them all.
        """
        different = sorted(set(widths))
        for size in GROUPS:
            if all(width % size == 0 for width in different):
                return size
        raise MixrouteError(f"no group of {', '.join(map(str, GROUPS))} weights divides layers of width {different}")

    def config_groups(self, group: int) -> dict[str, Any]:
        """The scheme as ``config_groups`` of compressed-tensors."""
        sharing = {"strategy": "channel"} if self.per_channel else {"strategy": "group", "group_size": group}
        weights = {"num_bits": self.bits, "type": "int", "symmetric": self.symmetric, **sharing}
        return {"group_0": {"targets": ["Linear"], "weights": weights}}


SCHEMES = {
    # AWQ as its authors publish it has zero points (Lin et al., 2024, section 4).
    "awq-w4": Scheme("awq", 4, symmetric=False),
    "gptq-w4": Scheme("gptq", 4, symmetric=True),
    "gptq-w3": Scheme("gptq", 3, symmetric=True),
    # Round to nearest: the baseline that needs no data.
    "rtn-w4": Scheme("rtn", 4, symmetric=True),
    "rtn-w4-channel": Scheme("rtn", 4, symmetric=True, per_channel=True),
    "rtn-w3": Scheme("rtn", 3, symmetric=True),
    "rtn-w2": Scheme("rtn", 2, symmetric=True),
}


def get_scheme(name: str) -> Scheme:
    """The scheme called ``name``.

    Raises:
        MixrouteError: unknown name.
    """
    if name not in SCHEMES:
        hint = did_you_mean(name, SCHEMES, f"use one of {', '.join(SCHEMES)}")
        raise MixrouteError(f"unknown quantization scheme '{name}': {hint}")
    return SCHEMES[name]
