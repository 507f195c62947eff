"""Runs whose models share a key-value cache: identity, resumption, verification, and pools that cannot share."""

from __future__ import annotations

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
from harness.suite import Suite
from harness.traces.pack import pack_run
from harness.traces.store import EPISODES, find_runs, read_episodes, read_meta
from harness.verify.entries import verify_entries
from harness.verify.questions import compare_answers
from mixroute import MixrouteError, Pool, Step, register_router
from tests.harness.verify.editing import copy_inline, failed, named_anew, read, write
from tests.harness.verify.writer import save_pool as save_writer_pool

ROUTERS: list[Any] = [
    "always-high",
    "always-low",
    {"router": "random", "args": {"p": 0.5}},
    "agreement-oracle",
    "test-both-at-once",
    "test-reads-first",
]


@register_router("test-both-at-once")
class BothAtOnce:
    """Asks both models at the same time, and takes the answer of either in turn."""

    granularity = "step"

    async def act(self, step: Step) -> Any:
        import asyncio

        both = await asyncio.gather(step.ask("high"), step.ask("low"))
        return both[step.index % 2]


@register_router("test-reads-first")
class ReadsFirst:
    """Lets low read every prompt, and asks either model."""

    granularity = "step"

    async def act(self, step: Step) -> Any:
        await step.read("low")
        return await step.ask("high" if step.rng.random() < 0.5 else "low")


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


def play(folder: Path, pool: Path, routers: list[Any], *, reuse: bool = True, **changes: Any) -> list[Path]:
    suite = Suite(
        schema=1,
        name="shared",
        pool=str(pool),
        tasks=[{"task": "alfworld-gen", "split": "test", "limit": 3, "args": {"step_cap": 4}}],
        routers=routers,
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


@pytest.mark.parametrize("pool", ["one", "anew"])
def test_a_run_is_the_same_whatever_the_concurrency_and_after_interruptions(
    played: dict[str, list[Path]], pools: dict[str, Path], tmp_path: Path, pool: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = traces(played[pool])
    assert traces(play(tmp_path / "many", pools[pool], ROUTERS, reuse=False, concurrency=4)) == expected
    monkeypatch.setenv("MIXROUTE_CACHE", str(tmp_path / "cache"))
    kept = play(tmp_path / "kept", pools[pool], ROUTERS, concurrency=4)  # fills the completion cache, and reads it
    assert traces(kept) == expected
    for folder in kept:  # an interrupted run has some of its lines, in the order in which episodes ended
        lines = (folder / EPISODES).read_bytes().splitlines(keepends=True)
        (folder / EPISODES).write_bytes(lines[-1] + lines[0][: len(lines[0]) // 2])
    assert traces(play(tmp_path / "kept", pools[pool], ROUTERS, concurrency=2)) == expected
    assert traces(play(tmp_path / "again", pools[pool], ROUTERS, concurrency=1)) == expected


def test_caches_that_are_dropped_change_no_run(
    played: dict[str, list[Path]], pools: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.backends.transformers.GIB", 0, raising=False)
    monkeypatch.setattr("harness.backends.session_caches.SessionCaches.make_room", _drops_all)
    assert traces(play(tmp_path, pools["one"], ROUTERS, reuse=False, concurrency=3)) == traces(played["one"])


def _drops_all(caches: Any, session: str, running: set[str]) -> bool:
    """Drop every idle session before any call, that of the call too."""
    for idle in [key for key in caches._caches if key not in running]:
        del caches._caches[idle]
    return True


def test_what_is_read_is_less_with_one_cache_and_answers_differ(played: dict[str, list[Path]]) -> None:
    found = {name: {one.label: one for one in count_switches(folders)} for name, folders in played.items()}
    for label in found["own"]:
        own, one, anew = (found[name][label] for name in ("own", "one", "anew"))
        for counted in (own, one, anew):
            exact = counted.one_cache_prefill_tokens if counted.shares else counted.own_cache_prefill_tokens
            assert exact == counted.prefill_tokens  # recounted from the order of the calls alone
        if label.startswith("always"):
            assert own.prefill_tokens == one.prefill_tokens == anew.prefill_tokens
    random = "random(p=0.5)"
    tokens = [found[name][random].prefill_tokens for name in ("one", "anew", "own")]
    assert tokens == sorted(set(tokens))
    assert found["own"][random].one_cache_prefill_tokens != found["own"][random].prefill_tokens
    answers = {name: [episode.steps for episode in read_episodes(folders[2])] for name, folders in played.items()}
    assert answers["own"] != answers["one"]
    always = {name: [episode.steps for episode in read_episodes(folders[0])] for name, folders in played.items()}
    assert always["own"] == always["one"] == always["anew"]


@pytest.fixture(scope="module")
def entries(tmp_path_factory: pytest.TempPathFactory, played: dict[str, list[Path]]) -> Path:
    """Entries of the shipped routers, with own caches and with one."""
    folder = tmp_path_factory.mktemp("entries")
    for name in ("own", "one", "anew"):
        for run in played[name][:4]:
            pack_run(run, folder)
    return folder


def test_verification_recounts_what_is_cached(entries: Path, pools: dict[str, Path], tmp_path: Path) -> None:
    given = {"writer": load_pool(str(pools["own"]))}  # of which the tokenizers are taken: run.json says who shares
    folders = find_runs(entries)
    for verdict in verify_entries(folders, pools=given):
        assert verdict.status == "ok", verdict
    for folder in folders:
        meta = read_meta(folder)
        if meta.router != "random":
            continue
        copy_inline(folder, tmp_path / meta.hash)
        entry = read(tmp_path / meta.hash)
        if "kv_cache" in meta.config:
            del entry["run"]["config"]["kv_cache"]
        else:
            entry["run"]["config"]["kv_cache"] = {"shared": ["high", "low"], "reread": 0}
        named_anew(entry)
        write(entry, tmp_path / meta.hash)
        assert failed(tmp_path / meta.hash, given) == {"tokens in the ledger are those of the prompts and texts"}
    entry["run"]["config"]["kv_cache"] = {"shared": ["high", "nobody"], "reread": 0}
    named_anew(entry)
    write(entry, tmp_path / meta.hash)
    assert "name and hashes are those of the content" in failed(tmp_path / meta.hash, given)


def test_answers_are_compared_where_the_same_models_have_read(entries: Path, played: dict[str, list[Path]]) -> None:
    checks, counts = compare_answers(find_runs(entries))
    assert not counts.contradicted
    assert all(check.result().status == "ok" for check in checks.values())
    assert counts.shared
    # Without the readers, answers of runs with own caches and with one would contradict.
    mixed = [played["own"][2], played["one"][2]]
    _, apart = compare_answers(mixed)
    assert not apart.contradicted


def test_runs_that_only_read_are_verified_too(played: dict[str, list[Path]], pools: dict[str, Path]) -> None:
    given = {"writer": load_pool(str(pools["own"]))}
    for name in ("own", "one", "anew"):
        for folder in played[name][4:]:
            assert not failed(folder, given, own=True) - {"the files are whole and can be read"}


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
