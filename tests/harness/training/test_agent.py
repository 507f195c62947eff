"""``mixroute train agent`` on a tiny model: it learns, it resumes, and it keeps training and test games apart."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from harness.pool import ModelSpec, load_pool
from harness.traces.contamination import trained_on
from tests.command import mixroute, start, wait_until


def write_recipe(folder: Path, pool: Path, **changes: Any) -> Path:
    recipe = {
        "schema": 1,
        "name": "tiny",
        "pool": str(pool),
        "lessons": [{"task": "alfworld-gen", "args": {"games": 8}, "slips": 0.1}],
        "dev": [{"task": "alfworld-gen", "split": "dev", "limit": 2, "args": {"step_cap": 2}}],
        "lora": {"rank": 4, "alpha": 8},
        "epochs": 3,
        "learning_rate": 0.01,
        "batch_tokens": 4096,
        "longest": 4096,
        "precision": "float32",
        "evaluations": 2,
        **changes,
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


def losses(folder: Path) -> list[float]:
    logs = next((folder / "checkpoints").rglob("events.out.tfevents.*")).parent
    events = EventAccumulator(str(logs))
    events.Reload()
    assert "eval/alfworld-gen/dev/success" in events.Tags()["scalars"]
    return [event.value for event in events.Scalars("train/loss")]


@pytest.mark.parametrize("lora", [{"rank": 4, "alpha": 8}, pytest.param(None, marks=pytest.mark.slow)])
def test_learns_and_what_it_ships_can_be_played(tmp_path: Path, tiny_pool: Path, lora: dict[str, int] | None) -> None:
    recipe = write_recipe(tmp_path, tiny_pool, lora=lora, epochs=8)
    mixroute("train", "agent", recipe, "--out", "work", cwd=tmp_path)
    curve = losses(tmp_path / "work")
    assert curve[-1] < curve[0]
    model = tmp_path / "work" / "model"
    card = json.loads((model / "card.json").read_text())
    assert card["examples"] == 8
    assert card["dev"][-1]["step"] == card["updates"]
    weights = str(load_pool(str(tiny_pool)).models["high"].weights)
    spec = ModelSpec(weights=weights, adapter=str(model)) if lora else ModelSpec(weights=str(model))
    assert len(trained_on(spec)) == 8
    pool = {"schema": 1, "name": "tuned", "models": {"high": spec.model_dump(exclude_none=True)}}
    (tmp_path / "pool.yaml").write_text(yaml.safe_dump(pool))
    played = mixroute("run", suite(tmp_path, "dev"), "--out", "played", cwd=tmp_path)
    assert "played" in played.stdout
    # Games that the weights have seen are not reported on.
    refused = mixroute("run", suite(tmp_path, "train"), "--out", "refused", cwd=tmp_path, code=2)
    assert "was trained on train/" in refused.stderr
    assert not (tmp_path / "refused").exists()


@pytest.mark.slow
def test_a_second_round_starts_from_the_first_and_both_are_averaged(tmp_path: Path, tiny_pool: Path) -> None:
    mixroute("train", "agent", write_recipe(tmp_path, tiny_pool, epochs=1), "--out", "one", cwd=tmp_path)
    lessons = [
        {"task": "alfworld-gen", "args": {"games": 4, "step_cap": 30}, "takeover": True},
        {"task": "alfworld-gen", "args": {"games": 10, "step_cap": 30}, "takeover": True, "unseen": True},
        {"task": "alfworld-gen", "args": {"games": 12}, "unseen": True},
    ]
    recipe = write_recipe(tmp_path, tiny_pool, lessons=lessons, start="one/model", epochs=1)
    mixroute("train", "agent", recipe, "--out", "two", cwd=tmp_path)
    assert len(list((tmp_path / "two" / "played").rglob("episodes.jsonl"))) == 2
    one, two = (trained_on(ModelSpec(weights="", adapter=str(tmp_path / n / "model"))) for n in ("one", "two"))
    assert len(one) == 8
    assert one < two
    assert len(two) == 12
    first, second = (json.loads((tmp_path / n / "model" / "card.json").read_text()) for n in ("one", "two"))
    assert second["examples"] == 4 + 2 + 4
    assert second["base"]["card"] == first

    average = ("train", "average", "one/model")
    mixroute(*average, "two/model", "--out", "mean", cwd=tmp_path)
    folders = [tmp_path / name for name in ("one/model", "two/model", "mean")]
    before, after, mean = (load_file(folder / "adapter_model.safetensors") for folder in folders)
    assert any(not torch.equal(before[key], after[key]) for key in mean)
    assert all(torch.equal(mean[key], ((before[key].double() + after[key]) / 2).to(mean[key].dtype)) for key in mean)
    assert trained_on(ModelSpec(weights="", adapter=str(folders[2]))) == two
    assert json.loads((folders[2] / "card.json").read_text())["mean_of"] == [first, second]
    assert "name two or more" in mixroute(*average, "--out", "x", cwd=tmp_path, code=2).stderr
    assert "mean exists" in mixroute(*average, "two/model", "--out", "mean", cwd=tmp_path, code=2).stderr
    assert "cannot be read" in mixroute(*average, "two", "--out", "x", cwd=tmp_path, code=2).stderr


def suite(folder: Path, split: str) -> Path:
    path = folder / "suite.yaml"
    path.write_text(
        f"schema: 1\nname: s\npool: {folder}/pool.yaml\ntasks:\n"
        f"  - {{task: alfworld-gen, split: {split}, limit: 1, args: {{step_cap: 1, games: 6}}}}\n"
        "routers: [always-high]\n"
    )
    return path


def test_a_killed_training_ends_where_an_undisturbed_one_does(tmp_path: Path, tiny_pool: Path) -> None:
    recipe = write_recipe(tmp_path, tiny_pool, epochs=8, evaluations=4)
    mixroute("train", "agent", recipe, "--out", "whole", cwd=tmp_path)
    process = start("train", "agent", recipe, "--out", "killed", cwd=tmp_path)
    wait_until(lambda: list((tmp_path / "killed").glob("checkpoints/checkpoint-*/trainer_state.json")), process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    # A checkpoint that was not written whole is passed over.
    (tmp_path / "killed" / "checkpoints" / "checkpoint-9999").mkdir()
    mixroute("train", "agent", recipe, "--out", "killed", cwd=tmp_path)
    whole, killed = (load_file(tmp_path / n / "model" / "adapter_model.safetensors") for n in ("whole", "killed"))
    assert whole.keys() == killed.keys()
    assert all(whole[key].equal(killed[key]) for key in whole)


def test_a_folder_of_another_recipe_is_refused(tmp_path: Path, tiny_pool: Path) -> None:
    mixroute("train", "agent", write_recipe(tmp_path, tiny_pool, epochs=1), "--out", "work", cwd=tmp_path)
    other = write_recipe(tmp_path, tiny_pool, epochs=2)
    assert "epochs = 1.0" in mixroute("train", "agent", other, "--out", "work", cwd=tmp_path, code=2).stderr


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dev": [{"task": "alfworld-gen", "split": "train", "args": {"games": 4}}]}, "is trained on and in dev"),
        ({"model": "medium"}, "no model 'medium'"),
        ({"start": "nowhere"}, "nowhere: there is no adapter"),
        ({"lessons": [{"task": "alfworld-gen", "takeover": True}]}, "name its adapter under 'start'"),
        ({"learningrate": 1}, "did you mean 'learning_rate'"),
        ({"lessons": [{"task": "alfworld-gen", "args": {"games": 2}}], "longest": 10}, "no example to learn from"),
    ],
)
def test_bad_recipes_are_named(tmp_path: Path, tiny_pool: Path, changes: dict[str, Any], message: str) -> None:
    recipe = write_recipe(tmp_path, tiny_pool, **changes)
    assert message in mixroute("train", "agent", recipe, "--out", "work", cwd=tmp_path, code=2).stderr
