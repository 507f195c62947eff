"""Training data of the network from played episodes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import pad

from harness.contracts import Backend, Task
from harness.data import Request
from harness.joining import join
from harness.pool import Pool
from harness.records import Episode
from harness.traces.recording import recorded_completion
from harness.traces.store import read_episodes
from harness.training.play import CONCURRENCY
from routers.dmr.drafts import LENGTHS, facts_of
from routers.dmr.features import views
from routers.dmr.label import StepLabel, read_labels
from routers.dmr.network import NetworkConfig, Trajectory


@dataclass(frozen=True, slots=True)
class LabelledEpisode:
    """An episode's trajectory with a label for each step."""

    instance: str
    trajectory: Trajectory
    labels: tuple[StepLabel, ...]
    unrecoverable_from: int
    """Index of the first step at which the episode can no longer be won; see ``KlSftRecipe.unrecoverable_steps``."""


def readers_of(pool: Pool) -> list[str]:
    """The models that read again what was played, to tell low's hidden states: low, and those that share its cache."""
    shared = pool.kv_cache.shared if pool.kv_cache is not None else []
    return shared if "low" in shared else ["low"]


def trajectories(
    episodes: Sequence[Episode], task: Task, config: NetworkConfig, reading: Mapping[str, Backend]
) -> list[Trajectory]:
    """The trajectory of each played episode: its last steps, each in the state in which its model was chosen.

    Args:
        episodes: Episodes of at least one step.
        task: Task that was played.
        config: Sizes of the network.
        reading: The models of ``readers_of``, for a network that reads hidden states.
    """
    found = []
    for episode in episodes:
        turns = episode.turns
        seen = views(turns[:-1], turns[-1].observation, [step.model for step in episode.steps])
        found.append(Trajectory(seen).last(config.steps))
    if config.reads == "text":
        return found
    if config.reads in LENGTHS:
        drafts = [_drafts(episode, task, config) for episode in episodes]
        return [Trajectory(one.steps, own) for one, own in zip(found, drafts, strict=True)]
    states = asyncio.run(_states(episodes, task, reading, config.steps))
    return [Trajectory(one.steps, own) for one, own in zip(found, states, strict=True)]


def _drafts(episode: Episode, task: Task, config: NetworkConfig) -> Tensor:
    """Facts of low's answer at each of the last steps."""
    turns = episode.turns
    found = []
    for index in range(max(0, len(turns) - config.steps), len(turns)):
        calls = [recorded_completion(call) for call in episode.steps[index].calls if call.model == "low"]
        draft = join(calls) if len(calls) > 1 else calls[0]
        action = task.parse_action(draft.text)
        found.append(facts_of(config.reads, draft, action, turns[:index], turns[index].observation))
    return torch.tensor(found)


async def _states(episodes: Sequence[Episode], task: Task, reading: Mapping[str, Backend], steps: int) -> list[Tensor]:
    """Low's hidden state at the end of each step's prompt.

    Where models share low's cache, the one that acted then reads the prompt too, as it did when it was asked.
    """
    low, shared = reading["low"], len(reading) > 1
    slots = asyncio.Semaphore(CONCURRENCY)

    async def read(number: int, episode: Episode) -> Tensor:
        session = f"states {number}"
        turns = episode.turns
        async with slots:
            found = []
            for index in range(0 if shared else max(0, len(turns) - steps), len(turns)):
                prompt = task.prompt(turns[:index], turns[index].observation)
                request = Request(session, prompt, stop=task.stop, max_tokens=0)
                found.append((await low.generate(request)).state)
                acted = episode.steps[index].model
                if acted in reading and acted != "low":
                    await reading[acted].generate(request)
            for model in reading.values():
                model.release(session)
        return torch.tensor(found[-steps:])

    return await asyncio.gather(*(read(number, episode) for number, episode in enumerate(episodes)))


def labelled_episodes(
    run: Path, task: Task, config: NetworkConfig, reading: Mapping[str, Backend]
) -> list[LabelledEpisode]:
    """The labelled episodes of a run; ``reading`` as for ``trajectories``."""
    labels = read_labels(run)
    episodes = [episode for episode in read_episodes(run) if episode.steps and not episode.error]
    found = []
    for episode, trajectory in zip(episodes, trajectories(episodes, task, config, reading), strict=True):
        steps = labels[episode.instance].steps
        left_out = max(0, len(steps) - config.steps)
        unrecoverable_from = max(0, _first_unrecoverable(episode, steps) - left_out)
        found.append(LabelledEpisode(episode.instance, trajectory, tuple(steps[left_out:]), unrecoverable_from))
    return found


def _first_unrecoverable(episode: Episode, labels: Sequence[StepLabel]) -> int:
    """Index after the first step at which a lost episode followed low where high would have acted otherwise."""
    erred = (index for index, label in enumerate(labels) if not label.agree and episode.steps[index].model == "low")
    return len(labels) if episode.success else next(erred, len(labels)) + 1


def padded(rows: Sequence[Tensor], length: int) -> Tensor:
    """Stack vectors, with zeros at the end of shorter ones; shape (rows, length)."""
    return torch.stack([pad(row, (0, length - len(row))) for row in rows])
