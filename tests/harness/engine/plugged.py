"""Plays plug-ins of a test through ``mixroute.run``, on scripted models."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import yaml

import mixroute
from harness.records import Episode
from harness.traces.pack import pack_run
from harness.traces.store import find_runs, read_episodes
from mixroute import RouterEntry, Step, StepRouter, Suite, TaskEntry, register_backend, register_router, register_task
from tests.scripted import Corridor, ScriptedModel

_numbers = count()


class Low(StepRouter):
    def choose(self, step: Step) -> str:
        return "low"


class Scripted(ScriptedModel):
    def __init__(self, name: str, spec: object, *, deterministic: bool) -> None:
        super().__init__(name)


def suite_of(
    folder: Path,
    router: type[Any] = Low,
    task: type[Any] = Corridor,
    backend: type[Any] = Scripted,
    **changes: Any,
) -> Suite:
    """A suite of one run of these classes, with four instances."""
    name = f"test-plugged-{next(_numbers)}"
    register_router(name)(router)
    register_task(name)(task)
    register_backend(name)(backend)
    folder.mkdir(parents=True, exist_ok=True)
    models = {model: {"backend": name, "weights": "none"} for model in ("high", "low")}
    (folder / "pool.yaml").write_text(yaml.safe_dump({"schema": 1, "name": "scripted", "models": models}))
    return Suite(
        schema=1,
        name="plugged",
        pool=str(folder / "pool.yaml"),
        tasks=[TaskEntry(task=name, split="test", limit=None)],
        routers=[RouterEntry(router=name, label="mine")],
        **changes,
    )


def played(folder: Path, *classes: type[Any], **options: Any) -> dict[str, Episode]:
    """The episodes of such a suite by instance, as they are read again, with numbers computed and an entry packed."""
    suite = suite_of(folder, *classes, **options)
    mixroute.run(suite, folder / "runs")
    return reread(folder)


def reread(folder: Path) -> dict[str, Episode]:
    """The episodes of the run below ``folder``, with numbers computed and an entry packed."""
    (run,) = find_runs(folder / "runs")
    episodes = {episode.instance: episode for episode in read_episodes(run)}
    mixroute.load_results(folder / "runs").episodes()
    packed = pack_run(run, folder / "entries")
    assert len(list(read_episodes(packed))) == len(episodes)
    return episodes
