"""A worker: an actor of Ray that holds a pool's models and plays instances of one run after another.

It imports nothing of Ray: the driver makes an actor of the class. All methods are coroutines on the actor's loop, which
thus answers while models load and episodes are played; these run on threads.
"""

from __future__ import annotations

import asyncio
import os
import platform
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from importlib import import_module
from typing import Any, TypeVar

import msgspec

from harness.contracts import Router
from harness.data import Instance
from harness.engine.answering import Play
from harness.engine.answers import protocol_of
from harness.engine.cluster.messages import (
    Answer,
    Played,
    PromptToCheck,
    RunMessage,
    Setting,
    WorkerInfo,
    check_same_files,
    entries_of,
    suite_of,
)
from harness.engine.executor import LocalExecutor, LocalPlayers
from harness.engine.identity import content_of
from harness.engine.loop import run_to_end
from harness.engine.opening import OpenTask
from harness.engine.rollout import play_following
from harness.errors import MixrouteError, RunStopped
from harness.files import is_file_name
from harness.guard import call_plugin, described
from harness.plugins import open_router, open_task
from harness.pool import load_pool
from harness.provenance import kind_of, provenance
from harness.records import Episode, EpisodeTiming
from harness.registry import routers
from harness.suite import Suite, TaskEntry
from harness.text import one_line, quoted

T = TypeVar("T")


class Worker:
    """Plays instances for a driver.

    Args:
        setting: A ``Setting``.
    """

    def __init__(self, setting: bytes) -> None:
        self._setting = msgspec.json.decode(setting, type=Setting)
        self._info: asyncio.Task[bytes] | None = None
        self._loaded: _Loaded | None = None
        self._begun = asyncio.Lock()
        self._run: _Run | None = None
        self._tokens = 0

    async def info(self) -> bytes:
        """Load the models, if that is not done, and tell of them; an ``Answer`` with a ``WorkerInfo``."""
        if self._info is None:
            self._info = asyncio.create_task(_answer(self._load))
        return await self._info

    def _load(self) -> WorkerInfo:
        self._loaded = _Loaded(self._setting)
        told = provenance()
        where = f"{platform.node()}, process {os.getpid()}"
        return WorkerInfo(where, kind_of(told), told, self._loaded.players.cards())

    async def prompt_notes(self, shown: bytes) -> bytes:
        """An ``Answer`` with what the models do to a task's prompts, of which they look at one, a ``PromptToCheck``."""
        message = msgspec.json.decode(shown, type=PromptToCheck)
        entry = TaskEntry.model_validate(message.task)
        return await _answer(lambda: self._ready.players.prompt_notes(self._ready.task(entry).of(message.instance)))

    async def play(self, run: bytes, instance: str) -> bytes:
        """Play an instance; an ``Answer`` with a ``Played``.

        Args:
            run: A ``RunMessage``; if it is another than that of the call before, the run before is over.
            instance: Id of the instance.
        """
        message = msgspec.json.decode(run, type=RunMessage)
        try:
            async with self._begun:
                if self._run is None or self._run.hash != message.run:
                    if self._run is not None:
                        self._run.end()
                    self._run = await asyncio.to_thread(self._begin, message)
            episode, timing = await asyncio.wrap_future(self._run.play(instance))
        except MixrouteError as error:
            return _refusal(error)
        return _result(Played(episode, timing, self._tokens))

    async def tokens(self) -> int:
        """Tokens that were decoded so far. That it answers shows that the worker is alive."""
        return self._tokens

    def _begin(self, message: RunMessage) -> _Run:
        return _Run(message, self._ready, self._count)

    def _count(self, tokens: int) -> None:
        self._tokens += tokens

    @property
    def _ready(self) -> _Loaded:
        if self._loaded is None:
            raise MixrouteError("the worker has not loaded its models: this is an error in mixroute; report it")
        return self._loaded


class _Loaded:
    """A pool's models, and what was opened to play with them."""

    def __init__(self, setting: Setting) -> None:
        try:
            os.chdir(setting.folder)
        except OSError as error:
            raise MixrouteError(
                f"the folder {setting.folder} of the driver cannot be entered ({error.strerror}): start the run in a "
                "folder that all nodes see under one path"
            ) from error
        self.suite: Suite = suite_of(setting)
        self._stack = ExitStack()  # open until the process ends
        self.pool = load_pool(self.suite.pool)
        opened = LocalExecutor().open(self.suite, self.pool, reuse=setting.reuse)
        self.players: LocalPlayers = self._stack.enter_context(opened)
        self._tasks: dict[str, _Task] = {}
        self._routers: dict[str, Router] = {}

    def task(self, entry: TaskEntry) -> _Task:
        """A task, opened once."""
        key = entry.model_dump_json()
        if key not in self._tasks:
            self._tasks[key] = _Task(entry)
        return self._tasks[key]

    def router(self, name: str, arguments: dict[str, Any]) -> Router:
        """A router; the same object for the same arguments."""
        key = repr((name, arguments))
        if key not in self._routers:
            self._routers[key] = open_router(name, **arguments)
        return self._routers[key]


