"""``mixroute label``: labels steps with the divergence between both precisions. Train episodes are played with both
models asked at every step. A stopped command resumes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import msgspec
from transformers import PreTrainedModel

from harness.backends.encoding import Encoder
from harness.backends.loading import open_for_comparison
from harness.contracts import Task, Teachable, scaffold_of, taught_reply
from harness.data import Observation
from harness.engine.executor import Executor
from harness.engine.runner import FinishedRun
from harness.files import Record
from harness.lines import read_lines, repair
from harness.pool import save_pool
from harness.quantization.divergence import Divergence, answer_divergences, choice_divergence
from harness.records import Episode, StepRecord
from harness.scaffolds import Scaffold, in_tokens
from harness.suite import RouterEntry
from harness.training.examples import reply_end
from harness.training.play import play_runs
from harness.training.splits import open_training_tasks
from mixroute import Completion, MixrouteError, Step, register_router
from routers.dmr.recipe import DmrRecipe, training_pool

log = logging.getLogger(__name__)

LABELS = "labels.jsonl"


class StepLabel(Record, frozen=True):
    """Divergence of the models at one step; None where it could not be computed."""

    kl: float | None
    """KL(high || low) in nats, mean over the tokens of high's action and the one that ends it, as high wrote them.
    Where the agent thinks it is the action of the model that acted, after that model's thought, which both have read.
    """
    choice: float | None
    """KL(high || low) in nats over the admissible actions, with the probabilities of their tokens."""
    agree: bool
    """Whether both models choose the same action."""
    flip: bool | None
    """Whether low, given the action of ``kl`` so far, would write some token of it differently (greedy)."""
    reply: float | None = None
    """KL(high || low) in nats, mean over all tokens of high's reply, the thought included."""


class EpisodeLabels(Record, frozen=True):
    """The labels of an episode's steps, in order."""

    instance: str
    steps: list[StepLabel]


@register_router("both")
class Both:
    """Asks both models at every step and follows high with probability ``p``; plays episodes for labels.

    Args:
        p: Probability in [0, 1].
    """

    granularity = "step"

    def __init__(self, p: float = 0.5) -> None:
        self._p = p

    async def act(self, step: Step) -> Completion:
        """Ask one after the other, so that the order of the calls is the same in every run.

        The one that is followed comes last: where models share a cache, it then holds what that model has read, as it
        does where no other was asked.
        """
        order = ("low", "high") if step.rng.random() < self._p else ("high", "low")
        _, followed = [await step.ask(model) for model in order]
        return followed


def label(recipe: DmrRecipe, working: Path, executor: Executor | None = None) -> list[Path]:
    """Play and label the recipe's training instances.

    Args:
        recipe: Names pool and tasks.
        working: Folder of the recipe; ``labels`` in it holds one run for each task, with ``labels.jsonl`` beside the
            episodes.
        executor: What plays; this process, which labels, if not given.

    Returns:
        The run folders.

    Raises:
        MixrouteError: pool, task or folder are wrong.
    """
    name = recipe.labels or recipe.name
    folder = (working.with_name(name) if recipe.labels else working) / "labels"
    opened = open_training_tasks(recipe)
    training = training_pool(recipe)
    models = training.models
    description = f"Pool {recipe.pool} as it plays in training."
    pool = save_pool(folder / "pool.yaml", name, description, models, training.kv_cache)
    router = RouterEntry(router="both", args={"p": recipe.behaviour_high_share})
    runs = play_runs(
        f"{name}-labels", str(pool), opened, [router], [recipe.seed], folder, mode=recipe.mode, executor=executor
    )
    missing = [run for run in runs if len(read_labels(run.folder)) < len(run.meta.instances)]
    if missing:
        high, encoder = open_for_comparison("high", models["high"])
        low, _ = open_for_comparison("low", models["low"])
        for run in missing:
            _label_run(run, high, low, encoder, choices=recipe.choices)
    return [run.folder for run in runs]


def read_labels(run: Path) -> dict[str, EpisodeLabels]:
    """Labels by instance, as far as they have been written."""
    return {one.instance: one for one in read_lines(run / LABELS, EpisodeLabels)}


