"""Replies: what is written is read again, and what is no reply by the grammar has no action."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.config import shipped_names
from harness.scaffolds import SHIPPED, Scaffold, in_tokens, load_scaffold

TAGGED = Scaffold.model_validate(
    {
        "schema": 1,
        "name": "tagged",
        "format": "chat",
        "reply": {"thought": {"open": "<think>", "close": "</think>"}, "action": {"open": "<act>", "close": "</act>"}},
        "limits": {"thought_tokens": 9, "action_tokens": 5},
    }
)
STOPPED = TAGGED.model_copy(update={"stop": ("</act>",)})
WORDS = st.text("abc 12[]", min_size=1, max_size=20).map(str.strip).filter(bool)


@pytest.mark.parametrize("name", shipped_names(SHIPPED))
@given(thought=WORDS, action=WORDS)
def test_what_is_written_is_read_again(name: str, thought: str, action: str) -> None:
    scaffold = load_scaffold(name)
    wanted = thought if scaffold.thinks else ""
    text = scaffold.reply_text(wanted, action)
    read = scaffold.read(text)
    assert (read.thought, read.action) == (wanted, action)
    assert text[slice(*read.action_span)] == action
    assert not any(stop in text for stop in scaffold.stop)
    assert scaffold.read(scaffold.reply_text("", action)).action == action
    assert scaffold.read(scaffold.remembered(text, thought=True)).action == action
    forgotten = scaffold.remembered(text, thought=False)
    assert scaffold.read(forgotten).thought == ""
    assert scaffold.read(forgotten).action == action


@pytest.mark.parametrize(
    ("text", "thought", "action"),
    [
        ("<think>why</think><act>look</act>", "why", "look"),
        ("<think> why\nso </think>\n<act> look </act> and more", "why\nso", "look"),
        ("<act>look</act>", "", "look"),
        ("<think><act>look</act></think><act>wait</act>", "<act>look</act>", "wait"),
        ("<act>> look</act>", "", "look"),
        ("<think>why</think>look", "why", ""),
        ("<think>why</think><act>look", "why", ""),
        ("<think>why</think><act>look</act><act>look</act>", "why", ""),
        ("<think>why</think><act>look</act></act>", "why", ""),
        ("<act>look</act><think>why</think><act>wait</act>", "why", ""),
        ("<think>why <act>look</act>", "why <act>look</act>", ""),
        ("look", "", ""),
        ("", "", ""),
    ],
)
def test_a_missing_or_repeated_tag_is_no_action(text: str, thought: str, action: str) -> None:
    read = TAGGED.read(text)
    assert (read.thought, read.action) == (thought, action)


def test_a_stop_string_closes_the_action() -> None:
    assert STOPPED.read("<think>why</think><act>look").action == "look"
    assert STOPPED.read("<act>look<act>wait").action == ""
    assert STOPPED.reply_text("why", "look") == "<think>why</think><act>look"


def test_a_template_may_open_the_thought() -> None:
    reply = TAGGED.reply.model_copy(update={"opened_by_template": True})
    opened = TAGGED.model_copy(update={"reply": reply})
    assert opened.read("why</think><act>look</act>").thought == "why"
    assert opened.read("<think>why</think><act>look</act>").thought == "why"
    assert opened.reply_text("why", "look") == "why</think><act>look</act>"
    assert opened.read("why and why").action == ""


def test_a_pattern_finds_an_action_exactly_once() -> None:
    action = TAGGED.reply.action.model_copy(update={"pattern": r"<act>\s*(\w+)\s*</act>"})
    scaffold = TAGGED.model_copy(update={"reply": TAGGED.reply.model_copy(update={"action": action})})
    assert scaffold.read("<think>why</think><act> look </act>").action == "look"
    assert scaffold.read("<think>why</think><act>go on</act>").action == ""
    assert scaffold.read("<act>look</act><act>wait</act>").action == ""


@given(st.text("<>/think act", max_size=60))
def test_reading_never_fails_and_never_invents(text: str) -> None:
    for scaffold in (TAGGED, STOPPED):
        read = scaffold.read(text)
        assert read.action == text[slice(*read.action_span)] if read.action else True
        assert read.thought == text[slice(*read.thought_span)] if read.thought else True


@pytest.mark.parametrize(
    ("span", "ends", "offset", "tokens"),
    [
        ((0, 4), (2, 4, 9), 0, (0, 2)),
        ((2, 4), (2, 4, 9), 0, (1, 2)),
        ((3, 5), (2, 4, 9), 0, (1, 3)),
        ((9, 9), (2, 4, 9), 0, (3, 3)),
        ((12, 14), (2, 4, 9), 10, (1, 2)),
        ((0, 8), (2, 4), 10, (0, 0)),
    ],
)
def test_spans_in_tokens_are_those_they_touch(
    span: tuple[int, int], ends: tuple[int, ...], offset: int, tokens: tuple[int, int]
) -> None:
    assert in_tokens(span, ends, offset) == tokens
