"""Completions become records and records completions, and nothing that a router can read is lost on the way."""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate, takewhile

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.data import Instance, Observation
from harness.engine.episode import LiveEpisode, StepResult
from harness.engine.step import check_answer
from harness.records import CallRecord, StepRecord, StepTiming
from harness.traces.recording import (
    UNKNOWN_ID,
    joined_call_indices,
    record_call,
    record_step_timing,
    recorded_answer,
    recorded_completion,
)
from mixroute import Completion, EpisodeError, MixrouteError, Timing, Token, beginning, join

TOKENS = st.builds(Token, st.integers(0, 9), st.floats(-30, 0), st.floats(0, 12), st.floats(0, 1))
TEXTS = st.text("ab# \n", max_size=6)


@st.composite
def completions(draw: st.DrawFn) -> Completion:
    tokens = tuple(draw(st.lists(TOKENS, max_size=5)))
    return Completion(
        model=draw(st.sampled_from(["low", "high"])),
        text=draw(TEXTS),
        tokens=tokens,
        content_tokens=draw(st.integers(0, len(tokens))),
        finish=draw(st.sampled_from(["stop", "length"])),
        prompt_tokens=draw(st.integers(0, 99)),
        cached_tokens=draw(st.integers(0, 99)),
    )


def without_ids(completion: Completion) -> Completion:
    """What is left of a completion in a trace."""
    tokens, read = (
        tuple(replace(token, id=UNKNOWN_ID) for token in told) for told in (completion.tokens, completion.read)
    )
    return replace(completion, tokens=tokens, read=read, parts=tuple(map(without_ids, completion.parts)))


@st.composite
def readings(draw: st.DrawFn) -> Completion:
    """Calls that read a reply and wrote nothing."""
    read = tuple(draw(st.lists(TOKENS, min_size=1, max_size=5)))
    ends = tuple(sorted(draw(st.lists(st.integers(0, 9), min_size=len(read), max_size=len(read)))))
    return Completion("high", "", (), 0, "length", draw(st.integers(9, 99)), 4, read=read, read_ends=ends)


@st.composite
def ended(draw: st.DrawFn) -> Completion:
    """Completions that tell where their tokens end; some end within a character, which the next one completes."""
    pieces = draw(st.lists(st.sampled_from(["a", "bc", "", " "]), max_size=5))
    pieces += ["d"] if pieces else []
    ends = tuple(accumulate(map(len, pieces)))
    tokens = tuple(draw(TOKENS) for _ in [*pieces, "end"])
    text = "".join(pieces)
    span = draw(st.tuples(st.integers(0, len(pieces)), st.integers(0, len(pieces))).map(sorted))
    made = Completion(draw(st.sampled_from(["low", "high"])), text, tokens, len(pieces), "stop", 9, 0, token_ends=ends)
    return replace(made, thought_tokens=(span[0], span[1]), forced=draw(st.sampled_from(["", "<act>"])))


def step_of(calls: list[Completion], answer: Completion) -> StepRecord:
    """The record that the engine makes of a step, written to a file and read again."""
    live = LiveEpisode(Instance("test/0"))
    live.record_step(Observation("here"), calls, StepResult(answer, "look"), {}, 0.0)
    return msgspec.json.decode(msgspec.json.encode(live.steps[0]), type=StepRecord)


@given(completions() | readings(), st.booleans())
def test_a_completion_comes_back_from_its_record(made: Completion, switch: bool) -> None:
    line = msgspec.json.encode(record_call(made, switch))
    record = msgspec.json.decode(line, type=CallRecord)
    assert recorded_completion(record) == without_ids(made)
    assert record.statistics == made.statistics
    assert msgspec.json.encode(record_call(recorded_completion(record), switch)) == line


@given(st.lists(completions(), min_size=1, max_size=5), st.sampled_from(["", "#"]), st.data())
def test_a_joined_answer_comes_back_from_its_step(calls: list[Completion], delimiter: str, data: st.DataObject) -> None:
    indices = sorted(data.draw(st.sets(st.sampled_from(range(len(calls))), min_size=1)))
    answer = join([calls[index] for index in indices], delimiter)
    assert joined_call_indices(answer, calls) == indices
    step = step_of(calls, answer)
    assert (step.parts, step.delimiter) == (indices, delimiter)
    assert recorded_answer(step) == without_ids(answer)


