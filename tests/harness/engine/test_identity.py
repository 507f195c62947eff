"""Identity of runs: content and normal form count, spelling and place do not."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from harness.engine.identity import content_of, run_config, run_hash
from harness.engine.runner import SuiteRunner
from harness.pool import ModelSpec, Pool
from harness.records import RunMeta, by_content
from harness.sharing import SharedCache
from harness.suite import RouterEntry, Suite, TaskEntry
from mixroute import MixrouteError, StepRouter, open_router, register_router, register_task
from routers.dmr.checkpoint import SHIPPED
from tasks.reasoning.arith import ArithGenTask

ROUTER = "from mixroute import StepRouter\nclass Mine(StepRouter):\n    def choose(self, step): return 'low'\n"
ARITH = {"task": "arith-gen", "split": "test", "limit": 1}


@register_router("test-reads-a-file")
class ReadsAFile(StepRouter):
    def __init__(self, table: str | Path, k: float = 2.0) -> None:
        self.table = Path(table).read_text()

    def choose(self, step: object) -> str:
        return "low"


@register_task("test-elsewhere")
class Elsewhere(ArithGenTask):
    location_arguments = ("where",)

    def __init__(self, where: str = "here", split: str = "test", data: int = 3) -> None:
        super().__init__(split)


def hashes(
    task: dict[str, Any],
    router: dict[str, Any],
    pool: str = "p",
    kv_cache: SharedCache | None = None,
    **changes: Any,
) -> tuple[str, str]:
    """Hash and group of a run that is not played."""
    content = {"schema": 1, "name": "s", "pool": "not-opened", "tasks": [task], "routers": [router]}
    suite = Suite.model_validate(content | changes)
    entry, asked = suite.tasks[0], suite.routers[0]
    models = {"high": ModelSpec(weights="nowhere"), "low": ModelSpec(weights="nowhere")}
    opened = Pool(schema=1, name=pool, models=models, kv_cache=kv_cache)
    config = run_config(suite, opened, entry, asked, 0)
    files = content_of(entry, asked, open_router(asked.router, **asked.args))
    return run_hash(config, {}, {}, {}, files)


def test_arguments_are_taken_with_their_defaults_and_types() -> None:
    plain = hashes(ARITH, {"router": "random"})
    assert plain == hashes({**ARITH, "args": {"max_tokens": 256, "prompt": "compact"}}, {"router": "random"})
    assert plain == hashes(ARITH, {"router": "random", "args": {"p": 0.5}})
    assert plain != hashes(ARITH, {"router": "random", "args": {"p": 0.25}})
    one, also_one = ({"router": "random", "args": {"p": p}} for p in (1, 1.0))
    assert hashes(ARITH, one) == hashes(ARITH, also_one)
    assert plain[1] != hashes({**ARITH, "args": {"max_tokens": 255}}, {"router": "random"})[1]


def test_a_limit_makes_another_run_of_the_same_group() -> None:
    one, two = (hashes({**ARITH, "limit": limit}, {"router": "random"}) for limit in (1, 2))
    assert one[1] == two[1]
    assert one[0] != two[0]


@pytest.mark.parametrize("changes", [{"pool": "q"}, {"temperature": 0.5}, {"mode": "throughput"}], ids=str)
def test_pool_temperature_and_mode_make_another_group(changes: dict[str, Any]) -> None:
    assert hashes(ARITH, {"router": "random"})[1] != hashes(ARITH, {"router": "random"}, **changes)[1]


def test_a_shared_cache_makes_another_group_whatever_the_order_of_its_models() -> None:
    router = {"router": "random"}
    plain, *shared = (
        hashes(ARITH, router, kv_cache=sharing)
        for sharing in (None, *(SharedCache(shared=names) for names in (["high", "low"], ["low", "high"])))
    )
    anew = hashes(ARITH, router, kv_cache=SharedCache(shared=["high", "low"], reread=1))
    assert shared[0] == shared[1]
    assert len({plain, shared[0], anew}) == len({plain[1], shared[0][1], anew[1]}) == 3


def test_where_data_lies_does_not_count() -> None:
    task = {"task": "test-elsewhere", "split": "test"}
    here = hashes(task, {"router": "random"})
    assert here == hashes({**task, "args": {"where": "there"}}, {"router": "random"})
    assert here[1] != hashes({**task, "args": {"data": 4}}, {"router": "random"})[1]


def test_files_count_by_their_content_alone(tmp_path: Path) -> None:
    def table(name: str, text: str) -> dict[str, Any]:
        (tmp_path / name).write_text(text)
        return {"router": "test-reads-a-file", "args": {"table": str(tmp_path / name)}}

    first, again, other = table("a.txt", "x"), table("b.txt", "x"), table("c.txt", "y")
    assert hashes(ARITH, first) == hashes(ARITH, again)
    assert hashes(ARITH, first)[0] != hashes(ARITH, other)[0]


def test_a_router_in_a_file_counts_by_its_class_and_source(tmp_path: Path) -> None:
    def router(folder: str, source: str) -> dict[str, Any]:
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(source)
        return {"router": f"{tmp_path / folder / 'mine.py'}:Mine"}

    first, moved, edited = router("a", ROUTER), router("b", ROUTER), router("c", ROUTER.replace("low", "high"))
    assert hashes(ARITH, first) == hashes(ARITH, moved)
    assert hashes(ARITH, first)[0] != hashes(ARITH, edited)[0]
    assert hashes(ARITH, first)[1] == hashes(ARITH, edited)[1]


def test_a_shipped_checkpoint_counts_by_its_content(tmp_path: Path) -> None:
    name = "alfworld-kl-sft-k10"
    for folder in ("copy", "changed"):
        shutil.copytree(SHIPPED / name, tmp_path / folder)
    with (tmp_path / "changed/card.json").open("a") as card:
        card.write("\n")
    shipped, copy, changed = (
        hashes(ARITH, {"router": "kl-sft", "args": {"checkpoint": str(place)}})
        for place in (name, tmp_path / "copy", tmp_path / "changed")
    )
    assert shipped == copy
    assert shipped[0] != changed[0]


def test_unknown_arguments_and_files_are_errors_that_name_them() -> None:
    with pytest.raises(MixrouteError, match="p = 'much'"):
        hashes(ARITH, {"router": "random", "args": {"p": "much"}})


def test_content_of_a_forged_shape_is_still_hashed() -> None:
    assert by_content({"pool": "p"}, {"pool.x": "1", "y.z": "2"}) == {
        "pool": {"x": {"sha256": "1"}},
        "y": {"z": {"sha256": "2"}},
    }


def test_the_same_pool_and_router_by_other_paths_are_the_same_run(tmp_path: Path, tiny_pool: Path) -> None:
    shutil.copy(tiny_pool, tmp_path / "renamed.yaml")
    (tmp_path / "mine.py").write_text(ROUTER)
    (tmp_path / "away").mkdir()
    shutil.copy(tmp_path / "mine.py", tmp_path / "away")

    def play(pool: Path, router: Path, limit: int) -> RunMeta:
        suite = Suite(
            schema=1,
            name="s",
            pool=str(pool),
            tasks=[TaskEntry(task="arith-gen", split="train", limit=limit, args={"problems": 2, "max_tokens": 4})],
            routers=[RouterEntry(router=f"{router}:Mine")],
        )
        (run,) = SuiteRunner(suite, tmp_path / "runs", Console(quiet=True)).run()
        return run.meta

    first = play(tiny_pool, tmp_path / "mine.py", 2)
    again = play(tmp_path / "renamed.yaml", tmp_path / "away/mine.py", 100)  # there are two problems
    assert (first.hash, first.group, first.id) == (again.hash, again.group, again.id)
    assert (first.config["pool"], first.router, first.label, first.limit) == (
        "tiny",
        "mine.py:Mine",
        "mine.py:Mine",
        None,
    )
    assert first.provenance["pool_file"] == str(tiny_pool)
    assert set(first.content) == {"router"}
    assert len([path for path in (tmp_path / "runs").iterdir() if path.is_dir()]) == 1
