"""Report on labelled episodes: where the models diverge, and what it costs to follow low there."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

from sklearn.metrics import roc_auc_score

from harness.traces.store import read_episodes, read_meta
from routers.dmr.label import read_labels

MANY = 4
"""This many steps or more are counted together."""


def report(run: Path) -> str:
    """Summary of a labelled run, a few lines.

    Raises:
        MixrouteError: not a run folder, or a corrupt line.
    """
    meta, labels = read_meta(run), read_labels(run)
    episodes = [episode for episode in read_episodes(run) if episode.instance in labels and not episode.error]
    steps = [label for episode in episodes for label in labels[episode.instance].steps]
    differ = [not label.agree for label in steps]
    lines = [
        f"{meta.task} {meta.split}: {len(episodes)} episodes, {sum(episode.success for episode in episodes)} won; "
        f"{len(steps)} steps, at {sum(differ) / max(1, len(differ)):.1%} the models' actions differ"
    ]
    known = [(label.kl, apart) for label, apart in zip(steps, differ, strict=True) if label.kl is not None]
    if len({apart for _, apart in known}) == 2:
        auc = roc_auc_score([apart for _, apart in known], [kl for kl, _ in known])
        values = sorted(kl for kl, _ in known)
        median, top = (values[math.floor(rank * len(values))] for rank in (0.5, 0.9))
        lines.append(f"KL: median {median:.3f}, top tenth from {top:.3f} nats; AUC for differing actions {auc:.3f}")
    played: Counter[int] = Counter()
    won: Counter[int] = Counter()
    for episode in episodes:
        pairs = zip(episode.steps, labels[episode.instance].steps, strict=True)
        erred = min(MANY, sum(step.model == "low" and not label.agree for step, label in pairs))
        played[erred] += 1
        won[erred] += episode.success
    found = [f"{count}{'+' * (count == MANY)}: {won[count]} of {played[count]}" for count in sorted(played)]
    lines.append(f"won, by how often low acted where they differ: {', '.join(found)}")
    return "\n".join(lines)
