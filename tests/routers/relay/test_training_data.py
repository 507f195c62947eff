"""Where the warm-up puts commands."""

from __future__ import annotations

import random
import re
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from routers.relay.recipe import WarmUpRecipe
from routers.relay.training_data import with_tags, with_tags_where_unsure


@given(st.text("ab 3\n", max_size=30), st.integers(0, 5), st.integers(1, 99), st.integers(0, 99))
def test_commands_are_put_between_words(text: str, commands: int, tokens: int, seed: int) -> None:
    options = WarmUpRecipe(commands=commands, tokens=tokens)
    made = with_tags(text, options, random.Random(seed))
    found = [int(number) for number in re.findall("<call>([0-9]+)</call>", made)]
    assert re.sub("<call>[0-9]+</call>", "", made) == text
    assert len(found) <= commands
    assert all(1 <= number <= tokens for number in found)
    for place in re.finditer("<call>", made):
        before = made[: place.start()]
        after = made[place.start() :].partition("</call>")[2]
        assert not before or (not before[-1].isspace() and after[0].isspace())


def test_commands_stand_where_the_model_was_unsure() -> None:
    text, ends = " 6 * 17 = 102\n#### 102", [2, 4, 6, 7, 9, 10, 11, 12, 13, 14, 18, 19, 20, 21, 22]
    entropies = [0.1, 0.0, 0.2, 0.9, 0.0, 0.3, 1.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.6, 0.0, 0.0]

    def taught(**options: Any) -> str:
        return with_tags_where_unsure(text, ends, entropies, WarmUpRecipe(**options))

    assert taught(unsure=0.5) == " 6 *<call>3</call> 17 =<call>5</call> 102\n####<call>5</call> 102"
    assert taught(unsure=0.5, tokens=3) == " 6 *<call>3</call> 17 =<call>3</call> 102\n####<call>3</call> 102"
    assert taught(unsure=0.5, commands=2) == " 6 *<call>3</call> 17 =<call>5</call> 102\n#### 102"
    assert taught(unsure=1.0) == " 6 * 17 =<call>5</call> 102\n#### 102"
    assert taught(unsure=1.5) == text
    assert with_tags_where_unsure(text, ends, [], WarmUpRecipe(unsure=0.0)) == text


@given(st.text("ab 3\n", max_size=30), st.floats(0, 1), st.integers(0, 5), st.integers(1, 4), st.data())
def test_only_the_least_sure_words_are_asked_for(
    text: str, unsure: float, commands: int, tokens: int, data: st.DataObject
) -> None:
    entropies = data.draw(st.lists(st.floats(0, 1), min_size=len(text), max_size=len(text)))
    options = WarmUpRecipe(unsure=unsure, commands=commands, tokens=tokens)
    made = with_tags_where_unsure(text, list(range(1, len(text) + 1)), entropies, options)  # a token a character
    numbers, removed = {}, 0
    for found in re.finditer("<call>([0-9]+)</call>", made):
        numbers[found.start() - removed] = int(found[1])
        removed += len(found[0])
    assert re.sub("<call>[0-9]+</call>", "", made) == text
    starts = [0, *(found.start() for found in re.finditer(r"(?<=\S)(?=\s)", text))]
    words = dict(zip(starts, pairwise([*starts, len(text)]), strict=True))
    least = {place: max(entropies[start:end], default=0.0) for place, (start, end) in words.items()}
    assert numbers == {place: min(words[place][1] - place + 1, tokens) for place in numbers}
    assert len(numbers) == min(commands, sum(entropy > unsure for entropy in least.values()))
    assert all(least[place] > unsure for place in numbers)
    left = [entropy for place, entropy in least.items() if place not in numbers]
    assert len(numbers) < commands or max(left, default=0.0) <= min((least[place] for place in numbers), default=1.0)
