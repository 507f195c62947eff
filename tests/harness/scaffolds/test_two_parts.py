"""Replies with thoughts as they are played: limits, the call for an action, and what is recorded of both."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.backends.decoding import cut_at_stop
from harness.errors import RunStopped
from harness.plugins import open_router, open_task
from harness.records import CallRecord, StepRecord
from mixroute import Completion, Request, Step, StepRouter, Token
from tests.harness.playing import play
from tests.scripted import ScriptedModel

LIMIT, ACTION = 20, 24
MINE: dict[str, Any] = {
    "schema": 1, "name": "mine", "format": "plain", "instruction": "{brief}", "message": "{observation}\n",
    "after_reply": "</act>\n", "stop": ["</act>"],
    "reply": {
        "thought": {"open": "<think>", "close": "</think>"},
        "action": {"open": "<act>", "close": "</act>"},
        "between": "\n",
    },
}  # fmt: skip


class Writer(ScriptedModel):
    """Writes a text letter by letter, up to a stop string or the longest answer; goes on from what is there."""

    def __init__(self, name: str, reply: str, after_force: str = "look</act>") -> None:
        super().__init__(name)
        self._reply = reply
        self._after_force = after_force

    async def generate(self, request: Request) -> Completion:
        answer = await super().generate(request)
        begun = request.continue_from
        whole = self._reply[len(begun) :] if self._reply.startswith(begun) else self._after_force
        text = cut_at_stop(whole, request.stop)
        ended = text is not None and len(text) < request.max_tokens
        text = (whole if text is None else text)[: request.max_tokens]
        tokens = tuple(Token(ord(letter), -0.5, 1.0, 0.2) for letter in text + ("<" if ended else ""))
        ends = tuple(range(1, len(text) + 1))
        finish: Any = "stop" if ended or len(whole) < request.max_tokens else "length"
        return replace(answer, text=text, tokens=tokens, content_tokens=len(text), finish=finish, token_ends=ends)


class Low(StepRouter):
    def choose(self, step: Step) -> str:
        return "low"


def first_step(folder: Path, router: object, models: dict[str, Any], at_limit: str = "ask_action") -> StepRecord:
    limits = {"thought_tokens": LIMIT, "action_tokens": ACTION, "at_thought_limit": at_limit}
    (folder / "mine.yaml").write_text(yaml.safe_dump({**MINE, "limits": limits}))
    task: Any = open_task("alfworld-gen", split="dev", games=1, step_cap=1, prompt=str(folder / "mine.yaml"))
    (episode,) = play(router, models, task).episodes.values()
    assert episode.error is None
    assert episode.turns[0].thought == episode.steps[0].thought
    return episode.steps[0]


def parts(call: CallRecord) -> tuple[str, str]:
    """Thought and action by the tokens that are recorded; each letter is a token."""
    return call.text[slice(*call.thought_tokens)], call.text[slice(*call.action_tokens)]


def test_a_reply_goes_on_where_its_thought_has_ended_within_the_limit(tmp_path: Path) -> None:
    step = first_step(tmp_path, Low(), {"low": Writer("low", "<think>w</think><act>look</act>")})
    # 16 letters of the thought and its tags, then the action begins, within the limit of 20
    assert [call.text for call in step.calls] == ["<think>w</think><act", ">look"]
    assert step.calls[0].finish == "length"
    assert (step.thought, step.action, step.valid) == ("w", "look", True)


def test_a_short_reply_takes_one_call(tmp_path: Path) -> None:
    step = first_step(tmp_path, Low(), {"low": Writer("low", "<act>look</act>")})
    assert [call.text for call in step.calls] == ["<act>look"]
    assert (step.thought, step.action, step.parts) == ("", "look", [])


def test_a_thought_at_its_limit_is_cut_and_closed_and_the_action_asked_for(tmp_path: Path) -> None:
    low = Writer("low", "<think>" + "why " * 50)
    step = first_step(tmp_path, Low(), {"low": low})
    first, second = step.calls
    assert (first.text, first.decoded_tokens, first.finish) == (("<think>" + "why " * 50)[:LIMIT], LIMIT, "length")
    assert (second.forced, second.text) == ("</think>\n<act>", "look")
    assert low.requests[1].continue_from == first.text + "</think>\n<act>"
    assert [request.max_tokens for request in low.requests] == [LIMIT, ACTION]
    assert step.text == first.text + "</think>\n<act>look"
    assert (step.parts, step.model) == ([0, 1], "low")
    assert (step.thought, step.action, step.valid) == ("why why why w", "look", True)
    assert [parts(call) for call in step.calls] == [("why why why w", ""), ("", "look")]


def test_or_such_a_reply_is_invalid(tmp_path: Path) -> None:
    low = Writer("low", "<think>" + "why " * 50)
    step = first_step(tmp_path, Low(), {"low": low}, at_limit="invalid")
    assert len(step.calls) == 1
    assert (step.action, step.valid) == ("", False)


def test_a_reply_without_an_action_is_invalid_and_asked_for_nothing_more(tmp_path: Path) -> None:
    step = first_step(tmp_path, Low(), {"low": Writer("low", "<think>so</think>!")})
    assert len(step.calls) == 1
    assert (step.thought, step.action, step.valid) == ("so", "", False)


class LowThinks:
    granularity = "token"

    async def act(self, step: Step) -> Completion:
        return await step.act_on(await step.think("low"), "high")


def test_a_router_may_let_one_model_think_and_another_act(tmp_path: Path) -> None:
    low, high = Writer("low", "<think>so</think><act>inventory</act>"), Writer("high", "", "look</act>")
    step = first_step(tmp_path, LowThinks(), {"low": low, "high": high})
    assert [(call.model, call.forced, call.text) for call in step.calls] == [
        ("low", "", "<think>so"),
        ("high", "</think>\n<act>", "look"),
    ]
    assert (step.thought, step.action, step.model) == ("so", "look", "mixed")


def test_such_a_router_is_told_where_there_are_no_thoughts() -> None:
    with pytest.raises(RunStopped, match=r"calls step\.think, and the scaffold has no thoughts"):
        play(LowThinks())


@pytest.mark.parametrize(
    ("router", "low", "high", "acted"),
    [
        ("unlisted", "look", "look", "low"),
        ("unlisted", "fly", "look", "high"),
        ("agreement-oracle", "look", "look", "low"),
        ("agreement-oracle", "look", "inventory", "high"),
    ],
)
def test_routers_that_compare_actions_leave_thoughts_out(
    tmp_path: Path, router: str, low: str, high: str, acted: str
) -> None:
    models = {
        "low": Writer("low", f"<think>a</think>\n<act>{low}</act>"),
        "high": Writer("high", f"<think>b</think>\n<act>{high}</act>"),
    }
    assert first_step(tmp_path, open_router(router), models).model == acted
