"""Played episodes as what the network learns from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import pad

from harness.trace import Episode, read_episodes
from harness.training.demonstrate import played_turns
from routers.dmr.features import views
from routers.dmr.label import StepLabel, read_labels
from routers.dmr.network import Trajectory


@dataclass(frozen=True, slots=True)
class Labelled:
    """An episode's trajectory with a label a step."""

    instance: str
    trajectory: Trajectory
    labels: tuple[StepLabel, ...]


def trajectory_of(episode: Episode) -> Trajectory:
    """All steps of a played episode, each as it was when its model was chosen."""
    turns = played_turns(episode)
    return Trajectory(views(turns[:-1], turns[-1].observation, [step.model for step in episode.steps]))


def labelled(runs: Iterable[Path], steps: int) -> list[Labelled]:
    """The labelled episodes of runs, of each the last ``steps`` steps."""
    found = []
    for run in runs:
        labels = read_labels(run)
        for episode in read_episodes(run):
            if episode.steps and not episode.error:
                own = tuple(labels[episode.instance].steps)
                found.append(Labelled(episode.instance, trajectory_of(episode).last(steps), own[-steps:]))
    return found


def padded(rows: Sequence[Tensor], length: int) -> Tensor:
    """Vectors under one another, zeros at the end; shape (rows, length)."""
    return torch.stack([pad(row, (0, length - len(row))) for row in rows])
