"""The command, and what becomes of an answer with commands, on models that say what the test wants."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.engine.step import check_answer
from harness.records import StepRecord
from mixroute import Completion, EpisodeError, Step, Token, join
from routers.relay.call_tag import CLOSE, OPEN, call_tag, requested_tokens
from routers.relay.router import Relay
from tests.routers.relay.speaker import Speaker, answered


@given(st.integers(0, 10**9 - 1), st.text(" \t", max_size=3), st.text(" \t", max_size=3))
def test_a_number_is_asked_for(number: int, before: str, after: str) -> None:
    assert call_tag(number) == f"<call>{number}</call>"
    assert requested_tokens(f"{before}{number}{after}") == number


@given(st.text(max_size=12))
def test_what_is_no_number_asks_for_nothing(said: str) -> None:
    digits = said.strip(" \t")
    plain = digits.isascii() and digits.isdigit() and len(digits) <= 9
    assert requested_tokens(said) == (int(digits) if plain else 0)


@pytest.mark.parametrize("said", ["", "-3", "3.5", "1e3", "٣", "²", "3 4", "3\n", "1" * 10, "1" * 5000])
def test_strange_numbers_ask_for_nothing(said: str) -> None:
    assert requested_tokens(said) == 0


def script(*says: str) -> Speaker:
    """A small model that says one thing after the other."""
    waiting = list(says)
    return Speaker("relay", lambda history: waiting.pop(0) if waiting else "")


def relayed(small: Speaker, large: Speaker, max_tokens: int = 60, stop: Sequence[str] = ()) -> StepRecord:
    (step,) = answered(Relay(), {"relay": small, "high": large}, max_tokens, tuple(stop)).steps
    return step


def test_the_large_model_goes_on_without_commands_and_the_small_one_with_them() -> None:
    small, large = script("It is <call>3</call>xx", ", no: <call>2</call>", "."), Speaker("high", lambda text: "abcdef")
    step = relayed(small, large)
    assert step.text == "It is abc, no: ab."
    assert small.read == ["", "It is <call>3</call>abc", "It is <call>3</call>abc, no: <call>2</call>ab"]
    assert large.read == ["It is ", "It is abc, no: "]
    assert [request.max_tokens for request in large.requests] == [3, 2]
    # Everything is charged, commands too; the share is of all tokens that make the parts.
    assert [(call.model, call.decoded_tokens) for call in step.calls] == [
        ("relay", len("It is <call>3</call>")),
        ("high", 3),
        ("relay", len(", no: <call>2</call>")),
        ("high", 2),
        ("relay", 2),
    ]
    assert (step.model, step.parts, step.delimiter) == ("mixed", [0, 1, 2, 3, 4], "<call>")
    assert step.high_share == 5 / (len("It is <call>3") + 3 + len(", no: <call>2") + 2 + 1)
    assert step.scores == {"calls": 2, "asked": 5}


@pytest.mark.parametrize("said", ["0", "", "three", "-1", "9999999999"])
def test_what_is_no_command_calls_nobody_and_is_no_part_of_the_answer(said: str) -> None:
    small, large = script(f"a<call>{said}</call>", "b"), Speaker("high", lambda text: "xyz")
    step = relayed(small, large)
    assert (step.text, large.requests) == ("ab", [])
    assert small.read == ["", f"a<call>{said}</call>"]
    assert step.scores == {"calls": 0, "asked": 0}


def test_more_than_is_left_is_cut_to_what_is_left() -> None:
    small, large = script("ab<call>999</call>"), Speaker("high", lambda text: "x" * 99)
    step = relayed(small, large, max_tokens=30)
    assert sum(call.decoded_tokens for call in step.calls) == 30
    assert step.text == "ab" + "x" * (30 - len("ab<call>999</call>"))
    assert step.scores == {"calls": 1, "asked": 999}


def test_the_large_model_may_end_the_answer() -> None:
    small, large = script("a<call>9</call>", "never"), Speaker("high", lambda text: "bc")
    assert relayed(small, large).text == "abc"
    assert len(small.requests) == 1


def test_after_five_calls_the_small_model_is_on_its_own() -> None:
    small, large = script(*["<call>1</call>"] * 7, "z"), Speaker("high", lambda text: "xy")
    step = relayed(small, large, max_tokens=200)
    assert step.text == "xxxxxz"
    assert [call.model for call in step.calls] == ["relay", "high"] * 5 + ["relay"] * 3
    assert step.scores == {"calls": 5, "asked": 5}


@pytest.mark.parametrize(
    ("says", "max_tokens", "text"),
    [
        ("ab<call>7", 60, "abxxxxxxx."),  # the end of the answer closes the command
        ("ab<call>", 60, "ab."),
        ("ab<call>1</call>", 9, "ab"),  # the length ends within the command
        ("ab<call>1</call>", 4, "ab<c"),  # and within its mark, which then is none
        ("ab</call>cd", 60, "ab"),  # closing what was not opened ends the answer
    ],
)
def test_an_answer_that_ends_within_a_command(says: str, max_tokens: int, text: str) -> None:
    small, large = script(says, "."), Speaker("high", lambda read: "x" * 20)
    assert relayed(small, large, max_tokens).text == text


def test_a_stop_string_where_two_models_meet_ends_the_answer() -> None:
    small, large = script("a<call>2</call>", "\nnever"), Speaker("high", lambda text: "b\n")
    step = relayed(small, large, stop=["\n\n"])
    assert step.text == "ab\n\nnever"  # the models' texts are whole; what follows is asked for no more
    assert len(step.calls) == 3


PIECES = st.lists(st.sampled_from(["<call>", "</call>", "<call>3</call>", "7", "0", " x", "\n", "<"]), max_size=6)


@given(st.lists(PIECES.map("".join), max_size=12), PIECES.map("".join), st.integers(1, 60))
def test_whatever_is_said_the_answer_keeps_to_the_rules(says: list[str], large_says: str, max_tokens: int) -> None:
    small, large = script(*says), Speaker("high", lambda text: large_says)
    step = relayed(small, large, max_tokens, ["\n\n"])
    assert sum(call.decoded_tokens for call in step.calls) <= max_tokens
    assert len(large.requests) <= 5
    assert step.text == "".join(step.calls[part].text.partition(OPEN)[0] for part in step.parts)
    # The large model reads what is in the answer, the small one everything; neither sees what came later.
    for history in (*large.read, *(read.replace(CLOSE, "") for read in small.read if OPEN not in read)):
        assert step.text.startswith(history)


def told(text: str, model: str = "low") -> Completion:
    return Completion(model, text, (Token(1, -0.1, 0.1, 0.5),), 1, "stop", 5, 0)


def test_a_mark_takes_away_the_end_of_a_part_and_nothing_else() -> None:
    calls = [told("a<call>1"), told("b", "high")]
    assert check_answer(join(calls, "<call>"), calls).text == "ab"
    forged = Completion("low", "b", (), 0, "stop", 0, 0, parts=(calls[0],), delimiter="<call>")
    with pytest.raises(EpisodeError, match="text that no model of this step wrote"):
        check_answer(forged, calls)


def test_relay_refuses_a_negative_number_of_calls() -> None:
    with pytest.raises(ValueError, match="calls must be 0 or more"):
        Relay(calls=-1)


class _Cuts:
    granularity = "token"

    async def act(self, step: Step) -> Completion:
        return join([await step.ask("relay")], delimiter="#")


def test_a_single_call_may_be_cut_too_and_the_trace_says_so() -> None:
    (step,) = answered(_Cuts(), {"relay": script("yes # no")}).steps  # type: ignore[arg-type]
    assert (step.text, step.model, step.parts, step.delimiter) == ("yes ", "relay", [0], "#")
