"""The audit: honest entries pass; answers that the models did not give are found, whatever stands beside them."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.engine.asked import questions_of
from harness.pool import load_pool, open_backend
from harness.traces.evidence import read_evidence
from harness.traces.store import find_runs, read_episodes
from harness.verify.audit import Audit, audit_entries, drawn
from harness.verify.pools import Pools
from mixroute import GivenAnswer, SupportsScoring, open_task
from tests.command import mixroute
from tests.examples import examples
from tests.harness.verify.cheats import reward
from tests.harness.verify.editing import Entry, copy_inline, named_anew, read, write
from tests.harness.verify.writer import of_router, play, save_pool

ALL, SEED = 3, "drawn afterwards"


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache folder for scores and completions of these models, which are of no use to others."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIXROUTE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory, writer_pool: Path) -> list[Path]:
    """Two entries whose answers were drawn, by different seeds."""
    return find_runs(
        play(tmp_path_factory.mktemp("sampled"), writer_pool, ["always-low"], temperature=1.0, seeds=[0, 1])
    )


def audit(folder: Path, pools: Pools, **settings: Any) -> Audit:
    (found,) = audit_entries([folder], ALL, SEED, pools=pools, **settings)
    return found


def edited(honest: Path, folder: Path, edit: Callable[[Entry], None]) -> Path:
    """A copy of an entry, edited."""
    copy_inline(honest, folder)
    entry = read(folder)
    edit(entry)
    write(entry, folder)
    return folder


def calls_of(entry: Entry) -> list[dict[str, Any]]:
    return [call for episode in entry["episodes"] for step in episode["steps"] for call in step["calls"]]


def test_honest_entries_are_audited_and_what_fails_before_is_not(
    writer_entries: Path, writer_pool: Path, tmp_path: Path
) -> None:
    shutil.copytree(writer_entries, tmp_path / "entries")
    edited(of_router(writer_entries, "random"), tmp_path / "entries" / "forged", reward)
    asked = ("--audit", "2", "--seed", SEED, "--evidence", "evidence", "--json", "verdicts.json")
    done = mixroute("verify", "entries", "--pool", writer_pool, *asked, cwd=tmp_path, code=1)
    assert done.stdout.count("audited: 2 episodes") == 4
    records = list(read_evidence(tmp_path / "evidence").audits.values())
    assert {(one.seed, one.episodes, one.status, one.asked_again) for one in records} == {(SEED, 2, "ok", 0)}
    assert [one.entry for one in records] == [folder.name for folder in find_runs(writer_entries)]
    assert all(one.calls >= 6 and 0 <= one.largest_gap < 1e-3 for one in records)
    verdicts = {one["entry"]: one for one in json.loads((tmp_path / "verdicts.json").read_text())}
    assert verdicts["forged"]["audit"] is None
    assert verdicts["forged"]["findings"][-1]["details"] == ["not audited: it failed a check above"]


def test_an_audit_goes_on_where_it_was_stopped(writer_entries: Path, writer_pools: Pools) -> None:
    folders = find_runs(writer_entries)
    done: list[Audit] = []

    def stop(audit: Audit) -> None:
        done.append(audit)
        if len(done) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        audit_entries(folders, ALL, SEED, pools=writer_pools, done=stop)
    known = {one.record.digest: one.record for one in done if one.record}
    again: list[Audit] = []
    found = audit_entries(folders, ALL, SEED, pools=writer_pools, known=known, done=again.append)
    assert sorted(one.folder for one in [*done, *again]) == folders
    assert [one.record and one.record.entry for one in found] == [folder.name for folder in folders]
    known = {one.record.digest: one.record for one in found if one.record}
    # Now that all is known, no model is needed.
    assert [one.result.status for one in audit_entries(folders, ALL, SEED, known=known)] == ["ok"] * 4
    assert {one.result.status for one in audit_entries(folders, ALL, "another", known=known)} == {"unchecked"}
    fewer = {digest: msgspec.structs.replace(record, episodes=ALL - 1) for digest, record in known.items()}
    assert {one.result.status for one in audit_entries(folders, ALL, SEED, known=fewer)} == {"unchecked"}
    # A run of three games has no fourth.
    assert {one.result.status for one in audit_entries(folders, ALL + 1, SEED, known=known)} == {"ok"}


def test_a_record_says_nothing_of_an_entry_that_was_changed_afterwards(
    writer_entries: Path, writer_pools: Pools, tmp_path: Path
) -> None:
    folder = edited(of_router(writer_entries, "always-low"), tmp_path / "entry", lambda entry: None)
    first = audit(folder, writer_pools)
    assert first.record is not None
    known = {first.record.digest: first.record}
    assert audit(folder, {}, known=known).record is first.record
    entry = read(folder)
    forge_statistics(entry)
    write(entry, folder)
    second = audit(folder, writer_pools, known=known)
    assert second.record is not None
    assert (second.result.status, second.record.status) == ("failed", "failed")
    # A failed one stays so.
    third = audit(folder, {}, known={second.record.digest: second.record})
    assert third.result.status == "failed"


def forge_statistics(entry: Entry) -> None:
    for call in calls_of(entry):
        call["logprobs"][0] -= 0.01


def forge_one_margin(entry: Entry) -> None:
    calls_of(entry)[-1]["margins"][-1] += 0.002


def forge_the_answer(entry: Entry) -> None:
    """Another text under the statistics of the model's own."""
    call = calls_of(entry)[0]
    call["text"] = call["text"][::-1] if call["text"] != call["text"][::-1] else "h" * len(call["text"])


