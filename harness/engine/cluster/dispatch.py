"""Dispatch: the missing instances of one run are handed to the workers that are free, until all are finished.

What a lost worker had not finished is handed out again. An instance that was lost with several workers, at last alone,
is given up: its episode is an error, which names the cause.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import msgspec

from harness.data import Instance
from harness.engine.cluster.messages import Played, RunMessage
from harness.engine.cluster.workers import RemoteWorker, WorkerGroup, WorkerLost, WorkerRefused, alive, answered
from harness.engine.episode import LiveEpisode
from harness.engine.executor import RunObserver
from harness.records import Episode, EpisodeTiming

log = logging.getLogger(__name__)

LOSSES = 3
"""Workers that are lost with an instance before it is given up."""


class Dispatch:
    """Plays instances of one run.

    Args:
        group: The workers.
        run: The run.
        instances: What to play.
        concurrency: Episodes that a worker plays at once.
        observer: Gets each finished episode, on the loop's thread.
        patience: Seconds that a worker may not answer before it counts as lost.
        period: Seconds between two looks at each worker.
        wanted: The number of workers that there should be now.
    """

    def __init__(
        self,
        group: WorkerGroup,
        run: RunMessage,
        instances: Sequence[Instance],
        concurrency: int,
        observer: RunObserver,
        *,
        patience: float,
        period: float,
        wanted: Callable[[], int],
    ) -> None:
        self._group = group
        self._run = run
        self._waiting = deque(instances)
        self._suspects: deque[Instance] = deque()
        self._left = {one.id: one for one in instances}
        self._losses: Counter[str] = Counter()
        self._concurrency = concurrency
        self._observer = observer
        self._patience = patience
        self._period = period
        self._wanted = wanted
        self._tasks: set[asyncio.Task[None]] = set()
        self._over = asyncio.Event()
        self._failure: BaseException | None = None

    async def play(self) -> None:
        """Play all instances.

        Raises:
            RunStopped: a worker says that the run cannot go on, or an episode could not be written.
        """
        import ray

        self._message = ray.put(msgspec.json.encode(self._run))
        try:
            for worker in list(self._group.workers):
                self._begin(self._join(worker))
            self._begin(self._look())
            await self._over.wait()
            if self._failure is not None:
                raise self._failure
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a task, whose error ends the run."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failure = self._failure or error
            self._over.set()

    async def _join(self, worker: RemoteWorker) -> None:
        """Let a worker play as soon as it is ready."""
        if not worker.ready:
            try:
                await self._group.wait_for(worker)
            except WorkerLost as error:
                self._replace(worker, error)
                return
            except WorkerRefused as error:
                if not any(other.ready for other in self._group.workers):
                    raise
                log.warning("%s joined and is not used: %s", worker.name, error)
                return
        self._show_workers()
        self._hand_out()

    def _hand_out(self) -> None:
        """Hand waiting instances to the workers that have least to do; suspects at the end, to workers of their own."""
        ready = [one for one in self._group.workers if one.ready and not any(map(self._is_suspect, one.playing))]
        while self._waiting and (free := [one for one in ready if len(one.playing) < self._concurrency]):
            self._hand(min(free, key=lambda one: len(one.playing)), self._waiting.popleft())
        for worker in [one for one in ready if not one.playing]:
            if self._suspects:
                self._hand(worker, self._suspects.popleft())

    def _hand(self, worker: RemoteWorker, instance: Instance) -> None:
        worker.playing[instance.id] = self._begin(self._play(worker, instance))

    def _is_suspect(self, instance: str) -> bool:
        """Whether an instance may be what kills its workers, and so the episodes beside it: it is tried alone once."""
        return self._losses[instance] >= LOSSES - 1

    async def _play(self, worker: RemoteWorker, instance: Instance) -> None:
        try:
            asked = worker.actor.play.remote(self._message, instance.id)
            played = await answered(worker, asked, Played)
        except WorkerLost as error:
            self._lose(instance, error)
            self._replace(worker, error)
        else:
            self._count(worker, played.tokens)
            self._finish(instance, played.episode, played.timing)
        finally:
            worker.playing.pop(instance.id, None)
        self._hand_out()

    def _finish(self, instance: Instance, episode: Episode, timing: EpisodeTiming) -> None:
        if self._left.pop(instance.id, None) is not None:
            self._observer.episode_finished(episode, timing)
        if not self._left:
            self._over.set()

    def _lose(self, instance: Instance, cause: WorkerLost) -> None:
        """Hand an instance out again, or give it up."""
        self._losses[instance.id] += 1
        if self._losses[instance.id] < LOSSES:
            (self._suspects if self._is_suspect(instance.id) else self._waiting).append(instance)
            return
        text = f"lost with {LOSSES} workers, one after the other; the last: {cause}"
        log.warning("instance %s is given up: %s", instance.id, text)
        ended = LiveEpisode(instance).finish(self._run.run, self._run.seed, success=False, error=text)
        self._finish(instance, *ended)

    def _replace(self, worker: RemoteWorker, cause: WorkerLost) -> None:
        """Let another worker take the place of one that is lost."""
        for other in self._group.replace(worker, cause):
            self._show_workers()
            self._begin(self._join(other))

    async def _look(self) -> None:
        """Look after the workers: what they have decoded, whether they live, and whether there is room for more."""
        while True:
            await asyncio.sleep(self._period)
            for worker in [one for one in self._group.workers if one.ready and not one.looked_at]:
                self._begin(self._look_at(worker))
            for worker in self._group.start(max(0, self._wanted() - len(self._group.workers))):
                self._begin(self._join(worker))

    async def _look_at(self, worker: RemoteWorker) -> None:
        """Ask a worker for its tokens; one that does not answer in time is lost."""
        worker.looked_at = True
        try:
            async with asyncio.timeout(self._patience):
                tokens = await alive(worker, worker.actor.tokens.remote())
        except TimeoutError:
            cause = WorkerLost(f"{worker.name} has not answered for {self._patience:g} s")
            for instance, task in list(worker.playing.items()):
                task.cancel()
                self._lose(self._left[instance], cause)
            worker.playing.clear()
            self._replace(worker, cause)
            self._hand_out()
        except WorkerLost as error:
            self._replace(worker, error)
        else:
            self._count(worker, tokens)
        finally:
            worker.looked_at = False

    def _count(self, worker: RemoteWorker, tokens: int) -> None:
        if tokens > worker.tokens:
            self._observer.call_finished(tokens - worker.tokens)
            worker.tokens = tokens

    def _show_workers(self) -> None:
        self._observer.workers(sum(one.ready for one in self._group.workers))
