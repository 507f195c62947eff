"""What a call is charged by a speed card."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from harness.records import CallRecord
from harness.speed.card import save_speed_card
from harness.speed.rates import Rates
from mixroute import MixrouteError
from tests.command import mixroute
from tests.harness.board.builders import CARDS, Play, Run, write_run
from tests.harness.speed.cards import speed_card


def call(prompt: int, cached: int = 0, decoded: int = 0, model: str = "high") -> CallRecord:
    return CallRecord(model, prompt, cached, decoded, decoded, "stop", False, "", [], [], [])


def seconds(concurrency: float, one: CallRecord) -> float:
    return Rates(speed_card(), concurrency, "card").seconds(one)


def test_what_was_measured_is_charged_as_measured() -> None:
    assert seconds(1, call(10)) == pytest.approx(10 * 2.0)
    assert seconds(1, call(100)) == pytest.approx(100 * 1.0)
    assert seconds(4, call(100, decoded=3)) == pytest.approx(100 * 0.5 + 3 * 5.0)
    assert seconds(4, call(100, decoded=3, model="low")) == pytest.approx((100 * 0.5 + 3 * 5.0) / 2)


def test_only_tokens_that_are_not_cached_are_read() -> None:
    assert seconds(1, call(100, cached=90)) == pytest.approx(20.0)
    assert seconds(1, call(100, cached=100)) == 0


def test_between_lengths_it_is_linear() -> None:
    assert seconds(1, call(55)) == pytest.approx((20 + 100) / 2)
    assert seconds(1, call(55, cached=55, decoded=1)) == pytest.approx((20 + 10) / 2)


def test_a_pass_costs_no_less_than_the_shortest_that_was_measured() -> None:
    assert seconds(1, call(1)) == seconds(1, call(10)) == pytest.approx(20)
    assert seconds(1, call(300)) == pytest.approx(300)


def test_between_concurrencies_it_follows_a_power_law() -> None:
    assert seconds(2, call(100)) == pytest.approx(100 * 0.5**0.5)


@given(concurrency=st.floats(1, 4), prompt=st.integers(1, 500), more=st.integers(0, 500), decoded=st.integers(0, 50))
def test_more_tokens_never_cost_less_to_read(concurrency: float, prompt: int, more: int, decoded: int) -> None:
    rates = Rates(speed_card(), concurrency, "card")
    assert rates.prefill_seconds("high", prompt) <= rates.prefill_seconds("high", prompt + more) * (1 + 1e-9)
    assert seconds(1, call(prompt, decoded=decoded)) >= seconds(4, call(prompt, decoded=decoded))


def test_a_concurrency_that_was_not_reached_is_refused() -> None:
    with pytest.raises(MixrouteError, match="concurrency 1, 4, not at 16"):
        Rates(speed_card(), 16, "card")
    with pytest.raises(MixrouteError, match="no model 'third': it has high, low"):
        seconds(1, call(10, model="third"))


def test_what_drowned_in_noise_is_not_charged() -> None:
    card = speed_card()
    noisy = structs.replace(card.cells[0].samples[0], decode=-0.1)
    cells = [structs.replace(card.cells[0], samples=[noisy]), *card.cells[1:]]
    with pytest.raises(MixrouteError, match="decode of model 'high' at 1 to 1 x 10 tokens drowned in noise"):
        Rates(structs.replace(card, cells=cells), 1, "card")
    Rates(structs.replace(card, cells=cells), 4, "card")


def test_it_says_what_was_stretched() -> None:
    rates = Rates(speed_card(), 2, "card")
    for one in (call(5), call(50), call(50), call(200)):
        rates.seconds(one)
    assert "concurrency 2 (interpolated" in rates.note()
    assert "of 4 calls 25.0% have a shorter prefill" in rates.note()
    assert "25.0% have longer prompts" in rates.note()
    assert "concurrency 4 (measured)" in Rates(speed_card(), 4, "card").note()


def test_it_says_what_computed_quantized_models() -> None:
    models = {"high": {"random": True, "details": {}}, "low": {"random": True, "details": {"arithmetic": "W4A16"}}}
    assert "(pool toy, random weights, low W4A16, mode" in Rates(speed_card(models=models), 4, "card").note()


def write_runs(folder: Path) -> None:
    """A call of these runs reads 6 tokens and writes 3, at a prompt of 10."""
    cards = {name: replace(card) for name, card in CARDS.items()}
    for router, steps in (("always-high", "hh"), ("mixed", "hl")):
        plays = {f"game {number}": Play(steps) for number in range(6)}
        write_run(folder / router, Run(router, plays, cards=cards))


def test_the_board_charges_by_a_card(tmp_path: Path) -> None:
    write_runs(tmp_path / "runs")
    save_speed_card(tmp_path / "card.json", speed_card())
    mixroute("board", "runs", "--card", "card.json", "--at", "4", cwd=tmp_path)
    rows = {row["router"]: row for row in json.loads((tmp_path / "runs/board/board.json").read_text())["rows"]}
    each = 10 * 1.0 + 3 * 10.0  # at concurrency 4: a pass of ten tokens, then three tokens
    assert rows["always-high"]["cost_absolute"]["seconds"] == pytest.approx(2 * each)
    assert rows["mixed"]["cost"]["seconds"] == pytest.approx(0.75)
    assert any("speed card card.json" in note for note in rows["mixed"]["notes"])
    mixroute("board", "runs", cwd=tmp_path)
    rows = {row["router"]: row for row in json.loads((tmp_path / "runs/board/board.json").read_text())["rows"]}
    assert rows["always-high"]["cost_absolute"]["seconds"] is None  # without a card they come from clocks alone


def test_two_routers_are_compared_in_gpu_seconds(tmp_path: Path) -> None:
    write_runs(tmp_path / "runs")
    save_speed_card(tmp_path / "card.json", speed_card())
    shown = mixroute("compare", "runs", "mixed", "always-high", "--card", "card.json", "--at", "4", cwd=tmp_path).stdout
    assert "gpu seconds" in shown
    assert "60.00 " in shown
    assert "80.00 " in shown
    assert "-20.00 " in shown
    said = mixroute("compare", "runs", "mixed", "always-high", "--card", "card.json", cwd=tmp_path, code=2).stderr
    assert "--at" in said
