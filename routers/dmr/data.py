"""Played episodes as what the network learns from."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import pad

from harness.contracts import Backend, Task
from harness.data import Request
from harness.records import Episode
from harness.traces.store import read_episodes
from harness.training.play import CONCURRENCY
from routers.dmr.drafts import LENGTHS, facts_of
from routers.dmr.features import views
from routers.dmr.label import StepLabel, read_labels
from routers.dmr.network import NetworkConfig, Trajectory


@dataclass(frozen=True, slots=True)
class Labelled:
    """An episode's trajectory with a label a step."""

    instance: str
    trajectory: Trajectory
    labels: tuple[StepLabel, ...]
    doomed: int
    """The step from which on nothing is left to save; see ``KlSftRecipe.doomed``."""


def trajectories(
    episodes: Sequence[Episode], task: Task, config: NetworkConfig, low: Backend | None
) -> list[Trajectory]:
    """Of each played episode the last steps, each as it was when its model was chosen.

    Args:
        episodes: Of at least one step.
        task: What was played.
        config: Of the network that is to read them.
        low: Gives the hidden states, for a network that reads them; drafts are in the episodes.
    """
    found = []
    for episode in episodes:
        turns = episode.turns
        seen = views(turns[:-1], turns[-1].observation, [step.model for step in episode.steps])
        found.append(Trajectory(seen).last(config.steps))
    if config.reads == "text":
        return found
    if config.reads in LENGTHS:
        return [Trajectory(one.steps, _drafts(episode, config)) for one, episode in zip(found, episodes, strict=True)]
    assert low is not None  # noqa: S101 - opened by the caller for such a network
    states = asyncio.run(_states(episodes, task, low, config.steps))
    return [Trajectory(one.steps, own) for one, own in zip(found, states, strict=True)]


def _drafts(episode: Episode, config: NetworkConfig) -> Tensor:
    """Facts of low's answer at each of the last steps."""
    turns = episode.turns
    found = []
    for index in range(max(0, len(turns) - config.steps), len(turns)):
        call = next(call for call in episode.steps[index].calls if call.model == "low")
        found.append(facts_of(config.reads, call, turns[:index], turns[index].observation))
    return torch.tensor(found)


async def _states(episodes: Sequence[Episode], task: Task, low: Backend, steps: int) -> list[Tensor]:
    """The hidden state at the end of each step's prompt."""
    slots = asyncio.Semaphore(CONCURRENCY)

    async def read(number: int, episode: Episode) -> Tensor:
        session = f"states {number}"
        turns = episode.turns
        async with slots:
            found = []
            for index in range(max(0, len(turns) - steps), len(turns)):
                prompt = task.prompt(turns[:index], turns[index].observation)
                found.append((await low.generate(Request(session, prompt, stop=task.stop, max_tokens=0))).state)
            low.release(session)
        return torch.tensor(found)

    return await asyncio.gather(*(read(number, episode) for number, episode in enumerate(episodes)))


def labelled(run: Path, task: Task, config: NetworkConfig, low: Backend | None) -> list[Labelled]:
    """The labelled episodes of a run."""
    labels = read_labels(run)
    episodes = [episode for episode in read_episodes(run) if episode.steps and not episode.error]
    return [
        Labelled(
            episode.instance,
            trajectory,
            tuple(labels[episode.instance].steps[-config.steps :]),
            max(0, _doomed(episode, labels[episode.instance].steps) - max(0, len(episode.steps) - config.steps)),
        )
        for episode, trajectory in zip(episodes, trajectories(episodes, task, config, low), strict=True)
    ]


def _doomed(episode: Episode, labels: Sequence[StepLabel]) -> int:
    """One after the first step at which a lost episode followed low against high."""
    erred = (place for place, label in enumerate(labels) if not label.agree and episode.steps[place].model == "low")
    return len(labels) if episode.success else next(erred, len(labels)) + 1


def padded(rows: Sequence[Tensor], length: int) -> Tensor:
    """Vectors under one another, zeros at the end; shape (rows, length)."""
    return torch.stack([pad(row, (0, length - len(row))) for row in rows])