class _Task:
    """A task with all instances of its split."""

    def __init__(self, entry: TaskEntry) -> None:
        self.entry = entry
        self.task = open_task(entry.task, split=entry.split, **entry.args)
        who = f"task '{entry.task}'"
        self._instances = call_plugin(who, "instances", lambda: {one.id: one for one in self.task.instances()})

    def of(self, instance: str) -> OpenTask:
        """The task with one of its instances.

        Raises:
            MixrouteError: there is none of this name.
        """
        if instance not in self._instances:
            raise MixrouteError(
                f"task '{self.entry.task}' has no instance {quoted(instance)} here: give every node the same data"
            )
        return OpenTask(self.entry, self.task, [self._instances[instance]])


class _Run:
    """A run in play, on a thread with an event loop of its own."""

    def __init__(self, message: RunMessage, loaded: _Loaded, decoded: Callable[[int], None]) -> None:
        self.hash = message.run
        self._decoded = decoded
        task, entry = entries_of(message)
        _import_registered(entry.router, message.module)
        self._task, router = loaded.task(task), loaded.router(entry.router, {**entry.args, **message.fitted})
        check_same_files(message, protocol_of(task.task, self._task.task), content_of(task, entry, router), router)
        suite, models, sharing = loaded.suite, loaded.players.models, loaded.pool.kv_cache
        self._play = Play.of_suite(suite, message.run, message.seed, self._task.task, router, models, sharing)
        self._concurrency = suite.concurrency
        self._asked: dict[str, Future[tuple[Episode, EpisodeTiming]]] = {}
        self._failure: MixrouteError | None = None
        self._lock = threading.Lock()
        started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Queue[Instance | None]]] = Future()
        threading.Thread(target=self._play_all, args=(started,), name="mixroute-run", daemon=True).start()
        self._loop, self._waiting = started.result()

    def play(self, instance: str) -> Future[tuple[Episode, EpisodeTiming]]:
        """Play an instance.

        Raises:
            MixrouteError: there is no such instance, or the run was stopped.
        """
        (one,) = self._task.of(instance).instances
        with self._lock:
            if self._failure is not None:
                raise self._failure
            future = self._asked[instance] = Future()
        self._loop.call_soon_threadsafe(self._waiting.put_nowait, one)
        return future

    def end(self) -> None:
        """End the run, once what is in play is finished."""
        for _ in range(self._concurrency):
            self._loop.call_soon_threadsafe(self._waiting.put_nowait, None)

    def call_finished(self, tokens: int) -> None:
        """Count tokens."""
        self._decoded(tokens)

    def episode_finished(self, episode: Episode, timing: EpisodeTiming) -> None:
        """Hand an episode to who asked for it."""
        with self._lock:
            future = self._asked.pop(episode.instance)
        future.set_result((episode, timing))

    def _play_all(self, started: Future[Any]) -> None:
        async def play() -> None:
            waiting: asyncio.Queue[Instance | None] = asyncio.Queue()
            started.set_result((asyncio.get_running_loop(), waiting))
            await play_following(self._play, waiting.get, self._concurrency, self)

        failure: MixrouteError = RunStopped("the run is over")
        try:
            run_to_end(play())
        except MixrouteError as error:
            failure = error
        except BaseException as error:
            failure = RunStopped(one_line(described(error)))
        with self._lock:
            self._failure = failure
            left = list(self._asked.values())
        for future in left:
            future.set_exception(failure)


def _import_registered(router: str, module: str) -> None:
    """Import the module of a router that a decorator registers, as the driver has; opening it says if that failed."""
    if router not in routers.names() and not is_file_name(router):
        with suppress(ImportError):
            import_module(module)


async def _answer(ask: Callable[[], Any]) -> bytes:
    """The answer to a question, which is asked on a thread."""
    try:
        return _result(await asyncio.to_thread(ask))
    except MixrouteError as error:
        return _refusal(error)


def _result(value: object) -> bytes:
    return msgspec.json.encode(Answer(msgspec.Raw(msgspec.json.encode(value))))


def _refusal(error: MixrouteError) -> bytes:
    return msgspec.json.encode(Answer(error=f"worker at {platform.node()}: {error}"))
