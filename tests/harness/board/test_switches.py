"""``mixroute switches``: what taking turns costs, and what it gains."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from harness.board.switches import count_switches
from harness.records import CallRecord, Episode
from harness.speed.card import save_speed_card
from harness.speed.rates import Rates
from harness.traces.store import EPISODES, find_runs, read_episodes
from mixroute import MixrouteError
from tests.command import mixroute
from tests.harness.board.builders import CARDS, Play, Run, write_run
from tests.harness.speed.cards import speed_card

TURN = 20
"""Tokens that each step adds to the prompt; three are written."""


def write(folder: Path, router: str, steps: str) -> Path:
    """A run of one game in which each model reads what it has not seen yet."""
    write_run(folder, Run(router, {"game": Play(steps)}))
    (episode,) = read_episodes(folder)
    read: dict[str, int] = {}
    last, changed = None, []
    for number, step in enumerate(episode.steps, 1):
        fields = {"prompt_tokens": TURN * number, "cached_tokens": read.get(step.model, 0)}
        call = msgspec.structs.replace(step.calls[0], **fields, switch=last not in (None, step.model))
        read[step.model], last = TURN * number, step.model
        changed.append(msgspec.structs.replace(step, calls=[call]))
    rewritten: Episode = msgspec.structs.replace(episode, steps=changed)
    (folder / EPISODES).write_bytes(msgspec.json.encode(rewritten) + b"\n")
    return folder


def test_redundant_prefill_of_a_switch_is_counted(tmp_path: Path) -> None:
    folders = [write(tmp_path / name, name, steps) for name, steps in (("always-high", "hhhh"), ("turns", "hlhl"))]
    turns, high = count_switches(folders)
    assert (high.label, high.switches, high.prefill_tokens, high.redundant_prefill_tokens) == ("always-high", 0, 80, 0)
    assert (turns.label, turns.switches) == ("turns", 3)
    # Step by step: 20 by high; 40 by low, which has seen nothing; then 40 each, one turn of its own and one missed.
    assert turns.prefill_tokens == 20 + 40 + 40 + 40
    assert turns.prefill_tokens_at_switches == 120
    assert turns.redundant_prefill_tokens == 140 - 80
    assert turns.net_seconds is None
    assert (turns.offloaded_tokens, turns.redundant_per_offloaded) == (2 * 3, 60 / 6)
    assert high.redundant_per_offloaded is None


def test_of_prompts_that_drop_turns_no_other_router_is_told(tmp_path: Path) -> None:
    folder = write(tmp_path / "turns", "turns", "hlhl")
    rates = Rates(speed_card(), 1, "card")
    (whole,) = count_switches([folder], rates)
    assert whole.own_cache_prefill_tokens is not None
    assert whole.net_seconds is not None
    meta = json.loads((folder / "run.json").read_text())
    meta["protocol"]["append_only"] = False
    (folder / "run.json").write_text(json.dumps(meta))
    (window,) = count_switches([folder], rates)
    assert window.prefill_tokens == whole.prefill_tokens
    figures = (window.own_cache_prefill_tokens, window.one_cache_prefill_tokens, window.net_seconds)
    assert figures == (None, None, None)


def test_a_card_tells_whether_it_was_worth_it(tmp_path: Path) -> None:
    folders = [write(tmp_path / name, name, steps) for name, steps in (("always-high", "hhhh"), ("turns", "hlhl"))]
    rates = Rates(speed_card(), 1, "card")
    turns, high = count_switches(folders, rates)
    assert (high.prefill_seconds, high.decode_seconds, high.net_seconds) == (0, 0, 0)

    def prefill(tokens: int) -> float:  # of high: 20 s at 10 tokens, 100 s at 100, linear between
        return 20 + (tokens - 10) * 80 / 90

    assert turns.prefill_seconds == pytest.approx(prefill(20) + 2 * prefill(40) - 4 * prefill(20))
    decode = {length: 20 - (length - 10) / 9 for length in (20, 40, 60, 80)}  # seconds a token, by high
    assert turns.decode_seconds == pytest.approx(-0.5 * 3 * (decode[40] + decode[80]))
    assert turns.net_seconds == pytest.approx((turns.prefill_seconds or 0) + (turns.decode_seconds or 0))


def test_the_command_prints_both(tmp_path: Path) -> None:
    write(tmp_path / "runs/turns", "turns", "hlhl")
    save_speed_card(tmp_path / "card.json", speed_card())
    shown = mixroute("switches", "runs", "--card", "card.json", "--at", "1", cwd=tmp_path).stdout
    assert "speed card card.json" in shown
    assert "high alone" in shown
    counted = " ".join(mixroute("switches", "runs", cwd=tmp_path).stdout.split())
    assert "60 (43%) 10.0 80" in counted
    assert "one cache" in counted


def test_a_pool_without_high_has_nothing_to_compare_with(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", Run("other", {"game": Play("l")}, cards={"low": CARDS["low"]}))
    assert count_switches([tmp_path / "runs"])[0].switches == 0
    with pytest.raises(MixrouteError, match="no model 'high' to compare with"):
        count_switches([tmp_path / "runs"], Rates(speed_card(), 1, "card"))


def test_published_entries_of_one_model_have_no_redundant_prefill() -> None:
    entries = Path(__file__).parents[3] / "results/entries"
    found = count_switches(folder for folder in find_runs(entries) if "always-" in folder.name)
    assert found
    assert {one.redundant_prefill_tokens for one in found} == {0.0}
    assert {one.switches for one in found} == {0.0}


def test_tokens_of_a_joined_answer_that_others_decoded_are_offloaded(tmp_path: Path) -> None:
    folder = write(tmp_path, "relay", "l")
    (episode,) = read_episodes(folder)
    (low,) = episode.steps[0].calls
    high = msgspec.structs.replace(low, model="high", switch=True)
    again = msgspec.structs.replace(low, switch=True)
    step = msgspec.structs.replace(episode.steps[0], model="mixed", calls=[low, low, high, again], parts=[1, 2, 3])
    rewritten = msgspec.structs.replace(episode, steps=[step])
    (folder / EPISODES).write_bytes(msgspec.json.encode(rewritten) + b"\n")
    (found,) = count_switches([folder], Rates(speed_card(), 1, "card"))
    assert (found.switches, found.offloaded_tokens) == (2, 2 * 3)  # the first call of low was thrown away
    assert found.high_alone_seconds == pytest.approx(Rates(speed_card(), 1, "card").seconds(one_call(high, tokens=9)))


def one_call(call: CallRecord, tokens: int) -> CallRecord:
    return msgspec.structs.replace(call, decoded_tokens=tokens, cached_tokens=0)


def test_the_call_that_was_taken_counts_whichever_came_last(tmp_path: Path) -> None:
    """A router may ask several models and return an earlier completion."""
    folder = write(tmp_path / "vote", "vote", "l")
    (episode,) = read_episodes(folder)
    (step,) = episode.steps
    unused = msgspec.structs.replace(step.calls[0], model="high", text="another action", switch=True)
    asked = msgspec.structs.replace(step, calls=[*step.calls, unused])
    (folder / EPISODES).write_bytes(msgspec.json.encode(msgspec.structs.replace(episode, steps=[asked])) + b"\n")
    (found,) = count_switches([folder])
    assert found.offloaded_tokens == step.calls[0].decoded_tokens


def shared(read: str, **sharing: object) -> Run:
    """A run whose models share a cache, of one game in which they act in this order."""
    return Run("turns", {"game": Play(read)}, config={"kv_cache": {"shared": ["high", "low"], **sharing}})


def counts(folder: Path, run: Run) -> tuple[float | None, float | None]:
    """Prefill tokens with own caches and with one; each step adds a turn of ``TURN`` tokens."""
    write_run(folder, run)
    (episode,) = read_episodes(folder)
    steps = []
    for number, step in enumerate(episode.steps, 1):
        calls = [msgspec.structs.replace(call, prompt_tokens=TURN * number, cached_tokens=0) for call in step.calls]
        steps.append(msgspec.structs.replace(step, calls=calls))
    rewritten = msgspec.structs.replace(episode, steps=steps)
    (folder / EPISODES).write_bytes(msgspec.json.encode(rewritten) + b"\n")
    (found,) = count_switches([folder])
    assert found.shares == bool(run.config)
    return found.own_cache_prefill_tokens, found.one_cache_prefill_tokens


def test_what_one_cache_saves_follows_from_the_order_of_the_calls(tmp_path: Path) -> None:
    one_of_each = Run("turns", {"game": Play("hlhl")})
    assert counts(tmp_path / "a", one_of_each) == (20 + 40 + 40 + 40, 80)
    assert counts(tmp_path / "b", shared("hlhl")) == (140, 80)
    # Each step's model takes over, and reads the turn before the last one anew.
    assert counts(tmp_path / "c", shared("hlhl", reread=1)) == (140, 20 + 40 + 40 + 40)
    assert counts(tmp_path / "d", shared("hhll", reread=1)) == (20 + 20 + 60 + 20, 20 + 20 + 40 + 20)
    other_size = {"high": CARDS["high"], "low": replace(CARDS["low"], parameters=90)}
    assert counts(tmp_path / "e", Run("turns", {"game": Play("hlhl")}, cards=other_size)) == (140, None)


def test_calls_that_read_only_or_go_on_are_counted_as_the_ledger_does(tmp_path: Path) -> None:
    folder = write(tmp_path, "relay", "l")
    (episode,) = read_episodes(folder)
    (low,) = episode.steps[0].calls
    reads = msgspec.structs.replace(low, decoded_tokens=0, content_tokens=0, logprobs=[], entropies=[], margins=[])
    high = msgspec.structs.replace(low, model="high", prompt_tokens=TURN + 40)
    again = msgspec.structs.replace(low, prompt_tokens=TURN + 50)
    step = msgspec.structs.replace(episode.steps[0], calls=[reads, low, high, again])
    rewritten = msgspec.structs.replace(episode, steps=[step])
    (folder / EPISODES).write_bytes(msgspec.json.encode(rewritten) + b"\n")
    (found,) = count_switches([folder])
    # low reads the prompt once, high what is there of the answer, low the part of it from its last whole block on.
    assert found.own_cache_prefill_tokens == TURN + (TURN + 40) + 50
    assert found.one_cache_prefill_tokens == TURN + 40 + (50 - 32)


def test_published_entries_are_recounted_as_they_were_played() -> None:
    entries = Path(__file__).parents[3] / "results/entries"
    found = count_switches(folder for folder in find_runs(entries) if "webshop" in folder.name)
    assert found
    for one in found:
        assert one.own_cache_prefill_tokens == one.prefill_tokens
