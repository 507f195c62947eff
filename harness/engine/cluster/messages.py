"""Messages between the driver and its workers, as JSON: what a worker needs to play, and what it tells."""

from __future__ import annotations

from typing import Any

import msgspec

from harness.contracts import Router
from harness.engine.executor import Job
from harness.errors import MixrouteError
from harness.files import Record
from harness.provenance import differences, source_of
from harness.records import Episode, EpisodeTiming
from harness.suite import RouterEntry, Suite, TaskEntry
from harness.text import quoted


class Setting(Record, frozen=True):
    """What a worker loads."""

    suite: dict[str, Any]
    """A ``harness.suite.Suite``."""
    reuse: bool
    folder: str
    """The driver's working folder, from which paths are taken."""


class WorkerInfo(Record, frozen=True):
    """What a worker tells of itself once its models are loaded."""

    where: str
    """Name of its machine and its process."""
    kind: dict[str, Any]
    """What its results may depend on, see ``harness.provenance.kind_of``."""
    provenance: dict[str, Any]
    cards: dict[str, dict[str, Any]]

    def differs_from(self, first: WorkerInfo) -> str:
        """How its results might differ from another worker's; empty where they cannot."""
        ours, theirs = (
            {**one.kind, "fingerprint": {name: card["fingerprint"] for name, card in one.cards.items()}}
            for one in (first, self)
        )
        for key, one, two in differences(ours, theirs):
            return f"{key} is {quoted(one)} at {first.where} and {quoted(two)} at {self.where}"
        return ""


class PromptToCheck(Record, frozen=True):
    """An instance whose first prompt models are to look at."""

    task: dict[str, Any]
    """A ``harness.suite.TaskEntry``."""
    instance: str


class RunMessage(Record, frozen=True):
    """A run to play, with what tells that a worker's files are the driver's."""

    run: str
    """Hash of the run."""
    seed: int
    task: dict[str, Any]
    """A ``harness.suite.TaskEntry``."""
    router: dict[str, Any]
    """A ``harness.suite.RouterEntry``."""
    fitted: dict[str, Any]
    protocol: dict[str, Any]
    """The task's own, without what the engine adds."""
    content: dict[str, str]
    source: dict[str, Any]
    """The router's class and the SHA-256 of its file."""
    module: str
    """The module of the router's class, which registers it where no package names it."""


class Answer(Record, frozen=True):
    """The result of a question to a worker, or the error that it ended in."""

    result: msgspec.Raw = msgspec.Raw(b"null")
    error: str | None = None
    """A ``MixrouteError``'s message."""


class Played(Record, frozen=True):
    """A finished episode."""

    episode: Episode
    timing: EpisodeTiming
    tokens: int
    """Tokens that the worker has decoded since it began."""


def run_message(job: Job, protocol: dict[str, Any]) -> RunMessage:
    """The message of a job.

    Args:
        job: The job.
        protocol: The protocol of its task.
    """
    return RunMessage(
        run=job.meta.hash,
        seed=job.meta.seed,
        task=job.opened.entry.model_dump(mode="json"),
        router=job.entry.model_dump(mode="json"),
        fitted=job.meta.fitted,
        protocol=protocol,
        content=job.meta.content,
        source=source_of(type(job.router)),
        module=type(job.router).__module__,
    )


def entries_of(message: RunMessage) -> tuple[TaskEntry, RouterEntry]:
    """The task and the router of a run."""
    return TaskEntry.model_validate(message.task), RouterEntry.model_validate(message.router)


def suite_of(setting: Setting) -> Suite:
    """The suite of a setting."""
    return Suite.model_validate(setting.suite)


def check_same_files(message: RunMessage, protocol: dict[str, Any], content: dict[str, str], router: Router) -> None:
    """Check that a worker has opened what the driver has.

    Args:
        message: The run.
        protocol: Of the task here.
        content: Hashes of the files here that settings name.
        router: The router here.

    Raises:
        MixrouteError: it has not, and its episodes would be those of another run.
    """
    ours = {"protocol": message.protocol, "content": message.content, "source of the router": message.source}
    theirs = {"protocol": protocol, "content": content, "source of the router": source_of(type(router))}
    for key, one, two in differences(ours, theirs):
        raise MixrouteError(
            f"{key} is {quoted(one)} at the driver and {quoted(two)} here: give every node the same files and version"
        )
