"""One question, one answer: what entries were told must agree, and the odd one out is named."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.numbers import round_significant
from harness.traces.store import find_runs
from harness.verify.answers import Answer, contradiction, same_digits
from harness.verify.entries import verify_entries
from harness.verify.pools import Pools, with_its_tokenizers
from harness.verify.questions import NAME, compare_answers
from harness.verify.report import TRUSTED, CheckResult
from tests.examples import examples
from tests.harness.verify.editing import Entry, copy_inline, read, write
from tests.harness.verify.writer import of_router

Edit = Callable[[Entry], None]


@pytest.fixture
def folder(writer_entries: Path, tmp_path: Path) -> Path:
    """Entries to edit: always-low, and two others that ask low the first question of each game."""
    honest = read(of_router(writer_entries, "always-low"))
    for name in ("first", "second", "third"):
        (tmp_path / name).mkdir()
        write(honest, tmp_path / name)
    return tmp_path


def edit(folder: Path, change: Edit) -> None:
    entry = read(folder)
    change(entry)
    write(entry, folder)


def found(folder: Path, *names: str) -> list[CheckResult]:
    checks, _ = compare_answers([folder / name for name in names])
    return [check.result() for check in checks.values()]


def first_call(entry: Entry) -> dict[str, Any]:
    call: dict[str, Any] = entry["episodes"][0]["steps"][0]["calls"][0]
    return call


def other_text(entry: Entry) -> None:
    first_call(entry)["text"] = "h" * len(first_call(entry)["text"])


def other_statistic(entry: Entry) -> None:
    first_call(entry)["entropies"][2] *= 1.0003


def last_digit(entry: Entry) -> None:
    """One unit of the fifth digit, which rounding may turn."""
    first_call(entry)["entropies"][2] = round(first_call(entry)["entropies"][2] + 1e-4, 4)


def other_machine(entry: Entry) -> None:
    entry["run"]["provenance"]["hardware"]["cpu"] = "another"


def other_digits_of_another_machine(entry: Entry) -> None:
    other_machine(entry)
    first_call(entry)["entropies"][2] += 8e-4


def other_statistic_of_another_machine(entry: Entry) -> None:
    other_machine(entry)
    first_call(entry)["entropies"][2] += 2e-3


def shorter_limit(entry: Entry) -> None:
    """The answer is cut earlier, and its beginning is the same."""
    call = first_call(entry)
    call["content_tokens"] = call["decoded_tokens"] = 5
    call["text"], call["finish"] = call["text"][:5], "length"
    for name in ("logprobs", "entropies", "margins"):
        call[name] = call[name][:5]


def other_beginning(entry: Entry) -> None:
    shorter_limit(entry)
    first_call(entry)["text"] = "hhhhh"


def fewer_tokens(entry: Entry) -> None:
    """The same text, in fewer tokens than it has, as if it had been cut."""
    call = first_call(entry)
    call["content_tokens"], call["decoded_tokens"] = 1, 2
    for name in ("logprobs", "entropies", "margins"):
        call[name] = call[name][:2]


def shorter_prompt(entry: Entry) -> None:
    first_call(entry)["prompt_tokens"] = 1


def other_question(entry: Entry) -> None:
    entry["episodes"][0]["steps"][0]["observation"] += " It is dark."
    other_text(entry)


def other_weights(entry: Entry) -> None:
    entry["run"]["models"]["low"]["fingerprint"] = "0" * 64
    other_text(entry)


def other_protocol(entry: Entry) -> None:
    entry["run"]["protocol"]["prompt_hash"] = "0" * 64
    other_text(entry)


def drawn_at_random(entry: Entry) -> None:
    entry["run"]["config"]["temperature"] = 1.0
    other_text(entry)


def in_batches_that_round(entry: Entry) -> None:
    entry["run"]["config"]["mode"] = "throughput"
    other_text(entry)


def test_honest_entries_agree_wherever_they_ask_the_same(writer_entries: Path) -> None:
    checks, counts = compare_answers(find_runs(writer_entries))
    assert {check.result().status for check in checks.values()} == {"ok"}
    assert counts.contradicted == 0
    assert counts.shared >= 3
    # The parts that token-entropy had written after others were not compared.
    assert 0 < counts.left_out < counts.calls


def test_no_number_of_entries_outvotes_one_that_is_believed_more(folder: Path) -> None:
    for name in ("first", "second"):
        edit(folder / name, other_text)
    checks, _ = compare_answers(find_runs(folder), {folder / "third": TRUSTED})
    assert [check.failed for check in checks.values()] == [True, True, False]


def test_a_quantized_pool_has_the_tokenizers_of_the_one_it_was_made_of() -> None:
    assert with_its_tokenizers("ladder-gptq-w4") == ["ladder-gptq-w4", "ladder"]
    assert with_its_tokenizers("smollm2") == ["smollm2"]


def test_entries_that_are_verified_together_are_compared(
    writer_entries: Path, writer_pools: Pools, tmp_path: Path
) -> None:
    folders = [tmp_path / router for router in ("always-low", "token-entropy")]
    for folder in folders:
        copy_inline(of_router(writer_entries, folder.name), folder)
    edit(folders[0], other_text)
    verdicts = verify_entries(folders, pools=writer_pools)
    found = [next(one.status for one in verdict.results if one.check == NAME) for verdict in verdicts]
    assert found == ["failed", "ok"]  # the first fails other checks, too, so that its word counts less


@pytest.mark.parametrize(
    "change",
    [other_text, other_statistic, other_statistic_of_another_machine, other_beginning, fewer_tokens, shorter_prompt],
)
def test_an_answer_that_contradicts_another_is_found(folder: Path, change: Edit) -> None:
    edit(folder / "second", change)
    first, second, third = found(folder, "first", "second", "third")
    assert (first.status, third.status) == ("ok", "ok")
    assert (second.status, second.problems) == ("failed", 1)
    assert "2 entries agree on another answer, first, third" in second.details[0]
    # Of two, nobody can tell which one is forged.
    for result, other in zip(found(folder, "first", "second"), ("second", "first"), strict=True):
        assert result.status == "failed"
        assert f"the same question is answered otherwise in {other}" in result.details[0]


@pytest.mark.parametrize(
    "change",
    [
        last_digit, other_machine, other_digits_of_another_machine, shorter_limit, other_question, other_weights,
        other_protocol, drawn_at_random, in_batches_that_round,
    ],
)  # fmt: skip
def test_answers_that_may_both_be_the_models_are_left_alone(folder: Path, change: Edit) -> None:
    edit(folder / "second", change)
    assert [result.status for result in found(folder, "first", "second", "third")] == ["ok"] * 3


def test_forgers_who_agree_outvote_nobody_in_silence(folder: Path) -> None:
    """Two forged entries against one honest one: all three cannot be right, and it is said."""
    for name in ("second", "third"):
        edit(folder / name, other_text)
    statuses = [result.status for result in found(folder, "first", "second", "third")]
    assert "failed" in statuses


def test_no_number_of_new_entries_outvotes_a_trusted_one(folder: Path) -> None:
    names = ("first", "second", "third")
    for name in names[1:]:
        edit(folder / name, other_text)
    checks, _ = compare_answers([folder / name for name in names], {folder / "first": TRUSTED})
    assert [checks[folder / name].failed for name in names] == [False, True, True]


def test_an_entry_that_contradicts_itself_is_found(folder: Path) -> None:
    """Two games of one entry that begin alike are one question."""

    def same_game_twice(entry: Entry) -> None:
        entry["episodes"][1] = copy.deepcopy(entry["episodes"][0])
        entry["episodes"][1]["instance"] = entry["run"]["instances"][1]
        other_text(entry)

    edit(folder / "second", same_game_twice)
    (alone,) = found(folder, "second")
    assert alone.status == "failed"


def test_two_machines_may_part_at_a_tie(folder: Path) -> None:
    def tie(entry: Entry) -> None:
        first_call(entry)["margins"][2] = 2e-4

    def part_after_it(entry: Entry) -> None:
        other_machine(entry)
        tie(entry)
        call = first_call(entry)
        call["text"] = call["text"][:2] + "h" * (len(call["text"]) - 2)
        call["entropies"][3:] = [value / 2 for value in call["entropies"][3:]]

    edit(folder / "first", tie)
    edit(folder / "second", part_after_it)
    assert [result.status for result in found(folder, "first", "second")] == ["ok", "ok"]
    edit(
        folder / "second", lambda entry: entry["run"]["provenance"].update(read(folder / "first")["run"]["provenance"])
    )
    assert [result.status for result in found(folder, "first", "second")] == ["failed", "failed"]


def test_an_entry_that_cannot_be_read_is_another_checks_matter(folder: Path) -> None:
    (folder / "second" / "run.json").write_text("{")
    edit(folder / "third", other_text)
    assert [result.status for result in found(folder, "first", "second", "third")] == ["failed", "ok", "failed"]


@examples(0.5)
@given(st.floats(-1e4, 1e4, allow_nan=False), st.integers(-3, 3))
def test_the_same_digits_differ_by_one_unit_of_the_fifth_at_most(number: float, units: int) -> None:
    rounded = round_significant(number)
    if rounded == 0:
        assert same_digits(rounded, 0.0)
        return
    digits, exponent = f"{abs(rounded):.4e}".split("e")
    mantissa = round(float(digits) * 1e4) + units
    other = float(f"{mantissa}e{int(exponent) - 4}") * (1 if rounded > 0 else -1)
    assert same_digits(rounded, other) == same_digits(other, rounded)
    if 10_000 <= mantissa < 100_000:
        assert same_digits(rounded, other) == (abs(units) <= 1)


def answer_of(machine: str, text: str, finish: str, start: float) -> Answer:
    values = [start + 0.01 * place for place in range(len(text))]
    return Answer(machine, text, finish, len(text), 7, (values, values, values))


ANSWERS = st.builds(
    answer_of,
    st.sampled_from(["here", "there"]),
    st.text(alphabet="ab\ufffd", max_size=4),
    st.sampled_from(["stop", "length"]),
    st.sampled_from([0.1, 0.1004, 0.2]),
)


@examples(0.5)
@given(ANSWERS, ANSWERS)
def test_a_contradiction_is_mutual_and_no_answer_contradicts_itself(one: Answer, other: Answer) -> None:
    assert bool(contradiction(one, other)) == bool(contradiction(other, one))
    assert not contradiction(one, one)
