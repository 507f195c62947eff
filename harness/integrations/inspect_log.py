"""Export of runs as logs of inspect_ai, for its viewer and its data frames.

The package needs versions of other packages that conflict with ours, so its JSON format (version 2) is written here; a
test reads the logs with inspect_ai itself.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from harness.files import replacing
from harness.records import Episode, RunMeta, StepRecord
from harness.traces.read import tokens_by_model
from harness.traces.store import read_episodes, read_meta

VERSION = 2


def export_run(folder: Path, out: Path) -> Path:
    """Write a run or entry folder as ``out/ID.json``; returns the file.

    A sample is an episode, and its epoch is the seed plus one. Observations are user messages; answers are assistant
    messages and name the model that wrote them.

    Raises:
        MixrouteError: not a run folder, or a corrupt line.
    """
    meta = read_meta(folder)
    path = out / f"{meta.hash[:16]}.json"
    won: list[float] = []
    score: list[float] = []

    def noted() -> Iterator[Episode]:
        for episode in read_episodes(folder):
            won.append(float(episode.success))
            score.append(episode.score)
            yield episode

    usage = _usage(noted())
    head = json.dumps(_log(meta, won, score, usage), indent=1)
    with replacing(path) as file:
        file.write(head[: head.rindex("\n")].encode() + b',\n "samples": [')
        for number, episode in enumerate(read_episodes(folder)):
            file.write(b",\n" * (number > 0) + json.dumps(_sample(episode)).encode())
        file.write(b"]\n}\n")
    return path


def _log(
    meta: RunMeta, won: Sequence[float], score: Sequence[float], usage: dict[str, dict[str, int]]
) -> dict[str, Any]:
    """A log without its samples."""
    created = meta.provenance.get("time") or "1970-01-01T00:00:00+00:00"
    git = meta.provenance.get("git") or {}
    revision = (
        {"type": "git", "origin": "", "commit": git.get("commit", ""), "dirty": git.get("dirty")} if git else None
    )
    return {
        "version": VERSION,
        "status": "success" if len(won) == len(meta.instances) else "cancelled",
        "eval": {
            "eval_id": meta.hash[:22],
            "run_id": meta.hash[:22],
            "task_id": meta.hash[:22],
            "created": created,
            "task": f"{meta.task}/{meta.split}",
            "task_args": meta.config.get("task_args", {}),
            "solver": meta.label,
            "solver_args": {**meta.config.get("router_args", {}), **meta.fitted},
            "dataset": {"name": meta.task, "samples": len(meta.instances), "sample_ids": meta.instances},
            "model": f"mixroute/{meta.pool}",
            "config": {"epochs": 1},
            "revision": revision,
            "packages": {"mixroute": str((meta.provenance.get("packages") or {}).get("mixroute", ""))},
            "metadata": {"group": meta.group, "seed": meta.seed, "protocol": meta.protocol, "models": meta.models},
            "scorers": [{"name": "success"}, {"name": "score"}],
        },
        "results": {
            "total_samples": len(meta.instances),
            "completed_samples": len(won),
            "scores": [
                _metric("success", won),
                _metric("score", score),
            ],
        },
        "stats": {"started_at": created, "completed_at": created, "model_usage": usage},
    }


def _metric(name: str, values: Sequence[float]) -> dict[str, Any]:
    found = {
        "mean": fmean(values) if values else 0.0,
        "stderr": stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0,
    }
    return {"name": name, "scorer": name, "metrics": {key: {"name": key, "value": found[key]} for key in found}}


def _sample(episode: Episode) -> dict[str, Any]:
    messages = [message for step in episode.steps for message in _messages(step)]
    messages.append({"role": "user", "content": episode.final_observation})
    failed = episode.error and {"message": episode.error, "traceback": "", "traceback_ansi": ""}
    return {
        "id": episode.instance,
        "epoch": episode.seed + 1,
        "input": episode.steps[0].observation if episode.steps else episode.final_observation,
        "target": "",
        "messages": messages,
        "scores": {"success": {"value": int(episode.success)}, "score": {"value": episode.score}},
        "metadata": {"kind": episode.kind, "end": episode.end, "high_share": episode.high_share},
        "model_usage": _usage([episode]),
        **({"error": failed} if failed else {}),
    }


def _messages(step: StepRecord) -> list[dict[str, Any]]:
    thought = {"thought": step.thought} if step.thought else {}
    metadata = {**thought, "action": step.action, "valid": step.valid, "reward": step.reward, "scores": step.scores}
    calls = [{"model": call.model, "prompt_tokens": call.prompt_tokens, "text": call.text} for call in step.calls]
    return [
        {"role": "user", "content": step.observation},
        {"role": "assistant", "content": step.text, "model": step.model, "metadata": {**metadata, "calls": calls}},
    ]


def _usage(episodes: Iterable[Episode]) -> dict[str, dict[str, int]]:
    return {
        model: {
            "input_tokens": read,
            "input_tokens_cache_read": cached,
            "output_tokens": written,
            "total_tokens": read + cached + written,
        }
        for model, (read, cached, written) in sorted(tokens_by_model(episodes).items())
    }