def forge_the_end(entry: Entry) -> None:
    """The model is said to have ended where it went on."""
    call = next(call for call in calls_of(entry) if call["content_tokens"] > 4)
    call["text"], call["finish"], call["content_tokens"], call["decoded_tokens"] = call["text"][:3], "stop", 3, 4
    for name in ("logprobs", "entropies", "margins"):
        call[name] = call[name][:4]


def forge_the_count(entry: Entry) -> None:
    """Fewer tokens than the text has."""
    call = next(call for call in calls_of(entry) if call["content_tokens"] > 4)
    call["content_tokens"] -= 2
    call["decoded_tokens"] -= 2
    for name in ("logprobs", "entropies", "margins"):
        call[name] = call[name][2:]


def play_high_and_say_low(entry: Entry) -> None:
    """The kind that pays: high's answers, with high's own statistics, at low's cost."""
    entry["run"]["router"] = entry["run"]["label"] = entry["run"]["config"]["router"] = "always-low"
    for episode in entry["episodes"]:
        for step in episode["steps"]:
            step["model"] = "low"
            for call in step["calls"]:
                call["model"] = "low"
    named_anew(entry)


@pytest.mark.parametrize(
    ("router", "forge", "says"),
    [
        ("always-low", forge_statistics, "has logprob"),
        ("always-low", forge_one_margin, "has margin"),
        ("always-low", forge_the_answer, "the model answers"),
        ("always-low", forge_the_end, "the model answers"),
        ("always-low", forge_the_count, "the model writes"),
        ("always-high", play_high_and_say_low, "the model answers"),
        ("token-entropy", forge_statistics, "has logprob"),
        ("token-entropy", forge_the_answer, "the model answers"),
    ],
)
def test_a_forged_answer_is_found(
    writer_entries: Path, writer_pools: Pools, tmp_path: Path, router: str, forge: Callable[[Entry], None], says: str
) -> None:
    found = audit(edited(of_router(writer_entries, router), tmp_path / "entry", forge), writer_pools)
    assert found.result.status == "failed"
    assert found.record is not None
    assert found.record.status == "failed"
    assert says in found.result.details[0]


def test_answers_that_were_drawn_are_drawn_again(sampled: list[Path], writer_pools: Pools, tmp_path: Path) -> None:
    first, second = sampled
    assert audit(first, writer_pools).result.status == "ok"

    def prefer_another(entry: Entry) -> None:
        """An answer to the same question, with its true statistics, that another seed has drawn."""
        calls_of(entry)[0].update(calls_of(read(second))[0])

    found = audit(edited(first, tmp_path / "entry", prefer_another), writer_pools)
    assert found.result.status == "failed"
    assert "the model answers" in found.result.details[0]


def test_a_text_that_the_model_does_not_prefer_is_found_whatever_stands_beside_it(
    writer_entries: Path, writer_pools: Pools, tmp_path: Path
) -> None:
    """A text with its true statistics, which the model would not have written."""

    def other_text(entry: Entry) -> None:
        call = calls_of(entry)[0]
        call["text"] = "h" * call["content_tokens"]
        call.update(true_statistics(of_router(writer_entries, "always-low"), call["text"], writer_pools))

    found = audit(edited(of_router(writer_entries, "always-low"), tmp_path / "entry", other_text), writer_pools)
    assert found.result.status == "failed"
    assert found.record is not None
    assert found.record.asked_again == 1
    assert found.record.largest_gap < 1e-3


def true_statistics(folder: Path, text: str, pools: Pools) -> dict[str, list[float]]:
    """What low says of a text in place of the first answer of an entry, up to the end token."""
    task = open_task("alfworld-gen", split="test", step_cap=3)
    first = next(questions_of(next(read_episodes(folder)), task, None, ["high", "low"], 0.0))[0]
    low = open_backend("low", pools["writer"].models["low"], deterministic=True)
    assert isinstance(low, SupportsScoring)
    given_answer = GivenAnswer(text, len(text), len(text), "length")
    (scored,) = asyncio.run(low.score([(first.request, given_answer)]))
    low.close()
    assert scored is not None
    names = {"logprobs": "logprob", "entropies": "entropy", "margins": "margin"}
    return {key: [getattr(one.token, name) for one in scored] for key, name in names.items()}


