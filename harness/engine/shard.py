"""Shards of a suite: fixed shares of the instances of each run, for jobs of a batch queue."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.data import Instance
from harness.errors import MixrouteError
from harness.seeding import seed_for
from harness.text import quoted

_SHARD = re.compile(r"([1-9][0-9]{0,8})/([1-9][0-9]{0,8})")


@dataclass(frozen=True, slots=True)
class Shard:
    """One of ``count`` shares that together are all instances of a run.

    Args:
        number: From 1 to ``count``.
        count: Number of shares.

    Raises:
        MixrouteError: there is no such share.
    """

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise MixrouteError(f"shard {self}: the first number goes from 1 to {self.count}: correct it")

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def folder(self, whole: Path) -> Path:
        """Where its runs go if nothing else is asked for, given where those of the whole suite would go."""
        return whole.with_name(f"{whole.name}-shards") / f"{self.number}-of-{self.count}"

    def share(self, instances: Sequence[Instance]) -> list[Instance]:
        """The instances of this shard, in their order.

        They are dealt out in order of the hash of their ids: shares differ by one instance at most, and the kinds of
        instances, which ids often group, are spread over them. An instance is in the same share of all runs that have
        the same instances, so that routers that ask the same questions are answered from one completion cache.
        """
        dealt = sorted(instances, key=lambda one: seed_for("shard", one.id))
        mine = {one.id for one in dealt[self.number - 1 :: self.count]}
        return [one for one in instances if one.id in mine]


def parse_shard(text: str) -> Shard:
    """A shard from the command line, such as ``3/16``.

    Raises:
        MixrouteError: anything else, or a first number beyond the second.
    """
    found = _SHARD.fullmatch(text)
    if found is None:
        raise MixrouteError(f"--shard {quoted(text)}: give two whole numbers, such as 3/16 for the third of 16 shares")
    return Shard(int(found[1]), int(found[2]))
