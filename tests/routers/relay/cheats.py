"""Ways to cheat in an entry of router ``relay``, and the check that must catch each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.harness.verify.cheats import ROUTING, WHOLE
from tests.harness.verify.editing import Entry


def with_a_call(entry: Entry) -> Any:
    return next(one["steps"][0] for one in entry["episodes"] if one["steps"][0]["scores"]["calls"])


def large_call(entry: Entry) -> Any:
    """One that goes on from some text."""
    calls = [call for one in entry["episodes"] for call in one["steps"][0]["calls"]]
    return next(call for call in calls if call["model"] == "high" and call["prompt_tokens"] > 4)


def less_was_read(entry: Entry) -> None:
    large_call(entry)["prompt_tokens"] -= 1


def more_was_cached(entry: Entry) -> None:
    large_call(entry)["cached_tokens"] += 1


def less_was_asked_for(entry: Entry) -> None:
    command = next(call for call in with_a_call(entry)["calls"] if "<call>" in call["text"])
    command["text"] = command["text"].partition("<call>")[0] + "<call>1"


def a_command_in_the_answer(entry: Entry) -> None:
    with_a_call(entry)["text"] += "<call>1"


def another_mark(entry: Entry) -> None:
    step = with_a_call(entry)
    step["until"], step["text"] = "", "".join(step["calls"][part]["text"] for part in step["parts"])


def a_part_left_out(entry: Entry) -> None:
    step = with_a_call(entry)
    del step["parts"][-1]
    step["text"] = "".join(step["calls"][part]["text"].partition("<call>")[0] for part in step["parts"])


def a_part_that_is_no_call(entry: Entry) -> None:
    with_a_call(entry)["parts"].append(99)


CHEATS: list[tuple[Callable[[Entry], None], str]] = [
    (less_was_read, ROUTING),
    (more_was_cached, ROUTING),
    (less_was_asked_for, ROUTING),
    (a_command_in_the_answer, WHOLE),
    (another_mark, ROUTING),
    (a_part_left_out, ROUTING),
    (a_part_that_is_no_call, WHOLE),
]
