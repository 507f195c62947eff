"""Runs whose models share a key-value cache: identity, resumption, verification, and pools that cannot share."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from harness.board.switches import count_switches
from harness.engine.opening import open_models
from harness.engine.runner import SuiteRunner
from harness.pool import load_pool, save_pool
from harness.suite import RouterEntry, Suite, TaskEntry
from harness.traces.pack import pack_run
from harness.traces.store import EPISODES, read_episodes, read_meta
from harness.verify.audit import audit_entries
from harness.verify.entry import ROUTING
from harness.verify.pools import Pools
from harness.verify.questions import compare_answers
from mixroute import Completion, MixrouteError, Pool, Step, join, register_router
from tests.harness.verify.editing import copy_inline, failed, named_anew, read, write
from tests.harness.verify.writer import save_pool as save_writer_pool

FEW = 4
"""Most tokens of an answer, so that the runs are short."""


@register_router("test-high")
class High:
    """Asks high at every step."""

    granularity = "step"

    async def act(self, step: Step) -> Completion:
        return await step.ask("high", max_tokens=FEW)


@register_router("test-turns")
class Turns:
    """Asks the models in turn, in every way: alone, both at once, within an answer."""

    granularity = "step"

    async def act(self, step: Step) -> Completion:
        first, second = step.rng.sample(["high", "low"], 2)
        way = step.index % 4
        if way == 1:
            both = await asyncio.gather(*(step.ask(model, max_tokens=FEW) for model in (first, second)))
            return both[0]
        if way == 3:
            begun = await step.ask(first, max_tokens=FEW)
            rest = await step.ask(second, continue_from=f"as was said before: {begun.text}", max_tokens=FEW)
            return join([begun, rest])
        return await step.ask(first, max_tokens=FEW)


@register_router("test-reads-first")
class ReadsFirst:
    """Lets low read every prompt, and asks either model."""

    granularity = "step"

    async def act(self, step: Step) -> Completion:
        await step.read("low")
        return await step.ask("high" if step.rng.random() < 0.5 else "low")


ROUTERS = ["test-high", "test-turns", "test-reads-first"]


@pytest.fixture(scope="module")
def pools(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Pool files of the same two models: with own caches, with one, and with one that is read anew."""
    folder = tmp_path_factory.mktemp("pools")
    own = save_writer_pool(folder)
    found = {"own": own}
    for name, stated in (("one", {}), ("anew", {"reread": 1})):
        content = yaml.safe_load(own.read_text()) | {"kv_cache": {"shared": ["low", "high"], **stated}}
        found[name] = folder / f"{name}.yaml"
        found[name].write_text(yaml.safe_dump(content))
    return found


@pytest.fixture(autouse=True, scope="module")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIXROUTE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def play(folder: Path, pool: Path, routers: list[str], *, reuse: bool = True, **changes: Any) -> list[Path]:
    suite = Suite(
        schema=1,
        name="shared",
        pool=str(pool),
        tasks=[TaskEntry(task="alfworld-gen", split="test", limit=2, args={"step_cap": 4})],
        routers=[RouterEntry(router=router) for router in routers],
        **changes,
    )
    return [run.folder for run in SuiteRunner(suite, folder, Console(quiet=True), reuse=reuse).run()]


def traces(folders: list[Path]) -> list[bytes]:
    return [(folder / EPISODES).read_bytes() for folder in folders]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory, pools: dict[str, Path]) -> dict[str, list[Path]]:
    """Runs of all routers with each pool, computed anew, one episode at a time."""
    folder = tmp_path_factory.mktemp("runs")
    return {name: play(folder / name, pool, ROUTERS, reuse=False, concurrency=1) for name, pool in pools.items()}


def test_sharing_makes_another_run_and_only_where_it_is_used(played: dict[str, list[Path]]) -> None:
    metas = {name: [read_meta(folder) for folder in folders] for name, folders in played.items()}
    for own, one, anew in zip(metas["own"], metas["one"], metas["anew"], strict=True):
        assert "kv_cache" not in own.config
        assert one.config == own.config | {"kv_cache": {"shared": ["high", "low"], "reread": 0}}
        assert anew.config["kv_cache"]["reread"] == 1
        assert len({own.hash, one.hash, anew.hash}) == len({own.group, one.group, anew.group}) == 3