def _label_run(
    run: FinishedRun, high: PreTrainedModel, low: PreTrainedModel, encoder: Encoder, *, choices: bool
) -> None:
    task, path = run.opened.task, run.folder / LABELS
    repair(path)
    done = read_labels(run.folder)
    with path.open("ab") as lines:
        for number, episode in enumerate(run.episodes()):
            if number % 50 == 0:
                log.info("%s: %d of %d episodes labelled", run.meta.id, number, len(run.meta.instances))
            if episode.instance in done:
                continue
            found = _divergences(episode, task, high, low, encoder)
            chosen = _choice_divergences(episode, task, high, low, encoder) if choices else [None] * len(found)
            steps = [
                StepLabel(_mean(one.action), choice, _agree(task, step), _flip(one.action), _mean(one.reply))
                for step, one, choice in zip(episode.steps, found, chosen, strict=True)
            ]
            lines.write(msgspec.json.encode(EpisodeLabels(episode.instance, steps)) + b"\n")
            lines.flush()


def written(step: StepRecord, model: str) -> str:
    """What a model wrote, which router ``both`` asks once; a thought that was cut, with the action after it."""
    calls = [call for call in step.calls if call.model == model]
    return "".join(call.forced + call.text for call in calls)


def _agree(task: Task, step: StepRecord) -> bool:
    return task.parse_action(written(step, "high")) == task.parse_action(written(step, "low"))


class _Found(NamedTuple):
    """Divergences at one step; None where they could not be computed."""

    action: Divergence | None
    """On the action that ``StepLabel.kl`` names."""
    reply: Divergence | None
    """On high's whole reply."""


def _mean(divergence: Divergence | None) -> float | None:
    return fmean(divergence.kl) if divergence else None


def _flip(divergence: Divergence | None) -> bool | None:
    return divergence.flip if divergence else None


def _divergences(
    episode: Episode, task: Task, high: PreTrainedModel, low: PreTrainedModel, encoder: Encoder
) -> list[_Found]:
    """Divergences on the replies of each step, including the token that ends them."""
    turns, scaffold = episode.turns, scaffold_of(task)
    thinking = scaffold if scaffold is not None and scaffold.thinks else None
    prompts = [encoder.encode(task.prompt(turns[:n], turn.observation)).ids for n, turn in enumerate(turns)]
    answers: dict[tuple[int, str], tuple[int, list[int]]] = {}
    for index, (step, turn) in enumerate(zip(episode.steps, turns, strict=True)):
        # Without repetition and in one order: rounding may depend on the order of the branches.
        for model in dict.fromkeys(("high", step.model) if thinking else ("high",)):
            text = written(step, model)
            branch = (*turns[:index], replace(turn, text=text))
            ids = encoder.encode(task.prompt(branch, Observation(""))).ids
            end = reply_end(encoder, task.prompt(turns[:index], turn.observation), text, task.stop, ids)
            start = len(prompts[index])
            if end is not None and prompts[-1][:start] == prompts[index]:
                answers[index, model] = start, ids[start:end]
    compared = answer_divergences(high, low, prompts[-1], list(answers.values())) if answers else []
    found = dict(zip(answers, compared, strict=True))
    labels = []
    for index, step in enumerate(episode.steps):
        reply = found.get((index, "high"))
        if reply is None:
            log.warning(
                "%s, step %d: no label, since its prompt does not extend the one before", episode.instance, index
            )
        acted = found.get((index, step.model)) if thinking else reply
        if acted is not None and thinking:
            acted = acted.between(*_action_tokens(written(step, step.model), thinking, encoder, len(acted.kl)))
        labels.append(_Found(acted, reply))
    return labels


def _action_tokens(reply: str, scaffold: Scaffold, encoder: Encoder, count: int) -> tuple[int, int]:
    """The tokens of a reply's action with the one that ends it, of ``count`` tokens; all where it has no action."""
    start, end = in_tokens(scaffold.read(reply).action_span, encoder.token_ends(reply))
    return (start, min(end + 1, count)) if start < end else (0, count)


def _choice_divergences(
    episode: Episode, task: Task, high: PreTrainedModel, low: PreTrainedModel, encoder: Encoder
) -> Iterator[float | None]:
    if not isinstance(task, Teachable):
        raise MixrouteError(f"task '{task.name}' has no 'completion_text' for its actions: set 'choices: false'")
    turns = episode.turns
    for index, turn in enumerate(turns):
        prompt = task.prompt(turns[:index], turn.observation)
        start = encoder.encode(prompt).ids
        texts = [
            taught_reply(task, turn.thought, action) + "".join(task.stop[:1]) for action in turn.observation.admissible
        ]
        ids: Sequence[list[int]] = [encoder.encode(prompt, text).ids[len(start) :] for text in texts]
        yield choice_divergence(high, low, start, ids) if ids else None
