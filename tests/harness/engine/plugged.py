"""Plays plug-ins of a test through ``mixroute.run``, on scripted models."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import yaml

import mixroute
from harness.records import Episode
from harness.traces.pack import pack_run
from harness.traces.store import find_runs, read_episodes
from mixroute import (
    Completion,
    Instance,
    Request,
    RouterEntry,
    Step,
    StepRouter,
    Suite,
    TaskEntry,
    register_backend,
    register_router,
    register_task,
)
from tests.scripted import Corridor, ScriptedModel, Walk

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


def router_of(act: Callable[[Step], Any]) -> type[Low]:
    class Acts(Low):
        async def act(self, step: Step) -> Completion:
            answer: Completion = await act(step)
            return answer

    return Acts


def environment_of(method: str, replaced: Any, *, blocking: bool = False) -> type[Corridor]:
    class Changed(Walk):
        pass

    setattr(Changed, method, replaced)

    class Place(Corridor):
        def open(self, instance: Instance) -> Walk:
            return Changed(3)

    Place.blocking = blocking
    return Place


def backend_of(generate: Callable[[Scripted, Request, Completion], Any]) -> type[Scripted]:
    class Changed(Scripted):
        async def generate(self, request: Request) -> Completion:
            answer: Completion = generate(self, request, await super().generate(request))
            return answer

    return Changed


def check_all_failed(folder: Path, cause: str, *classes: type[Any]) -> None:
    episodes = played(folder, *classes)
    assert len(episodes) == 4
    for episode in episodes.values():
        assert episode.end == "error"
        assert cause in str(episode.error)
