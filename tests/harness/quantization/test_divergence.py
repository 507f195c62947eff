"""Reading growing prompts: what is computed, not what comes of it, which tests/routers/test_oracles.py compares."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.backends.loading import open_for_comparison
from harness.pool import load_pool
from harness.quantization.divergence import Reader

ANSWER = [50, 51, 52]
KITCHEN, HALL = [60, 61, 62, 63, 64], [70, 71, 72, 73, 74]


@pytest.mark.parametrize(
    ("most", "last"),
    [(50_000, 2), (8, 7)],  # two prompts of five tokens are more than eight: the first was dropped
)
def test_of_a_prompt_that_grew_only_what_is_new_is_read_while_it_is_kept(
    tiny_pool: Path, monkeypatch: pytest.MonkeyPatch, most: int, last: int
) -> None:
    monkeypatch.setattr("harness.quantization.divergence._CACHED_TOKENS", most)
    model, _ = open_for_comparison("high", load_pool(str(tiny_pool)).models["high"])
    read: list[int] = []

    def count(_module: object, _args: object, given: dict[str, Any]) -> None:
        read.append(given["input_ids"].shape[1])

    model.register_forward_pre_hook(count, with_kwargs=True)
    reader = Reader(model)
    for prompt in (KITCHEN, HALL, [*KITCHEN, 65, 66]):
        assert reader.logprobs(prompt, ANSWER).shape[0] == len(ANSWER)
    others = len(ANSWER) - 1  # nothing follows the last token
    assert read == [5 + others, 5 + others, last + others]
