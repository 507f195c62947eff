"""The files of plug-ins: modules beside a router's file, and checkpoints that change."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import mixroute
from harness.sources import helpers_of
from harness.traces.store import find_runs, read_episodes, read_meta
from mixroute import Completion, Instance, MixrouteError, RouterEntry, Step, StepRouter, Suite
from tests.harness.engine.plugged import Low, suite_of
from tests.scripted import Corridor, Walk

ROUTER = """
from mixroute import StepRouter
{imports}
class Mine(StepRouter):
    def choose(self, step):
        {late}
        return CHOICE
"""


@pytest.fixture(autouse=True)
def modules() -> Iterator[None]:
    """Modules that a test imports are forgotten."""
    before, path = dict(sys.modules), list(sys.path)
    yield
    assert sys.path == path
    for name in set(sys.modules) - set(before):
        if getattr(sys.modules[name], "__file__", None) and "pytest" in str(sys.modules[name].__file__):
            del sys.modules[name]


def write(folder: Path, imports: str = "from choices import CHOICE", late: str = "pass", choice: str = "low") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mine.py").write_text(ROUTER.format(imports=imports, late=late))
    (folder / "choices.py").write_text(f"CHOICE = {choice!r}\n")
    return folder / "mine.py"


def run(folder: Path, router: Path, suite: Suite) -> dict[str, set[str]]:
    """The models that answered, by the hash of the run."""
    entries = [RouterEntry(router=f"{router}:Mine", label="mine")]
    mixroute.run(suite, folder / "runs", routers=entries)
    return {
        read_meta(one).hash: {step.model for episode in read_episodes(one) for step in episode.steps}
        for one in find_runs(folder / "runs")
    }


@pytest.mark.parametrize(
    ("imports", "late"),
    [
        ("from choices import CHOICE", "pass"),
        ("import choices; CHOICE = choices.CHOICE", "pass"),
        ("", "from choices import CHOICE"),
        ("import inner.deep; CHOICE = inner.deep.CHOICE", "pass"),
        ("from inner import deep; CHOICE = deep.CHOICE", "pass"),
        ("from between import CHOICE", "pass"),
    ],
)
def test_a_module_beside_the_file_is_imported_and_counts(tmp_path: Path, imports: str, late: str) -> None:
    file, suite = write(tmp_path / "a", imports, late), suite_of(tmp_path)
    (tmp_path / "a/inner").mkdir()
    (tmp_path / "a/inner/__init__.py").write_text("")
    (tmp_path / "a/inner/deep.py").write_text("from .more import CHOICE")
    (tmp_path / "a/inner/more.py").write_text("from choices import CHOICE")
    (tmp_path / "a/between.py").write_text("from choices import CHOICE")
    assert list(run(tmp_path, file, suite).values()) == [{"low"}]
    (tmp_path / "a/unused.py").write_text("CHOICE = 'high'")
    assert list(run(tmp_path, file, suite).values()) == [{"low"}]
    (tmp_path / "a/choices.py").write_text("CHOICE = 'high'")
    assert sorted(map(sorted, run(tmp_path, file, suite).values())) == [["high"], ["low"]]


def test_an_edit_of_the_same_size_in_the_same_second_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    text = "CHOICE = ['low', 'high'][{}]"
    file, suite = write(tmp_path / "a"), suite_of(tmp_path)
    for number in (0, 1):
        (tmp_path / "a/choices.py").write_text(text.format(number))
        os.utime(tmp_path / "a/choices.py", (1e9, 1e9))
        found = run(tmp_path, file, suite)
    assert sorted(map(sorted, found.values())) == [["high"], ["low"]]


def test_a_file_alone_counts_as_before(tmp_path: Path) -> None:
    file, suite = write(tmp_path / "a", "CHOICE = 'low'"), suite_of(tmp_path)
    run(tmp_path, file, suite)
    (folder,) = find_runs(tmp_path / "runs")
    assert read_meta(folder).content == {"router": hashlib.sha256(file.read_bytes()).hexdigest()}


@pytest.mark.parametrize("late", ["pass", "from choices import CHOICE"], ids=["top", "late"])
def test_two_files_each_have_their_own_module(tmp_path: Path, late: str) -> None:
    first = write(tmp_path / "a", late=late, choice="low")
    second = write(tmp_path / "b", choice="high")
    routers = [RouterEntry(router=f"{file}:Mine", label=file.parent.name) for file in (first, second)]
    mixroute.run(suite_of(tmp_path / "suite"), tmp_path / "runs", routers=routers)
    chosen = {
        read_meta(one).label: {step.model for episode in read_episodes(one) for step in episode.steps}
        for one in find_runs(tmp_path / "runs")
    }
    assert chosen == {"a": {"low"}, "b": {"high"}}


def test_a_late_import_of_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a"), write(tmp_path / "b", late="from choices import CHOICE", choice="high")
    mixroute.open_router(f"{first}:Mine")
    with pytest.raises(MixrouteError, match="imports 'choices' within a function, and another module of this name"):
        mixroute.open_router(f"{second}:Mine")


def test_a_module_beside_the_file_does_not_hide_the_standard_library(tmp_path: Path) -> None:
    file = write(tmp_path / "a", "import random, json; CHOICE = 'low'")
    (tmp_path / "a/random.py").write_text("raise ValueError")
    (tmp_path / "a/tasks.py").write_text("raise ValueError")
    assert mixroute.open_router(f"{file}:Mine")


def test_a_module_beside_the_file_that_fails_is_named(tmp_path: Path) -> None:
    file = write(tmp_path / "a")
    (tmp_path / "a/choices.py").write_text("raise SystemExit(0)")
    with pytest.raises(MixrouteError, match="mine.py fails on import: SystemExit: 0"):
        mixroute.open_router(f"{file}:Mine")


class Reads(StepRouter):
    """Takes its choice from files."""

    def __init__(self, net: Any, spare: Any = None) -> None:
        first = net[0] if isinstance(net, list) else net["a"] if isinstance(net, dict) else net
        self._choice = Path(first).read_text()

    def choose(self, step: Step) -> str:
        return self._choice


class Stops(Corridor):
    """Its second game fails until a file is there."""

    where: Path

    def open(self, instance: Instance) -> Walk:
        class Fails(Walk):
            def step(walk, action: str) -> Any:
                if instance.id.endswith("1") and not self.where.exists():
                    raise OSError("not yet")
                return super().step(action)

        return Fails(3)


@pytest.mark.parametrize("form", ["text", "path", "list", "mapping", "default"])
def test_a_checkpoint_that_was_trained_anew_makes_another_run(tmp_path: Path, form: str) -> None:
    net = tmp_path / "net.txt"
    net.write_text("low")
    forms: dict[str, Any] = {"text": str(net), "path": net, "list": [str(net)], "mapping": {"a": str(net)}}
    arguments = {"net": forms[form]} if form != "default" else {}
    router = type("Default", (Reads,), {"__init__": lambda self, net=str(net): Reads.__init__(self, net)})
    task = type("Stops", (Stops,), {"where": tmp_path / "there"})
    suite = suite_of(tmp_path, Reads if arguments else router, task)
    entries = [suite.routers[0].model_copy(update={"args": arguments})]
    mixroute.run(suite, tmp_path / "runs", routers=entries)
    net.write_text("high")
    (tmp_path / "there").touch()
    mixroute.run(suite, tmp_path / "runs", routers=entries)
    models = [
        {step.model for episode in read_episodes(one) for step in episode.steps} for one in find_runs(tmp_path / "runs")
    ]
    assert sorted(map(sorted, models)) == [["high"], ["low"]]


def test_a_checkpoint_that_changes_while_it_is_played_is_refused(tmp_path: Path) -> None:
    net = tmp_path / "net.txt"
    net.write_text("low")

    class Trains(Low):
        def __init__(self, net: str = str(net)) -> None:
            pass

        async def act(self, step: Step) -> Completion:
            net.write_text("high")
            return await super().act(step)

    with pytest.raises(MixrouteError, match="the files of router_args.net have changed"):
        mixroute.run(suite_of(tmp_path, Trains), tmp_path / "runs")


def test_text_that_is_no_path_is_left_alone(tmp_path: Path) -> None:
    class Takes(Low):
        def __init__(self, a: str = "/", b: str = "x" * 5000 + "/", c: str = "/dev/null") -> None:
            pass

    mixroute.run(suite_of(tmp_path, Takes), tmp_path / "runs")
    (folder,) = find_runs(tmp_path / "runs")
    assert read_meta(folder).content == {}


@pytest.mark.parametrize("label", ["ж" * 200, "\N{HOT PEPPER}" * 100, "a" * 300, "…/../x", "a@b!c"], ids=ascii)
def test_any_label_names_a_folder_that_can_be_read(tmp_path: Path, label: str) -> None:
    suite = suite_of(tmp_path)
    mixroute.run(suite, tmp_path / "runs", routers=[RouterEntry(router="always-low", label=label)])
    (folder,) = find_runs(tmp_path / "runs")
    assert read_meta(folder).label == label
    assert len(folder.name.encode()) <= 240


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("caf\u00e9", "cafe\u0301"),
        ("mine", "mi\u200bne"),
        ("mine", "mine\ufeff"),
        ("a b", "a\u00a0b"),
        ("mine", "mine\u3164"),
        ("mine", "mine\ufe0f"),
        ("mine", "mine"),
    ],
    ids=ascii,
)
def test_labels_that_look_alike_are_refused(tmp_path: Path, one: str, other: str) -> None:
    entries = [RouterEntry(router="always-low", label=one), RouterEntry(router="always-high", label=other)]
    with pytest.raises(MixrouteError, match="label"):
        mixroute.run(suite_of(tmp_path), tmp_path / "runs", routers=entries)
    assert not (tmp_path / "runs").exists()


def test_imports_are_found_in_a_file_with_deep_expressions(tmp_path: Path) -> None:
    file = write(tmp_path, f"from choices import CHOICE\nDEEP = {'+'.join(['1'] * 2000)}")
    assert list(helpers_of(file)) == ["choices"]


@pytest.mark.parametrize("router", [None, {}])
def test_a_run_that_does_not_say_its_routers_source_is_named(tmp_path: Path, router: object) -> None:
    suite = suite_of(tmp_path)
    mixroute.run(suite, tmp_path / "runs")
    (folder,) = find_runs(tmp_path / "runs")
    meta = json.loads((folder / "run.json").read_text())
    meta["provenance"]["router"] = router
    (folder / "run.json").write_text(json.dumps(meta))
    (folder / "episodes.jsonl").unlink()
    with pytest.raises(MixrouteError, match=r"run.json does not say which source its router had"):
        mixroute.run(suite, tmp_path / "runs")
