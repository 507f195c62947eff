"""Labelled steps as a table: one row a step, for analysis and for training elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd

from harness.plugins import open_task
from harness.records import Episode, RunMeta, StepRecord
from harness.suite import RunConfig
from harness.text import quoted
from harness.traces.store import find_runs, read_episodes, read_meta
from mixroute import MixrouteError, Task
from routers.dmr.label import LABELS, EpisodeLabels, StepLabel, read_labels, written

COLUMNS = {
    "run": "hash of the run of the labels, which says what they depend on",
    "task": "task",
    "split": "split, which is one for training",
    "pool": "pool of the two models",
    "instance": "game or goal",
    "kind": "its type",
    "step": "number of the step in its episode, from 0",
    "steps": "steps of the episode",
    "success": "whether the episode was won",
    "score": "its score",
    "observation": "what the environment showed; the rows before hold the earlier turns",
    "model": "the model whose action was taken, drawn at random",
    "thought": "the thought of the reply that was taken; empty where the agent does not think",
    "action": "the action that was taken",
    "valid": "whether it was admissible; missing where the task lists none",
    "low_action": "the action that low wrote",
    "high_action": "the action that high wrote",
    "low_reply": "all that low wrote",
    "high_reply": "all that high wrote",
    "low_entropy": "mean entropy of low's tokens, in nats",
    "high_entropy": "mean entropy of high's tokens, in nats",
    "kl": "KL(high || low) in nats, mean over the tokens of the action (docs/dmr.md)",
    "kl_reply": "KL(high || low) in nats, mean over all tokens of high's reply; missing in old labels",
    "kl_choice": "KL(high || low) in nats over the admissible actions; missing where it was not asked for",
    "agree": "whether both models write the same action",
    "flip": "whether low, reading that action, would write some token otherwise",
}
"""Columns, and what each holds."""


def labelled_runs(root: Path) -> list[Path]:
    """The labelled runs under ``root``.

    Raises:
        MixrouteError: there is none.
    """
    found = [folder for folder in find_runs(root, nested=True) if (folder / LABELS).exists()]
    if not found:
        raise MixrouteError(
            f"{root} has no labelled run: give a folder of 'mixroute label', such as runs/routers/RECIPE/labels"
        )
    return found


def labelled(run: Path) -> Iterator[tuple[Episode, EpisodeLabels]]:
    """The episodes of a run that are labelled and did not end in an error, with their labels.

    Raises:
        MixrouteError: a corrupt line, or labels of another number of steps.
    """
    labels = read_labels(run)
    for episode in read_episodes(run):
        found = labels.get(episode.instance)
        if found is None or episode.error:
            continue
        if len(found.steps) != len(episode.steps):
            raise MixrouteError(
                f"{run / LABELS}: {quoted(episode.instance)} has {len(found.steps)} labels for {len(episode.steps)} "
                "steps: delete its line, and give the same 'mixroute label' again"
            )
        yield episode, found


def task_of(meta: RunMeta) -> Task:
    """The task of a run, opened.

    Raises:
        MixrouteError: it cannot be opened here.
    """
    config = RunConfig.model_validate(meta.config)
    return open_task(config.task, split=config.split, **config.task_args)


def label_table(runs: Sequence[Path]) -> pd.DataFrame:
    """The labelled steps of runs, with the columns of ``COLUMNS``.

    Raises:
        MixrouteError: a run cannot be read, or its task not opened here.
    """
    rows = [row for run in runs for row in _rows(run)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _rows(run: Path) -> Iterator[dict[str, Any]]:
    meta = read_meta(run)
    task = task_of(meta)
    of_run = {"run": meta.hash, "task": meta.task, "split": meta.split, "pool": meta.pool}
    for episode, labels in labelled(run):
        of_episode = {
            **of_run,
            "instance": episode.instance,
            "kind": episode.kind,
            "steps": len(episode.steps),
            "success": episode.success,
            "score": episode.score,
        }
        for number, (step, label) in enumerate(zip(episode.steps, labels.steps, strict=True)):
            yield {**of_episode, "step": number, **_of_step(step, label, task)}


def _of_step(step: StepRecord, label: StepLabel, task: Task) -> dict[str, Any]:
    found: dict[str, Any] = {
        name: getattr(step, name) for name in ("observation", "model", "thought", "action", "valid")
    }
    for model in ("low", "high"):
        reply = written(step, model)
        calls = [call for call in step.calls if call.model == model]
        entropies = [nats for call in calls for nats in call.entropies[: call.content_tokens]]
        found[f"{model}_reply"] = reply
        found[f"{model}_action"] = task.parse_action(reply)
        found[f"{model}_entropy"] = fmean(entropies) if entropies else None
    return {
        **found,
        "kl": label.kl,
        "kl_reply": label.reply,
        "kl_choice": label.choice,
        "agree": label.agree,
        "flip": label.flip,
    }
