"""Shares of a suite: they are a partition, whatever the instances and their number."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.engine.shard import Shard, parse_shard
from harness.errors import MixrouteError
from mixroute import Instance


@given(st.sets(st.text(min_size=1)), st.integers(1, 40), st.randoms())
def test_shares_are_a_partition_that_is_even_and_depends_on_ids_alone(
    ids: set[str], count: int, random: Random
) -> None:
    instances = [Instance(one, kind="") for one in sorted(ids)]
    shares = [Shard(number, count).share(instances) for number in range(1, count + 1)]
    assert sorted(one.id for share in shares for one in share) == sorted(ids)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert all([one for one in instances if one in share] == share for share in shares)  # in their order
    shuffled = random.sample(instances, len(instances))
    assert {one.id for one in Shard(1, count).share(shuffled)} == {one.id for one in shares[0]}


def test_kinds_that_ids_group_are_spread_over_the_shares() -> None:
    instances = [Instance(f"{kind}/{number}", kind=kind) for kind in ("clean", "cool", "heat") for number in range(100)]
    for number in range(1, 5):
        kinds = [one.kind for one in Shard(number, 4).share(instances)]
        assert all(15 < kinds.count(kind) < 35 for kind in ("clean", "cool", "heat"))


@pytest.mark.parametrize("text", ["0/4", "5/4", "4", "a/b", "1/0", "-1/4", "1/4/2", "01/4", "1 / 4", ""])
def test_what_is_no_share_is_refused_with_its_value(text: str) -> None:
    with pytest.raises(MixrouteError, match=r"shard") as refused:
        parse_shard(text)
    assert text in str(refused.value)


def test_a_share_is_read_as_it_is_written() -> None:
    assert parse_shard("3/16") == Shard(3, 16)
    assert str(Shard(3, 16)) == "3/16"
