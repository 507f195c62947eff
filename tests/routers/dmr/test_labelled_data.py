"""Labelled steps as a data set, and routers scored on them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import ClassVar

import pandas as pd
import pytest

from harness.traces.store import find_runs, read_episodes
from mixroute import Completion, Granularity, MixrouteError, Step
from routers.dmr.label import read_labels
from routers.dmr.score import score_router
from routers.dmr.table import COLUMNS, label_table, labelled_runs
from tests.command import mixroute
from tests.routers.dmr.test_label import write_recipe

TASK = {"task": "alfworld-gen", "split": "train"}
GAMES = {"games": 4, "seed": 9000, "step_cap": 4}


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory, tiny_pool: Path) -> Path:
    """Labels of a task in two scaffolds, of which one has thoughts that are cut, so that an answer takes two calls."""
    folder = tmp_path_factory.mktemp("labels")
    thinks = (Path(__file__).parents[3] / "harness/scaffolds/think.yaml").read_text()
    (folder / "short.yaml").write_text(thinks.replace("thought_tokens: 128", "thought_tokens: 6"))
    recipe = write_recipe(folder, tiny_pool, tasks=[{**TASK, "args": {**GAMES, "prompt": str(folder / "short.yaml")}}])
    mixroute("label", recipe, cwd=folder)
    plain = folder / "plain"
    plain.mkdir()
    mixroute("label", write_recipe(plain, tiny_pool, tasks=[{**TASK, "args": GAMES}]), cwd=plain)
    (plain / "runs/routers/tiny").rename(folder / "runs/routers/plain")
    return folder / "runs/routers"


def test_the_data_set_has_a_row_a_step_and_a_card(labels: Path, tmp_path: Path) -> None:
    told = mixroute("export-labels", labels, "--out", "data", cwd=tmp_path).stdout
    table = pd.read_parquet(tmp_path / "data" / "labels.parquet")
    assert list(table.columns) == list(COLUMNS)
    episodes = [(run, episode) for run in find_runs(labels, nested=True) for episode in read_episodes(run)]
    assert len(table) == sum(len(episode.steps) for _, episode in episodes)
    assert told.startswith(f"{len(table)} steps of 4 instances are in ")
    for run, episode in episodes:
        rows = table[(table["run"] == episode.run) & (table["instance"] == episode.instance)]
        found = read_labels(run)[episode.instance].steps
        assert list(rows["agree"]) == [label.agree for label in found]
        assert list(rows["kl"]) == pytest.approx([label.kl for label in found])
        assert list(rows["action"]) == [step.action for step in episode.steps]
        assert ((rows["low_action"] == rows["high_action"]) == rows["agree"]).all()
        assert (rows["action"] == rows["low_action"].where(rows["model"] == "low", rows["high_action"])).all()
    card = (tmp_path / "data" / "README.md").read_text()
    for run in find_runs(labels, nested=True):
        rows = table[table["run"] == next(iter(read_episodes(run))).run]
        assert f"| 4 | 0 | {len(rows)} | {1 - rows['agree'].mean():.1%} |" in card
    assert all(f"| `{name}` |" in card for name in COLUMNS)


def test_routers_are_scored_without_a_model(labels: Path) -> None:
    table = label_table(labelled_runs(labels))
    apart = int((~table["agree"]).sum())
    assert 0 < apart < len(table)
    told = mixroute(
        *("score-labels", labels, "--router", "always-high", "--router", "always-low", "--router", "agreement-oracle"),
        *("--router", "uncertainty,threshold=0"),
        cwd=labels,
    ).stdout
    assert f"{len(table)} steps; at {apart} the models act otherwise" in told
    share = f"{100 * apart / len(table):.1f}"
    rows = {words[0]: words[1:3] for words in map(str.split, told.splitlines()) if words}
    assert rows["always-high"] == ["100.0", "100.0"]
    assert rows["always-low"] == ["0.0", "0.0"]
    assert rows["agreement-oracle"] == [share, "100.0"]
    assert rows["uncertainty(threshold=0)"] == ["100.0", "100.0"]


class ByEntropy:
    """High where low's answer is less sure than a threshold, which it logs the doubt for."""

    granularity: ClassVar[Granularity] = "step"

    async def act(self, step: Step) -> Completion:
        draft = await step.ask("low")
        step.log(doubt=draft.statistics.mean_entropy)
        return await step.ask("high") if draft.statistics.mean_entropy > 3.5 else draft


def test_what_a_router_logs_is_ranked_against_the_labels(labels: Path) -> None:
    from sklearn.metrics import roc_auc_score

    runs = labelled_runs(labels)
    found = score_router(ByEntropy(), runs)
    doubts, differ, high = [], [], 0
    for run in runs:
        labelled = read_labels(run)
        for episode in read_episodes(run):
            for step, label in zip(episode.steps, labelled[episode.instance].steps, strict=True):
                entropies = [nats for call in step.calls if call.model == "low" for nats in call.entropies]
                doubts.append(sum(entropies) / len(entropies))
                differ.append(not label.agree)
                high += doubts[-1] > 3.5
    assert found.auc == {"doubt": pytest.approx(roc_auc_score(differ, doubts), abs=1e-3)}
    assert found.high_share == pytest.approx(high / found.steps)


class Reads:
    granularity: ClassVar[Granularity] = "step"

    async def act(self, step: Step) -> Completion:
        return await step.read("low")


def test_what_labels_do_not_hold_is_named(labels: Path, tmp_path: Path) -> None:
    with pytest.raises(MixrouteError, match="labels do not hold what the router asks for"):
        score_router(Reads(), labelled_runs(labels))
    (run, *_) = labelled_runs(labels)
    shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("labels.jsonl"))
    with pytest.raises(MixrouteError, match="has no labelled run: give a folder of 'mixroute label'"):
        labelled_runs(tmp_path)
