"""Executors: what plays the missing instances of runs. Whoever plays, the runner alone writes traces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from harness.backends.completion_cache import CompletionCache
from harness.contracts import Backend, Router
from harness.data import Instance
from harness.engine.answering import Play
from harness.engine.answers import cards_of
from harness.engine.loop import run_to_end
from harness.engine.opening import OpenTask, check_scaffold, open_models, prompt_notes
from harness.engine.rollout import Observer, play_all
from harness.pool import Pool
from harness.provenance import provenance
from harness.records import RunMeta
from harness.sharing import sharing_of
from harness.suite import RouterEntry, Suite


class RunObserver(Observer, Protocol):
    """Receives the progress of a run."""

    def workers(self, count: int) -> None:
        """So many workers play the run now; never called where the process itself plays."""
        ...


@dataclass(frozen=True, slots=True)
class Job:
    """A run of which instances are to be played."""

    suite: Suite
    meta: RunMeta
    opened: OpenTask
    entry: RouterEntry
    router: Router
    """The router of ``entry``, with the fitted arguments of ``meta``."""


class Players(Protocol):
    """An executor with a pool's models loaded."""

    def cards(self) -> dict[str, dict[str, Any]]:
        """The models' cards, as ``harness.engine.answers.cards_of`` gives them."""
        ...

    def prompt_notes(self, opened: OpenTask) -> dict[str, dict[str, str]]:
        """What the models do to a task's prompts, see ``harness.engine.opening.prompt_notes``.

        Raises:
            MixrouteError: a model cannot read what the task's scaffold shows.
        """
        ...

    def provenance(self) -> dict[str, Any]:
        """The provenance of what is played now."""
        ...

    def play(self, job: Job, instances: Sequence[Instance], observer: RunObserver) -> None:
        """Play instances of a run, and hand each finished episode to ``observer`` at once, on this thread or its own.

        Raises:
            RunStopped: see ``harness.engine.rollout.play_all``.
        """
        ...


class Executor(Protocol):
    """A way to play runs."""

    def open(self, suite: Suite, pool: Pool, *, reuse: bool) -> AbstractContextManager[Players]:
        """Load the models of a pool for all runs of a suite, until the block ends.

        Args:
            suite: The suite.
            pool: Its pool.
            reuse: Whether greedy completions come from the completion cache where they were computed before.

        Raises:
            MixrouteError: weights, options or machines that are wrong.
        """
        ...


class LocalExecutor:
    """Plays in this process."""

    @contextmanager
    def open(self, suite: Suite, pool: Pool, *, reuse: bool) -> Iterator[LocalPlayers]:
        """Load the models here."""
        with open_models(pool, suite.mode, CompletionCache() if reuse else None) as models:
            yield LocalPlayers(models)


class LocalPlayers:
    """Models that this process has loaded.

    Args:
        models: The models, by name.
    """

    def __init__(self, models: Mapping[str, Backend]) -> None:
        self.models = models

    def cards(self) -> dict[str, dict[str, Any]]:
        """The models' cards."""
        return cards_of(self.models)

    def prompt_notes(self, opened: OpenTask) -> dict[str, dict[str, str]]:
        """What the models do to a task's prompts, once they are checked."""
        check_scaffold(opened, self.models)
        return prompt_notes(opened, self.models)

    def provenance(self) -> dict[str, Any]:
        """The provenance of this process."""
        return provenance()

    def play(self, job: Job, instances: Sequence[Instance], observer: RunObserver) -> None:
        """Play on one event loop."""
        meta = job.meta
        sharing = sharing_of(meta.config, meta.id)
        play = Play.of_suite(job.suite, meta.hash, meta.seed, job.opened.task, job.router, self.models, sharing)
        run_to_end(play_all(play, instances, job.suite.concurrency, observer))
