"""The workers of a cluster, as the driver sees them: who loads, who can play, and who takes the place of the dead."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from harness.engine.cluster.connecting import INSTALL, Size
from harness.engine.cluster.messages import Answer, WorkerInfo
from harness.errors import MixrouteError, RunStopped
from harness.provenance import code_hash
from harness.text import one_line

T = TypeVar("T")

log = logging.getLogger(__name__)

_DEATHS = 3
"""Times that every worker may die before one has loaded its models."""
_MORE_CALLS = 8
"""Calls that a worker answers beside those of its episodes."""


class WorkerLost(Exception):
    """A worker, or its node, died or does not answer; the message says what is known of it."""


class WorkerRefused(MixrouteError):
    """A worker cannot load what it is to play with, or is not what the others are: its episodes would not be theirs."""


@dataclass(slots=True, eq=False)
class RemoteWorker:
    """A worker on some node."""

    actor: Any
    info: Any
    """What it tells once its models are loaded, as Ray refers to it."""
    name: str = "a worker"
    ready: bool = False
    tokens: int = 0
    """Tokens that it has decoded so far."""
    looked_at: bool = False
    """Whether it was asked for them and has not answered yet."""
    playing: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    """Episodes that it plays, by instance."""


class WorkerGroup:
    """Workers that load one setting.

    Args:
        actor: The class of actors.
        setting: What they load.
        size: What each takes.
        concurrency: Episodes that each plays at once.
    """

    def __init__(self, actor: type[Any], setting: bytes, size: Size, concurrency: int) -> None:
        import ray

        options = {"num_cpus": size.cpus, "num_gpus": size.gpus, "scheduling_strategy": "SPREAD"}
        # A worker that died has lost its models: another takes its place, here and not by Ray, which would let calls
        # to the dead wait for it.
        self._class = ray.remote(actor).options(**options, max_restarts=0, max_concurrency=concurrency + _MORE_CALLS)
        self._setting = setting
        self._deaths = 0
        self.size = size
        self.workers: list[RemoteWorker] = []
        self.first: WorkerInfo | None = None
        """What the first one told, which all others are measured by."""
        self.refused = 0
        """Workers that joined and were not alike."""

    def start(self, count: int) -> list[RemoteWorker]:
        """Ask the cluster for more workers, which begin to load as soon as there is room for them."""
        added = []
        for _ in range(count):
            actor = self._class.remote(self._setting)
            added.append(RemoteWorker(actor, actor.info.remote()))
        self.workers += added
        return added

    async def wait_for(self, worker: RemoteWorker) -> None:
        """Wait until a worker has loaded its models.

        Raises:
            WorkerLost: it died meanwhile.
            WorkerRefused: it cannot load them, or is not what the others are.
            RunStopped: too many have died.
        """
        try:
            answer: WorkerInfo = await answered(worker, worker.info, WorkerInfo)
        except WorkerLost as error:
            self._deaths += 1
            if self._deaths >= _DEATHS * len(self.workers):
                raise RunStopped(
                    f"{self._deaths} workers died before they had loaded their models; the last: {error}: give workers "
                    "more memory, or look into the logs of Ray on that node"
                ) from error
            raise
        except RunStopped as error:
            raise self._refusal(worker, str(error)) from error
        self._deaths = 0
        worker.name = answer.where
        if self.first is None:
            if answer.kind["code"] != code_hash():
                raise self._refusal(
                    worker,
                    f"{answer.where} runs another version of mixroute's code than this machine: install one version "
                    f"on all nodes ({INSTALL})",
                )
            self.first = answer
        elif how := answer.differs_from(self.first):
            raise self._refusal(
                worker, f"{how}: results may differ; give all workers nodes of one kind, with one version"
            )
        worker.ready = True

    def _refusal(self, worker: RemoteWorker, why: str) -> WorkerRefused:
        self.stop(worker)
        self.refused += 1
        return WorkerRefused(why)

    def stop(self, worker: RemoteWorker) -> None:
        """End a worker, whatever it does."""
        import ray
        from ray.exceptions import RayError

        worker.ready = False
        if worker in self.workers:
            self.workers.remove(worker)
        with suppress(RayError, ValueError, RuntimeError):  # the cluster, or this worker, may be gone
            ray.kill(worker.actor)

    def stop_all(self) -> None:
        """End all workers."""
        for worker in list(self.workers):
            self.stop(worker)

    async def wait_for_all(self) -> None:
        """Wait until every worker has loaded its models; others take the place of those that die.

        Raises:
            MixrouteError: as ``wait_for``.
        """
        while waiting := [worker for worker in self.workers if not worker.ready]:
            ended = await asyncio.gather(*map(self.wait_for, waiting), return_exceptions=True)
            for worker, error in zip(waiting, ended, strict=True):
                if isinstance(error, WorkerLost):
                    self.replace(worker, error)
                elif error is not None:
                    raise error

    def replace(self, worker: RemoteWorker, cause: WorkerLost) -> list[RemoteWorker]:
        """Let another worker take the place of one that is lost; none where that is done already."""
        if worker not in self.workers:
            return []
        log.warning("%s; another takes its place, and what it had not finished", cause)
        self.stop(worker)
        return self.start(1)

    async def ask(self, question: Callable[[Any], Awaitable[bytes]], kind: type[T]) -> T:
        """The result of a question to the actor of any worker.

        Raises:
            MixrouteError: as ``answered``, or as ``wait_for``.
        """
        while True:
            if not any(worker.ready for worker in self.workers):
                await self.wait_for_all()
            worker = next(one for one in self.workers if one.ready)
            try:
                return await answered(worker, question(worker.actor), kind)
            except WorkerLost as error:
                self.replace(worker, error)


async def answered(worker: RemoteWorker, asked: Awaitable[bytes], kind: type[T]) -> T:
    """The result of a question to a worker.

    Args:
        worker: Who was asked.
        asked: An ``Answer``, as Ray refers to it.
        kind: The type of the result.

    Raises:
        WorkerLost: it died.
        MixrouteError: the worker says so.
    """
    answer = msgspec.json.decode(await alive(worker, asked), type=Answer)
    if answer.error is not None:
        raise RunStopped(answer.error)
    return msgspec.json.decode(answer.result, type=kind)


async def alive(worker: RemoteWorker, asked: Awaitable[T]) -> T:
    """What Ray brings back.

    Raises:
        WorkerLost: the worker died.
        RunStopped: it failed in a way that none should.
    """
    from ray.exceptions import ActorDiedError, RayError, RayTaskError

    try:
        return await asked
    except RayTaskError as error:
        raise RunStopped(f"{worker.name} failed: {one_line(error.cause or error)}") from error
    except ActorDiedError as error:
        text = str(error)
        if "ModuleNotFoundError" in text or "ImportError" in text:
            raise RunStopped(
                f"{worker.name} cannot start ({_last_line(text)}): {INSTALL} of this version on every node"
            ) from error
        raise WorkerLost(f"{worker.name} died ({_cause(text)})") from error
    except RayError as error:
        raise WorkerLost(f"{worker.name} was lost ({one_line(error)})") from error


def _cause(text: str) -> str:
    """The part of Ray's message that says why."""
    for line in text.splitlines():
        _, found, cause = line.partition("The actor is dead because ")
        if found:
            return one_line(cause)
    return one_line(text)


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if "Error" in line]
    return one_line(lines[-1]) if lines else one_line(text)
