"""Which instances a run plays."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from harness.engine.opening import sample
from mixroute import Instance

SIZES = st.lists(st.integers(1, 12), min_size=1, max_size=5)


def instances(sizes: list[int]) -> list[Instance]:
    return [Instance(f"{kind}/{i:03}", kind=str(kind)) for kind, size in enumerate(sizes) for i in range(size)]


@given(sizes=SIZES, limit=st.integers(1, 60))
def test_a_sample_is_even_over_the_kinds_and_sorted(sizes: list[int], limit: int) -> None:
    every = instances(sizes)
    chosen = sample(every, limit)
    assert len(chosen) == min(limit, len(every))
    assert [one.id for one in chosen] == sorted(one.id for one in chosen)
    counts = Counter(one.kind for one in chosen)
    most = max(counts.values())
    for kind, size in enumerate(sizes):
        assert counts[str(kind)] >= min(size, most - 1)


@given(sizes=SIZES, limit=st.integers(1, 30), seed=st.randoms())
def test_a_larger_sample_holds_the_smaller_whatever_the_order(sizes: list[int], limit: int, seed: object) -> None:
    every = instances(sizes)
    smaller = sample(every, limit)
    shuffled = list(every)
    seed.shuffle(shuffled)  # type: ignore[attr-defined]
    assert set(smaller) <= set(sample(shuffled, limit + 1)) | set(smaller if limit >= len(every) else ())
    assert smaller == sample(sorted(shuffled, key=lambda one: one.id), limit)
