"""Router ``rollback`` with real models: its two ends, and verification of its runs, as they are and edited."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.board.switches import count_switches
from harness.pool import load_pool
from harness.records import StepRecord
from harness.timing.measure import time_runs
from harness.timing.session import Settings
from harness.traces.store import find_runs, read_episodes, read_meta
from harness.verify.audit import audit_entries
from harness.verify.pools import Pools
from mixroute import MixrouteError
from tests.harness.verify.editing import Entry, copy_inline, failed, read, write
from tests.harness.verify.writer import LETTERS, play
from tests.tiny_model import save_tiny_model


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models, of which high finds the first letters of low's replies likelier than later ones."""
    folder = tmp_path_factory.mktemp("pool")
    for name, seed in (("high", 1), ("low", 9)):
        save_tiny_model(folder / name, seed, letters=LETTERS)
    models = {name: {"weights": str(folder / name)} for name in ("high", "low")}
    path = folder / "pool.yaml"
    path.write_text(yaml.safe_dump({"schema": 1, "name": "writer", "models": models}))
    return path


@pytest.fixture(scope="module")
def given(pool: Path) -> Pools:
    return {"writer": load_pool(str(pool))}


def rollback(threshold: float) -> dict[str, Any]:
    return {"router": "rollback", "label": f"rollback {threshold:g}", "args": {"threshold": threshold}}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, pool: Path) -> Callable[[str], Path]:
    """Plays a scaffold once and gives the folder; its entries are in ``entries``, its runs in ``runs``."""
    played: dict[str, Path] = {}

    def of(scaffold: str) -> Path:
        if scaffold not in played:
            folder = played[scaffold] = tmp_path_factory.mktemp("played")
            file = pool
            if scaffold == ONE_CACHE:
                file = folder / "pool.yaml"
                models = {name: {"weights": str(pool.parent / name)} for name in ("high", "low")}
                shared = {"kv_cache": {"shared": ["high", "low"]}}
                file.write_text(yaml.safe_dump({"schema": 1, "name": "writer", "models": models, **shared}))
            name = scaffold.split(",", maxsplit=1)[0]
            tasks = [{"task": "alfworld-gen", "split": "test", "limit": 2, "scaffold": name, "args": {"step_cap": 3}}]
            routers = ["always-high", "always-low", *map(rollback, (0.0, 5.0, 1e6))]
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("MIXROUTE_CACHE", str(folder / "cache"))
                play(folder, file, routers, tasks=tasks)
        return played[scaffold]

    return of


ONE_CACHE = "compact, one cache"


def by_label(folder: Path) -> dict[str, Path]:
    return {read_meta(one).label: one for one in find_runs(folder)}


@pytest.fixture(params=["compact", "think", ONE_CACHE])
def entries(runs: Callable[[str], Path], request: pytest.FixtureRequest) -> dict[str, Path]:
    """Entries by label."""
    return by_label(runs(request.param) / "entries")


def steps(entry: Path) -> list[StepRecord]:
    return [step for episode in read_episodes(entry) for step in episode.steps]


def test_between_low_and_high(entries: dict[str, Path]) -> None:
    assert all(step.model == "low" and not step.kept for step in steps(entries["rollback 1e+06"]))
    assert all(step.model == ("high" if step.calls[0].text else "low") for step in steps(entries["rollback 0"]))
    cut = [step for step in steps(entries["rollback 5"]) if step.kept]
    assert cut
    for step in cut:
        assert step.model == "mixed"
        kept = step.calls[step.parts[0]]
        assert step.text.startswith(kept.text[: kept.token_ends[step.kept[0] - 1]])
        assert not step.text.startswith(kept.text)


@pytest.mark.parametrize("scaffold", ["compact", "think"])
def test_at_its_ends_it_plays_as_one_model_alone(runs: Callable[[str], Path], scaffold: str) -> None:
    found = by_label(runs(scaffold) / "entries")
    texts = {label: [step.text for step in steps(entry)] for label, entry in found.items()}
    assert texts["rollback 0"] == texts["always-high"] != texts["always-low"] == texts["rollback 1e+06"]


def test_verification_takes_its_decisions_again(entries: dict[str, Path], given: Pools) -> None:
    for entry in entries.values():
        assert failed(entry, given) == set()


def test_what_is_read_is_recounted_from_the_order_of_calls(runs: Callable[[str], Path]) -> None:
    for scaffold in ("compact", ONE_CACHE):
        for one in count_switches(list(by_label(runs(scaffold) / "runs").values())):
            counted = one.one_cache_prefill_tokens if one.shares else one.own_cache_prefill_tokens
            assert counted == one.prefill_tokens


def test_its_calls_can_be_timed(runs: Callable[[str], Path], tmp_path: Path) -> None:
    """The models read and write as many tokens as they did, those of replies that are read included."""
    shutil.copytree(runs("think") / "runs", tmp_path / "runs")
    done: list[str] = []
    time_runs(tmp_path / "runs", Settings(2, 2, 1, 0, []), done.append)
    assert len(done) == 5