def test_a_run_is_the_same_with_kept_completions_and_after_interruptions(
    played: dict[str, list[Path]], pools: dict[str, Path], tmp_path: Path
) -> None:
    expected = traces(played["anew"])
    kept = play(tmp_path / "kept", pools["anew"], ROUTERS, concurrency=2)  # fills the completion cache, and reads it
    assert traces(kept) == expected
    for folder in kept:  # an interrupted run has some of its lines, in the order in which episodes ended
        lines = (folder / EPISODES).read_bytes().splitlines(keepends=True)
        (folder / EPISODES).write_bytes(lines[1] + lines[0][: len(lines[0]) // 2])
    # What is left is played with the completion cache, and without it: the models then read anew what they had read.
    assert traces(play(tmp_path / "kept", pools["anew"], ROUTERS[:2])) == expected[:2]
    assert traces(play(tmp_path / "kept", pools["anew"], ROUTERS[2:], reuse=False)) == expected[2:]


def test_caches_that_are_dropped_and_concurrency_change_no_run(
    played: dict[str, list[Path]], pools: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.backends.session_caches.SessionCaches.make_room", _drops_all)
    assert traces(play(tmp_path, pools["one"], ROUTERS, reuse=False, concurrency=2)) == traces(played["one"])


def _drops_all(caches: Any, session: str, running: set[str]) -> bool:
    """Drop every idle session before any call, that of the call too."""
    for idle in [key for key in caches._caches if key not in running]:
        del caches._caches[idle]
    return True


def test_what_is_read_is_less_with_one_cache_and_answers_differ(played: dict[str, list[Path]]) -> None:
    found = {name: {one.label: one for one in count_switches(folders)} for name, folders in played.items()}
    for label in ROUTERS:
        for name in ("own", "one", "anew"):
            one = found[name][label]
            assert one.shares == (name != "own")
            exact = one.one_cache_prefill_tokens if one.shares else one.own_cache_prefill_tokens
            assert exact == one.prefill_tokens  # recounted from the order of the calls alone
        tokens = {name: found[name][label].prefill_tokens for name in found}
        if label == "test-high":
            assert tokens["one"] == tokens["anew"] == tokens["own"]
        else:
            assert tokens["one"] < tokens["anew"]
            assert found["one"][label].own_cache_prefill_tokens is not None
            assert tokens["one"] < (found["one"][label].own_cache_prefill_tokens or 0)
    steps = {
        name: [[episode.steps for episode in read_episodes(one)] for one in folders] for name, folders in played.items()
    }
    assert steps["own"][0] == steps["one"][0] == steps["anew"][0]
    for place in (1, 2):
        assert steps["own"][place] != steps["one"][place]


@pytest.fixture(scope="module")
def given(pools: dict[str, Path]) -> Pools:
    """What verification takes the tokenizers from; who shares a cache, run.json says."""
    return {"writer": load_pool(str(pools["own"]))}


@pytest.fixture(scope="module")
def entries(tmp_path_factory: pytest.TempPathFactory, played: dict[str, list[Path]]) -> dict[str, list[Path]]:
    folder = tmp_path_factory.mktemp("entries")
    return {name: [pack_run(run, folder) for run in folders] for name, folders in played.items()}


TOKENS = "tokens in the ledger are those of the prompts and texts"


def test_verification_recounts_what_is_cached(entries: dict[str, list[Path]], given: Pools, tmp_path: Path) -> None:
    for name, folders in entries.items():
        for folder in folders:
            assert not failed(folder, given, own=True)
            copied = tmp_path / folder.name
            copy_inline(folder, copied)
            entry = read(copied)
            entry["run"]["config"].pop("kv_cache", None)
            if name == "own":
                entry["run"]["config"]["kv_cache"] = {"shared": ["high", "low"], "reread": 0}
            named_anew(entry)
            write(entry, copied)
            found = failed(copied, given, own=True)
            assert found == set() if entry["run"]["router"] == "test-high" else TOKENS in found
    entry["run"]["config"]["kv_cache"] = {"shared": ["high", "nobody"], "reread": 0}
    named_anew(entry)
    write(entry, copied)
    assert "name and hashes are those of the content" in failed(copied, given, own=True)


def test_part_of_an_answer_is_recounted(entries: dict[str, list[Path]], given: Pools, tmp_path: Path) -> None:
    """The call that goes on from what the other model wrote: one token less is cached than was."""
    for name in ("own", "one", "anew"):
        (folder,) = (one for one in entries[name] if read_meta(one).router == "test-turns")
        copied = tmp_path / name
        copy_inline(folder, copied)
        entry = read(copied)
        entry["episodes"][0]["steps"][3]["calls"][1]["cached_tokens"] -= 1
        write(entry, copied)
        assert failed(copied, given, own=True) == {ROUTING}


def test_an_audit_asks_again_in_the_order_of_the_calls(
    entries: dict[str, list[Path]], given: Pools, tmp_path: Path
) -> None:
    folder = next(one for one in entries["anew"] if read_meta(one).router == "test-turns")
    copy_inline(folder, tmp_path / "forged")
    entry = read(tmp_path / "forged")
    call = entry["episodes"][0]["steps"][2]["calls"][0]
    call["text"] = call["text"][:-1] + ("b" if call["text"].endswith("a") else "a")
    write(entry, tmp_path / "forged")
    honest, forged = audit_entries([folder, tmp_path / "forged"], 2, "drawn afterwards", pools=given)
    assert honest.record is not None
    assert (honest.result.status, honest.record.calls) == ("ok", honest.record.asked_again)
    assert honest.record.largest_gap < 1e-3
    assert forged.result.status == "failed"


def test_answers_are_compared_where_the_same_models_have_read(entries: dict[str, list[Path]]) -> None:
    checks, counts = compare_answers([folder for folders in entries.values() for folder in folders])
    assert not counts.contradicted
    assert counts.shared
    assert {check.result().status for check in checks.values()} == {"ok"}


def test_a_pool_states_models_that_it_has_and_each_once(pools: dict[str, Path], tmp_path: Path) -> None:
    content = yaml.safe_load(pools["one"].read_text())
    for shared, message in (
        (["high", "lower"], "kv_cache.shared names model 'lower'"),
        (["high"], "kv_cache.shared"),
        (["high", "high"], "names model 'high' twice"),
    ):
        path = tmp_path / "pool.yaml"
        path.write_text(yaml.safe_dump(content | {"kv_cache": {"shared": shared}}))
        with pytest.raises(MixrouteError, match=message):
            load_pool(str(path))
    one = load_pool(str(pools["one"]))
    saved = load_pool(str(save_pool(tmp_path / "saved.yaml", one.name, "", one.models, one.kv_cache)))
    assert saved.kv_cache == one.kv_cache
    assert one.with_models({"low": one.models["low"]}).kv_cache is None
    assert one.with_models({**one.models, "relay": one.models["low"]}).kv_cache == one.kv_cache


def test_a_backend_that_cannot_share_is_named(pools: dict[str, Path]) -> None:
    scripted = Path(__file__).parent / "test_shared_cache.py"
    one = load_pool(str(pools["one"]))
    low = one.models["low"].model_copy(update={"backend": f"{scripted}:NoSharing"})
    pool = Pool(**{**one.model_dump(by_alias=True), "models": {"high": one.models["high"], "low": low}})
    with (
        pytest.raises(MixrouteError, match="NoSharing' of model 'low' cannot share key-value caches"),
        open_models(pool, "deterministic", None),
    ):
        pass


class NoSharing:
    """A backend of a plug-in."""

    def __init__(self, name: str, spec: object, *, deterministic: bool) -> None:
        pass

    def close(self) -> None:
        pass