@given(st.lists(ended(), min_size=1, max_size=4), st.data())
def test_the_beginning_of_an_answer_comes_back_from_its_step(calls: list[Completion], data: st.DataObject) -> None:
    whole = join(calls)
    length = data.draw(st.integers(0, len(whole.text)))
    kept = beginning(whole, length)
    if kept is None:
        skipped = list(takewhile(lambda call: not call.text, calls))
        if len(skipped) < len(calls):  # not even the first token that wrote something fits
            first = calls[len(skipped)]
            begun = sum(len(call.forced) for call in [*skipped, first])
            assert length < begun + min(end for end in first.token_ends if end > 0)
        return
    assert whole.text.startswith(kept.text)
    assert len(kept.text) <= length
    answer = check_answer(join([kept, calls[-1]]), [*calls, calls[-1]])
    assert answer.text == kept.text + calls[-1].forced + calls[-1].text
    step = step_of([*calls, calls[-1]], answer)
    assert recorded_answer(step) == without_ids(answer)
    assert [call.content_tokens for call in step.made_of] == [part.content_tokens for part in answer.parts]


def test_a_beginning_is_one_of_tokens_that_a_model_wrote() -> None:
    call = Completion("low", "abc", (Token(1, -1.0, 1.0, 0.5),) * 2, 2, "stop", 5, 0, token_ends=(2, 3))
    kept = beginning(call, 2)
    assert kept is not None
    (part,) = kept.parts
    assert check_answer(kept, [call]) == kept
    for forged in (
        replace(part, text="ax"),
        replace(part, kept=2),
        replace(part, kept=7),
        replace(part, kept=True, text="a"),
        replace(part, kept=None),
        replace(part, tokens=(Token(1, -0.5, 1.0, 0.5),)),
    ):
        with pytest.raises(EpisodeError, match="no model of this step wrote"):
            check_answer(join([forged]), [call])
    with pytest.raises(ValueError, match="not known where the tokens of model 'low' end"):
        beginning(replace(call, token_ends=()), 2)
    with pytest.raises(ValueError, match="joined at a delimiter"):
        beginning(join([call], "#"), 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kept": [1, 1]}, "2 of them are cut"),
        ({"kept": [0]}, "no first 0"),
        ({"kept": [3]}, "no first 3"),
    ],
)
def test_a_beginning_that_cannot_be_has_no_completion(changes: dict[str, object], message: str) -> None:
    call = Completion("low", "abc", (Token(1, -1.0, 1.0, 0.5),) * 2, 2, "stop", 5, 0, token_ends=(2, 3))
    kept = beginning(call, 2)
    assert kept is not None
    step = step_of([call], kept)
    with pytest.raises(MixrouteError, match=message):
        recorded_answer(msgspec.structs.replace(step, **changes))
    for ends in ([], [3, 2], [2, 4], [3]):
        calls = [msgspec.structs.replace(step.calls[0], token_ends=ends)]
        with pytest.raises(MixrouteError):
            recorded_answer(msgspec.structs.replace(step, calls=calls))


@given(st.lists(completions(), min_size=1, max_size=5), st.data())
def test_the_answer_of_a_single_call_comes_back_from_its_step(calls: list[Completion], data: st.DataObject) -> None:
    answer = data.draw(st.sampled_from(calls))
    found = recorded_answer(step_of(calls, answer))
    assert (found.model, found.text, found.parts) == (answer.model, answer.text, ())


def test_published_traces_call_the_delimiter_until() -> None:
    calls = [Completion("low", "a#b", (), 0, "stop", 5, 0)]
    line = msgspec.json.encode(step_of(calls, join(calls, "#")))
    assert msgspec.json.decode(line)["until"] == "#"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parts": [1]}, "joined from calls [1] of 1"),
        ({"parts": [0, 0]}, "joined from calls [0, 0] of 1"),
        ({"text": "c", "parts": []}, "the text of 'low' was written by no call"),
    ],
)
def test_an_answer_that_no_call_gave_has_no_completion(changes: dict[str, object], message: str) -> None:
    calls = [Completion("low", "a", (), 0, "stop", 5, 0)]
    step = msgspec.structs.replace(step_of(calls, join(calls)), **changes)
    with pytest.raises(MixrouteError) as caught:
        recorded_answer(step)
    assert message in str(caught.value)


def test_a_record_with_statistics_missing_has_no_completion() -> None:
    record = record_call(Completion("low", "a", (Token(1, -1.0, 1.0, 0.5),), 1, "stop", 5, 0), switch=False)
    with pytest.raises(MixrouteError, match="1 decoded tokens, but statistics of"):
        recorded_completion(msgspec.structs.replace(record, margins=[]))


def test_measured_times_are_recorded_with_five_digits() -> None:
    measured = Timing(queue=1.234567e-7, prefill=2 / 3, decode=100.12345, latency=12345.678)
    call = Completion("low", "", (), 0, "stop", 5, 0, timing=measured, reused=True)
    timing = record_step_timing(1 / 3, 1e-9, [call])
    assert msgspec.to_builtins(timing) == {
        "environment": 0.33333,
        "router": 1e-9,
        "calls": [{"queue": 1.2346e-7, "prefill": 0.66667, "decode": 100.12, "latency": 12346.0, "reused": True}],
    }
    assert isinstance(timing, StepTiming)