def test_texts_in_other_tokens_than_the_tokenizers_are_asked_again(tmp_path: Path) -> None:
    pool = save_pool(tmp_path, merged=True)
    pools = {"writer": load_pool(str(pool))}
    honest = of_router(play(tmp_path, pool, ["always-low"]), "always-low")
    passed = audit(honest, pools)
    assert passed.record is not None
    assert passed.record.status == "ok"
    assert passed.record.asked_again == passed.record.calls > 0

    def fewest_tokens(entry: Entry) -> None:
        """The tokenizer's split is half as long, and costs half."""
        for call in calls_of(entry):
            if call["content_tokens"] % 2 == 0 and call["finish"] == "length":
                call["content_tokens"] //= 2
                call["decoded_tokens"] //= 2
                for name in ("logprobs", "entropies", "margins"):
                    call[name] = call[name][::2]

    found = audit(edited(honest, tmp_path / "entry", fewest_tokens), pools)
    assert found.result.status == "failed"
    assert "the model writes" in found.result.details[0]


def test_calls_that_nobody_can_ask_again_leave_an_entry_unchecked(
    writer_entries: Path, writer_pools: Pools, tmp_path: Path
) -> None:
    """The router is not here to say what its calls went on from; those that went on from nothing are known."""

    def no_such_router(entry: Entry) -> None:
        entry["run"]["router"] = entry["run"]["config"]["router"] = "not-installed"
        named_anew(entry)

    def forged_too(entry: Entry) -> None:
        no_such_router(entry)
        forge_the_answer(entry)

    honest = of_router(writer_entries, "token-entropy")
    found = audit(edited(honest, tmp_path / "honest", no_such_router), writer_pools)
    assert (found.result.status, found.record) == ("unchecked", None)
    assert "calls go on from text that the trace does not hold" in found.result.details[0]
    found = audit(edited(honest, tmp_path / "forged", forged_too), writer_pools)
    assert found.result.status == "failed"


def test_what_cannot_be_audited_says_why(writer_entries: Path, writer_pools: Pools, tmp_path: Path) -> None:
    honest = of_router(writer_entries, "always-low")
    missing = audit(honest, {})
    assert (missing.result.status, missing.record) == ("unchecked", None)
    assert missing.result.details == ["not audited: pool 'writer' is not shipped: give its file with --pool"]

    def other_weights(entry: Entry) -> None:
        entry["run"]["models"]["low"]["fingerprint"] = "0" * 64
        named_anew(entry)

    other = audit(edited(honest, tmp_path / "entry", other_weights), writer_pools)
    assert (other.result.status, other.record) == ("unchecked", None)
    assert "model 'low' has fingerprint" in other.result.details[0]
    # What low is does not matter where it is not called.
    without_low = edited(of_router(writer_entries, "always-high"), tmp_path / "high", other_weights)
    assert audit(without_low, writer_pools).result.status == "ok"


def test_an_entry_of_the_commit_that_is_the_seed_is_not_audited(
    writer_entries: Path, writer_pools: Pools, tmp_path: Path
) -> None:
    """Whoever made it could know which episodes are drawn."""

    def same_commit(entry: Entry) -> None:
        entry["run"]["provenance"]["git"] = {"commit": SEED, "dirty": False}

    found = audit(edited(of_router(writer_entries, "always-low"), tmp_path / "entry", same_commit), writer_pools)
    assert (found.result.status, found.record) == ("unchecked", None)
    assert "could know it: give --seed" in found.result.details[0]


@examples(0.3)
@given(
    instances=st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=30, unique=True),
    count=st.integers(1, 12),
    seed=st.text(max_size=8),
    order=st.randoms(),
)
def test_a_seed_draws_the_same_instances_whatever_else_an_entry_has(
    instances: list[str], count: int, seed: str, order: Any
) -> None:
    chosen = drawn(instances, count, seed)
    assert len(set(chosen)) == len(chosen) == min(count, len(instances))
    shuffled = order.sample(instances, len(instances))
    assert drawn(shuffled, count, seed) == chosen
    # Of fewer instances that hold all of these, it draws the same.
    assert drawn([one for one in shuffled if one in chosen or order.random() < 0.5], count, seed) == chosen


def test_another_seed_draws_other_instances() -> None:
    instances = [f"game {number}" for number in range(100)]
    assert len({tuple(drawn(instances, 8, f"seed {number}")) for number in range(20)}) == 20
