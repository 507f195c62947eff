"""Opening of the instances of a task and of the models of a pool, with their checks."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial

from harness.backends.completion_cache import CompletionCache
from harness.contracts import (
    Backend,
    ChecksPrompts,
    DescribesPrompts,
    SharesCache,
    SupportsCompletionCache,
    Task,
    scaffold_of,
)
from harness.data import Instance, Message, Prompt
from harness.engine.environment import printable
from harness.errors import EpisodeError, MixrouteError
from harness.guard import call_plugin
from harness.json_files import check_values
from harness.plugins import open_task
from harness.pool import Pool, open_backend
from harness.seeding import seed_for
from harness.sharing import SharedCache
from harness.suite import Mode, TaskEntry
from harness.text import quoted
from harness.traces.contamination import instance_key
from harness.traces.recording import as_json

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OpenTask:
    """A task entry of the suite with its task and the instances to play."""

    entry: TaskEntry
    """Without a limit where there are no more instances."""
    task: Task
    instances: Sequence[Instance]


def sample(instances: Sequence[Instance], limit: int | None) -> list[Instance]:
    """A fixed sample of ``limit`` instances, as even over the kinds as their numbers allow, sorted by id.

    The choice depends on the ids alone, so that a larger sample contains every smaller one.
    """
    if limit is None or limit >= len(instances):
        return list(instances)
    kinds: dict[str, list[Instance]] = {}
    for instance in sorted(instances, key=lambda one: seed_for("sample", one.id)):
        kinds.setdefault(instance.kind, []).append(instance)
    rounds = ((turn, kind, one) for kind, members in kinds.items() for turn, one in enumerate(members))
    chosen = [one for _, _, one in sorted(rounds, key=lambda place: (place[0], str(place[1])))[:limit]]
    return sorted(chosen, key=lambda one: one.id)


def open_instances(entry: TaskEntry, without: Collection[str] = ()) -> OpenTask:
    """Open a task and check that each of its instances can be played.

    Args:
        entry: What to open.
        without: Instances to leave out, as named by ``instance_key``.

    Raises:
        MixrouteError: unknown task or argument, missing data, corrupt instance.
    """
    task = open_task(entry.task, split=entry.split, **entry.args)
    who = f"task '{entry.task}'"
    for name in ("name", "blocking", "stop", "max_tokens", "step_cap"):
        call_plugin(who, name, partial(getattr, task, name))
    every = call_plugin(who, "instances", lambda: [_checked(one) for one in task.instances()])
    every = [one for one in every if instance_key(task.name, one.id) not in without]
    instances = sample(every, entry.limit)
    if len(instances) == len(every):
        entry = entry.model_copy(update={"limit": None})
    if not instances:
        left = " left: a model was trained on all of them, or dev plays them" if without else ""
        raise MixrouteError(f"task '{entry.task}' has no instance in split '{entry.split}'{left}")
    for one, count in Counter(one.id for one in instances).items():
        if count > 1:
            raise MixrouteError(f"task '{entry.task}' has two instances with the id {one}: make the data's ids unique")
    if not task.blocking:
        for instance in instances:
            environment = call_plugin(who, "open", partial(task.open, instance))
            call_plugin(who, "close", environment.close)
    return OpenTask(entry, task, instances)


def prompt_notes(opened: OpenTask, models: Mapping[str, Backend]) -> dict[str, dict[str, str]]:
    """What the models' backends do to prompts of a task, by model; see ``DescribesPrompts``.

    Args:
        opened: The task; its first instance is begun, if a model may have something to tell.
        models: The models, by name.

    Raises:
        MixrouteError: a model or the task fails, or a note cannot be recorded.
    """
    conversation = Prompt((Message("system", "x"), Message("user", "x")))
    describing = {name: model for name, model in sorted(models.items()) if isinstance(model, DescribesPrompts)}
    telling = {name: model for name, model in describing.items() if _notes(name, model, conversation)}
    if not telling:
        return {}
    prompt = _first_prompt(opened)
    return {name: notes for name, model in telling.items() if (notes := _notes(name, model, prompt))}


def check_scaffold(opened: OpenTask, models: Mapping[str, Backend]) -> None:
    """Check that the models can read what a task's scaffold shows first, and have room for a reply.

    Raises:
        MixrouteError: one cannot; it names the scaffold, the model and the reason.
    """
    scaffold = scaffold_of(opened.task)
    checking = {name: model for name, model in sorted(models.items()) if isinstance(model, ChecksPrompts)}
    if scaffold is None or not checking:
        return
    prompt = _first_prompt(opened)
    for name, model in checking.items():
        try:
            model.check_prompt(prompt, scaffold.max_tokens)
        except (MixrouteError, EpisodeError) as error:
            raise MixrouteError(
                f"scaffold '{scaffold.name}', with replies of up to {scaffold.max_tokens} tokens, does not fit model "
                f"'{name}': {error}"
            ) from error


def _notes(name: str, model: DescribesPrompts, prompt: Prompt) -> dict[str, str]:
    notes: dict[str, str] = call_plugin(
        f"model '{name}'", "prompt_notes", lambda: as_json(dict(model.prompt_notes(prompt)))
    )
    return notes


def _first_prompt(opened: OpenTask) -> Prompt:
    """What models read first in the task's first instance."""
    who, task = f"task '{opened.entry.task}'", opened.task
    environment = call_plugin(who, "open", lambda: task.open(opened.instances[0]))
    try:
        seen = call_plugin(who, "reset", lambda: environment.reset())
        prompt = call_plugin(who, "prompt", lambda: task.prompt((), seen))
    except BaseException:
        with suppress(MixrouteError):  # the first error counts
            call_plugin(who, "close", lambda: environment.close())
        raise
    call_plugin(who, "close", lambda: environment.close())
    return prompt