def test_an_audit_lets_the_model_read_again(
    runs: Callable[[str], Path], given: Pools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIXROUTE_CACHE", str(tmp_path / "cache"))
    entry = by_label(runs("compact") / "entries")["rollback 1e+06"]
    copy_inline(entry, tmp_path / "forged")
    edited = read(tmp_path / "forged")
    next(call["read"] for call in calls_of(edited) if call.get("read"))["logprobs"][0] -= 0.1
    write(edited, tmp_path / "forged")
    honest, forged = audit_entries([entry, tmp_path / "forged"], 2, "drawn afterwards", pools=given)
    assert honest.record is not None
    calls = [call for step in steps(entry) for call in step.calls]
    assert (honest.result.status, honest.record.calls) == ("ok", len(calls))
    assert honest.record.asked_again >= sum(call.read is not None for call in calls) > 0
    assert forged.result.status == "failed"
    assert "of the reply that it read has logprob" in forged.result.details[0]


ROUTING, WHOLE = "the router decides as the trace says", "calls are whole and within bounds"
TOKENS = "tokens in the ledger are those of the prompts and texts"


def calls_of(entry: Entry) -> list[dict[str, Any]]:
    return [call for episode in entry["episodes"] for step in episode["steps"] for call in step["calls"]]


def a_reading(entry: Entry, *, kept: bool = True) -> dict[str, Any]:
    """A call that read a reply, of a step that keeps a beginning of it, or of one that keeps all or none."""
    return next(
        call
        for episode in entry["episodes"]
        for step in episode["steps"]
        for call in step["calls"]
        if bool(step.get("kept")) == kept and call.get("read")
    )


def likelier(entry: Entry) -> None:
    read = a_reading(entry)["read"]
    read["logprobs"] = [-0.001] * len(read["logprobs"])


def less_likely(entry: Entry) -> None:
    a_reading(entry)["read"]["logprobs"][0] = -9.0


def fewer_tokens(entry: Entry) -> None:
    read = a_reading(entry)["read"]
    for name in ("logprobs", "entropies", "margins", "ends"):
        read[name] = read[name][:-1]


def a_better_distribution(entry: Entry) -> None:
    a_reading(entry)["read"]["entropies"][0] = -3.0


def other_ends(entry: Entry) -> None:
    read = a_reading(entry)["read"]
    read["ends"][0] = read["ends"][1]


def other_ends_that_change_nothing(entry: Entry) -> None:
    read = a_reading(entry, kept=False)["read"]
    read["ends"][0] = read["ends"][1]


def cheaper(entry: Entry) -> None:
    a_reading(entry)["cached_tokens"] += 1


def kept_more(entry: Entry) -> None:
    step = next(step for episode in entry["episodes"] for step in episode["steps"] if step.get("kept"))
    step["kept"][0] += 1


def not_read(entry: Entry) -> None:
    a_reading(entry)["read"] = None


@pytest.fixture
def entry_5(runs: Callable[[str], Path]) -> Path:
    return by_label(runs("compact") / "entries")["rollback 5"]


@pytest.mark.parametrize(
    ("edit", "found"),
    [
        (likelier, ROUTING),
        (less_likely, ROUTING),
        (fewer_tokens, TOKENS),
        (a_better_distribution, WHOLE),
        (other_ends, ROUTING),
        (other_ends_that_change_nothing, ROUTING),
        (cheaper, TOKENS),
        (kept_more, WHOLE),
        (not_read, ROUTING),
    ],
)
def test_verification_finds_what_was_edited(
    entry_5: Path, given: Pools, tmp_path: Path, edit: Callable[[Entry], None], found: str
) -> None:
    copy_inline(entry_5, tmp_path / "forged")
    entry = read(tmp_path / "forged")
    edit(entry)
    write(entry, tmp_path / "forged")
    assert found in failed(tmp_path / "forged", given)


def shorter(read: dict[str, Any]) -> None:
    read["margins"].pop()


def backwards(read: dict[str, Any]) -> None:
    read["ends"].reverse()


def no_number(read: dict[str, Any]) -> None:
    read["entropies"][0] = float("nan")


@pytest.mark.parametrize("damage", [shorter, backwards, no_number, dict.clear])
def test_statistics_of_other_tokens_are_not_read(
    entry_5: Path, tmp_path: Path, damage: Callable[[dict[str, Any]], None]
) -> None:
    copy_inline(entry_5, tmp_path / "forged")
    entry = read(tmp_path / "forged")
    damage(a_reading(entry)["read"])
    write(entry, tmp_path / "forged")
    with pytest.raises(MixrouteError):
        list(read_episodes(tmp_path / "forged"))
