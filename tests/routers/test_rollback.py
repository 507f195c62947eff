"""Router ``rollback``: high reads what low wrote, and writes from the first token on that surprises it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.errors import RunStopped
from harness.plugins import open_router
from harness.records import StepRecord
from mixroute import Completion, MixrouteError, Request, Token
from routers.rollback import Rollback
from tests.harness.scaffolds.test_two_parts import ACTION, LIMIT, Writer, first_step

THOUGHT = ("<think>" + "why " * 50)[:LIMIT]
FORCED = "</think>\n<act>"
DRAFT = THOUGHT + FORCED + "look"
"""Low's reply, in two calls: its thought is cut."""


class Reader(Writer):
    """Is surprised at some letters of what it reads."""

    def __init__(self, name: str, reply: str, unlikely: tuple[int, ...]) -> None:
        super().__init__(name, reply)
        self._unlikely = unlikely

    async def generate(self, request: Request) -> Completion:
        if request.max_tokens:
            return await super().generate(request)
        self.requests.append(request)
        read = tuple(
            Token(ord(letter), -9.0 if place in self._unlikely else -0.5, 1.0, 0.2)
            for place, letter in enumerate(request.continue_from)
        )
        ends = tuple(range(1, len(read) + 1))
        return Completion("high", "", (), 0, "length", 40, 0, read=read, read_ends=ends)


def thinking(
    folder: Path, *unlikely: int, reply: str = "<think>hm</think><act>go</act>", **arguments: Any
) -> tuple[StepRecord, Reader]:
    high = Reader("high", reply, unlikely)
    models = {"low": Writer("low", "<think>" + "why " * 50), "high": high}
    return first_step(folder, open_router("rollback", **arguments), models), high


def test_a_reply_that_surprises_nobody_is_taken(tmp_path: Path) -> None:
    for unlikely in ((), (len(THOUGHT), len(THOUGHT) + 5)):  # for what the scaffold put in, nobody is answerable
        step, high = thinking(tmp_path, *unlikely)
        assert (step.text, step.model, step.parts, step.kept) == (DRAFT, "low", [0, 1], [])
        assert [request.continue_from for request in high.requests] == [DRAFT]
        assert step.scores == {"surprise": 0.5, "threshold": 2.0}
        assert step.high_share == 0
    call = step.calls[2]
    assert call.read is not None
    assert call.read.ends == list(range(1, len(DRAFT) + 1))
    assert DRAFT[slice(*call.thought_tokens)] == THOUGHT.removeprefix("<think>").rstrip()
    assert DRAFT[slice(*call.action_tokens)] == "look"
    assert (call.decoded_tokens, call.text, step.calls[0].read, call.token_ends) == (0, "", None, [])


def test_high_alone_writes_a_reply_whose_first_token_it_rejects(tmp_path: Path) -> None:
    step, high = thinking(tmp_path, 0)
    assert (step.text, step.model) == ("<think>hm</think><act>go", "high")
    assert [request.continue_from for request in high.requests][1] == ""
    assert step.scores["surprise"] == 9


def test_within_a_thought_high_goes_on_with_thought_and_action(tmp_path: Path) -> None:
    step, high = thinking(tmp_path, 10, 12, reply="<think>why</think><act>go</act>")
    assert step.text == "<think>why</think><act>go"
    assert (step.parts, step.kept, step.model) == ([0, 3, 4], [10, 10, 5], "mixed")
    assert step.calls[0].token_ends == list(range(1, LIMIT + 1))
    assert step.calls[0].text == THOUGHT  # all of it is charged
    _, first, second = high.requests
    assert (first.continue_from, first.max_tokens) == ("<think>why", LIMIT - 10)
    assert (second.continue_from, second.max_tokens) == ("<think>why</think><a", ACTION)
    assert (step.thought, step.action) == ("why", "go")
    assert step.high_share == pytest.approx(15 / 25)


def test_a_thought_that_high_goes_on_with_is_cut_as_well(tmp_path: Path) -> None:
    step, high = thinking(tmp_path, 10, reply=THOUGHT[:10] + " not" * 50)
    assert step.text == "<think>why not not " + "n" + FORCED + "look"
    assert high.requests[-1].max_tokens == ACTION
    assert step.calls[-1].forced == FORCED


def test_within_an_action_high_goes_on_with_the_action(tmp_path: Path) -> None:
    begun = len(THOUGHT + FORCED)
    step, high = thinking(tmp_path, begun + 2)
    assert step.text == THOUGHT + FORCED + "lo" + "look"
    assert (step.parts, step.kept) == ([0, 1, 3], [LIMIT, 2, 4])
    assert high.requests[-1].max_tokens == ACTION - 2
    step, high = thinking(tmp_path, begun)  # its first token: the action is asked for once more
    assert step.text == DRAFT
    assert (step.parts, step.kept, step.model) == ([0, 3], [], "mixed")
    assert (high.requests[-1].continue_from, high.requests[-1].forced) == (THOUGHT + FORCED, FORCED)


def test_a_backend_that_cannot_judge_a_reply_stops_the_run(tmp_path: Path) -> None:
    models = {name: Writer(name, "<act>look</act>") for name in ("high", "low")}
    with pytest.raises(RunStopped, match="model 'high' does not say how likely a given reply is"):
        first_step(tmp_path, open_router("rollback"), models)


@pytest.mark.parametrize("ends", [(), (2, 1), (1, 99)])
def test_what_a_backend_says_of_another_reply_ends_the_episode(tmp_path: Path, ends: tuple[int, ...]) -> None:
    class Confused(Reader):
        async def generate(self, request: Request) -> Completion:
            answer = await super().generate(request)
            return answer if request.max_tokens else replace(answer, read=answer.read[:2], read_ends=ends)

    models = {"low": Writer("low", "<act>look</act>"), "high": Confused("high", "<act>go</act>", ())}
    with pytest.raises(AssertionError, match="model 'high' gave a wrong answer"):
        first_step(tmp_path, open_router("rollback"), models)


def test_tokens_says_what_is_looked_at(tmp_path: Path) -> None:
    begun = len(THOUGHT + FORCED)
    step, _ = thinking(tmp_path, 10, begun + 1, tokens="action")
    assert step.kept == [LIMIT, 1, 4]
    step, _ = thinking(tmp_path, 3, 10, begun + 1, tokens="thought")
    assert step.kept[0] == 10
    step, _ = thinking(tmp_path, 10, tokens="action")
    assert step.text == DRAFT


def test_arguments_that_mean_nothing_are_refused() -> None:
    assert (Rollback.role, Rollback.granularity) == ("baseline", "token")
    for arguments, message in (
        ({"threshold": -1.0}, "threshold must be 0 or more"),
        ({"threshold": float("nan")}, "threshold must be 0 or more"),
        ({"tokens": "every"}, "tokens must be one of action, thought, all"),
    ):
        with pytest.raises(MixrouteError, match=message):
            open_router("rollback", **arguments)