def _checked(instance: Instance) -> Instance:
    """The instance itself, if a trace can name it."""
    if not isinstance(instance, Instance):
        raise TypeError(f"{type(instance).__name__} {quoted(instance)} is no Instance")
    if not isinstance(instance.id, str) or not instance.id or printable(instance.id) != instance.id:
        raise ValueError(f"the id {quoted(instance.id)} is no text")
    check_values(instance.id)
    return instance


def _close(name: str, backend: Backend) -> None:
    """Close a model. What was played is on disk: an error is no more than a warning."""
    try:
        call_plugin(f"model '{name}'", "close", backend.close)
    except MixrouteError as error:
        log.warning("%s", error)


@contextmanager
def open_models(pool: Pool, mode: Mode, answers: CompletionCache | None) -> Iterator[dict[str, Backend]]:
    """Load the pool's models, and close them when the block ends.

    Args:
        pool: The pool to load.
        mode: Mode of the suite to be played.
        answers: Completion cache of greedy answers, if any; closed at the end.

    Raises:
        MixrouteError: weights or options that are wrong.
    """
    with ExitStack() as stack:
        if answers is not None:
            stack.callback(answers.close)
        models = {}
        for name, spec in pool.models.items():
            backend = models[name] = open_backend(name, spec, deterministic=mode == "deterministic")
            stack.callback(_close, name, backend)
            if answers is not None and isinstance(backend, SupportsCompletionCache):
                call_plugin(f"model '{name}'", "use_cache", partial(backend.use_cache, answers))
        if pool.kv_cache is not None:
            _share_cache(pool, pool.kv_cache, models)
        yield models


def _share_cache(pool: Pool, sharing: SharedCache, models: Mapping[str, Backend]) -> None:
    """Let models share a cache in each session.

    Raises:
        MixrouteError: they cannot.
    """
    first, *others = sharing.shared
    where = f"pool '{pool.name}': kv_cache.shared"
    for name in sharing.shared:
        if not isinstance(models[name], SharesCache):
            raise MixrouteError(
                f"{where}: backend '{pool.models[name].backend}' of model '{name}' cannot share key-value caches: take "
                "the model out of the list, or use backend transformers"
            )
    sharer = models[first]
    assert isinstance(sharer, SharesCache)  # noqa: S101 - checked above
    rest = {name: models[name] for name in others}
    call_plugin(f"model '{first}'", "share_cache", lambda: sharer.share_cache(rest, sharing.reread))
