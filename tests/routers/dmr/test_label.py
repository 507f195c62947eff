"""Labels of where two models part, and the network that learns them."""

from __future__ import annotations

import json
import math
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from harness.backends.loading import open_for_comparison
from harness.config import shipped_names
from harness.contracts import Teachable
from harness.pool import load_pool
from harness.sharing import SharedCache
from harness.traces.store import find_runs, read_episodes
from harness.training.recipe import load_recipe
from mixroute import MixrouteError, Observation, Turn, open_task
from routers.dmr.checkpoint import SHIPPED, load_checkpoint
from routers.dmr.data import LabelledEpisode
from routers.dmr.features import views
from routers.dmr.kl_sft import fit, targets
from routers.dmr.label import StepLabel, read_labels
from routers.dmr.network import NetworkConfig, RouterNetwork, Trajectory
from routers.dmr.recipe import DmrRecipe, KlSftRecipe
from tests.command import mixroute
from tests.tiny_model import save_tiny_model


def write_recipe(folder: Path, pool: Path, **changes: Any) -> Path:
    content = {
        "schema": 1,
        "name": "tiny",
        "pool": str(pool),
        "tasks": [{"task": "alfworld-gen", "split": "train", "args": {"games": 10, "seed": 9000, "step_cap": 4}}],
        "dev": [{"task": "alfworld-gen", "split": "dev", "limit": 2, "args": {"step_cap": 3}}],
        "precision": "float32",
        "network": {"width": 16, "layers": 1, "heads": 2},
        "kl_sft": {"rates": [0.3], "epochs": 2},
        "grpo": {"lambdas": [0.1, 1.0], "rates": [0.3], "iterations": 2, "instances": 3, "group": 2},
        **changes,
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory, tiny_pool: Path) -> Path:
    folder = tmp_path_factory.mktemp("labels")
    mixroute("label", write_recipe(folder, tiny_pool), cwd=folder)
    (run,) = find_runs(folder / "runs" / "routers" / "tiny" / "labels")
    return run


@torch.inference_mode()
def logprobs(model: Any, ids: list[int]) -> torch.Tensor:
    return torch.log_softmax(model(input_ids=torch.tensor([ids])).logits[0].double(), -1)


def test_labels_are_what_both_models_say_at_every_step(labels: Path, tiny_pool: Path) -> None:
    models = load_pool(str(tiny_pool)).models
    (high, encoder), (low, _) = (open_for_comparison(name, models[name]) for name in ("high", "low"))
    task = open_task("alfworld-gen", split="train", games=10, seed=9000, step_cap=4)
    assert isinstance(task, Teachable)
    found = read_labels(labels)
    checked = 0
    for episode in read_episodes(labels):
        turns = episode.turns
        assert len(found[episode.instance].steps) == len(turns)
        for index, (step, label) in enumerate(zip(episode.steps, found[episode.instance].steps, strict=True)):
            texts = {call.model: call.text for call in step.calls}
            assert sorted(texts) == ["high", "low"]
            assert step.calls[-1].model == step.model  # whose keys and values a shared cache then holds
            assert step.text == texts[step.model]
            assert label.agree == (task.parse_action(texts["high"]) == task.parse_action(texts["low"]))
            assert label.kl is None or label.kl >= 0
            assert label.choice is not None
            if index % 3 or label.kl is None:
                continue
            prompt = task.prompt(turns[:index], Observation(step.observation, tuple(step.admissible)))
            start = encoder.encode(prompt).ids
            ids = encoder.encode(prompt, texts["high"]).ids
            ours, theirs = (logprobs(model, ids)[len(start) - 1 :] for model in (high, low))
            kl = (ours.exp() * (ours - theirs)).sum(-1)
            assert label.kl == pytest.approx(float(kl.mean()), rel=1e-3, abs=1e-6)
            assert label.flip == bool((ours.argmax(-1) != theirs.argmax(-1)).any())
            likelihoods = []
            for model in (high, low):
                sums = []
                for action in step.admissible:
                    whole = encoder.encode(prompt, task.completion_text(action) + "\n").ids
                    each = logprobs(model, whole)[len(start) - 1 : -1]
                    sums.append(each.gather(-1, torch.tensor(whole[len(start) :])[:, None]).sum())
                likelihoods.append(torch.log_softmax(torch.stack(sums), 0))
            choice = float((likelihoods[0].exp() * (likelihoods[0] - likelihoods[1])).sum())
            assert label.choice == pytest.approx(choice, rel=1e-3, abs=1e-4)
            checked += 1
    assert checked > 5


def test_where_the_agent_thinks_the_action_and_the_reply_are_labelled(tmp_path: Path) -> None:
    save_tiny_model(tmp_path / "weights", letters="abcdefg")
    weights = str(tmp_path / "weights")
    given = {"high": {"weights": weights}, "low": {"weights": weights, "options": {"quantization": "nf4"}}}
    (tmp_path / "pool.yaml").write_text(yaml.safe_dump({"schema": 1, "name": "letters", "models": given}))
    args = {"games": 4, "seed": 9000, "step_cap": 3, "prompt": "think"}
    tasks = [{"task": "alfworld-gen", "split": "train", "args": args}]
    mixroute("label", write_recipe(tmp_path, tmp_path / "pool.yaml", tasks=tasks, choices=False), cwd=tmp_path)
    (run,) = find_runs(tmp_path / "runs" / "routers" / "tiny" / "labels")
    models = load_pool(str(tmp_path / "pool.yaml")).models
    (high, encoder), (low, _) = (open_for_comparison(name, models[name]) for name in ("high", "low"))
    task = open_task("alfworld-gen", split="train", **args)
    acted = set()
    for episode in read_episodes(run):
        for index, (step, label) in enumerate(
            zip(episode.steps, read_labels(run)[episode.instance].steps, strict=True)
        ):
            prompt = task.prompt(episode.turns[:index], episode.turns[index].observation)
            start = len(encoder.encode(prompt).ids)
            kl = {}
            replies = {
                model: "".join(call.forced + call.text for call in step.calls if call.model == model)
                for model in ("high", "low")
            }
            for model, reply in replies.items():
                ids = encoder.encode(prompt, reply + "</action>").ids
                ours, theirs = (logprobs(one, ids)[start - 1 : -1] for one in (high, low))
                kl[model] = (ours.exp() * (ours - theirs)).sum(-1)
            assert label.agree == (task.parse_action(replies["high"]) == task.parse_action(replies["low"]))
            assert step.text == replies[step.model]
            part = slice(None)
            if step.action:
                begun = step.text.index(step.action, step.text.rindex("<action>") + len("<action>"))
                # A token is a letter here, and the one that ends the action counts, too.
                part = slice(begun, begun + len(step.action) + 1)
            assert label.kl == pytest.approx(float(kl[step.model][part].mean()), abs=1e-5)
            assert label.reply == pytest.approx(float(kl["high"].mean()), abs=1e-5)
            acted.add(step.model)
    assert acted == {"high", "low"}


def test_a_stopped_labelling_goes_on(labels: Path, tiny_pool: Path) -> None:
    path, folder = labels / "labels.jsonl", labels.parents[4]
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:4]) + lines[4][:20])
    told = mixroute("label", "recipe.yaml", cwd=folder).stdout
    assert path.read_bytes() == whole
    steps = [label for episode in read_labels(labels).values() for label in episode.steps]
    differ = sum(not label.agree for label in steps) / len(steps)
    assert f"10 episodes, 0 won; {len(steps)} steps, at {differ:.1%} the models' actions differ" in told


def test_both_stages_train_from_one_command_and_go_on(labels: Path) -> None:
    folder = labels.parents[4]
    first = mixroute("train", "dmr", "recipe.yaml", cwd=folder)
    made = [line.removeprefix("checkpoint: ") for line in first.stdout.splitlines()]
    assert [Path(path).name for path in made] == ["lambda0.1-k30", "lambda1-k30"]
    weights = [(folder / path / "network.safetensors").read_bytes() for path in made]
    again = mixroute("train", "dmr", "recipe.yaml", cwd=folder)
    assert again.stdout == first.stdout
    # Thrown back to its first iteration, training comes to the same end.
    target = folder / made[0]
    for path in target.iterdir():
        path.unlink()
    target.rmdir()
    mixroute("train", "dmr", "recipe.yaml", cwd=folder)
    assert (target / "network.safetensors").read_bytes() == weights[0]


def test_stage_two_goes_on_from_a_given_checkpoint_without_labels(labels: Path, tiny_pool: Path) -> None:
    folder = labels.parents[4]
    mixroute("train", "kl-sft", "recipe.yaml", cwd=folder)
    start = folder / "runs" / "routers" / "tiny" / "kl-sft" / "k30"
    grpo = {"start": str(start), "lambdas": [0.1], "iterations": 1, "instances": 1, "learning_rate": 1e-12}
    (folder / "given").mkdir()
    tasks = [{"task": "alfworld-gen", "split": "train", "args": {"games": 2, "seed": 700, "step_cap": 3}}]
    shared = folder / "given" / "pool.yaml"
    shared.write_text(f"{tiny_pool.read_text()}kv_cache: {{shared: [high, low]}}\n")
    path = write_recipe(folder / "given", shared, name="given", tasks=tasks, grpo=grpo)
    (made,) = mixroute("train", "dmr", path, cwd=folder).stdout.splitlines()
    assert made.endswith("dmr/lambda0.1")
    assert not (folder / "runs" / "routers" / "given" / "labels").exists()
    after, card, seen = load_checkpoint(folder / made.removeprefix("checkpoint: "))
    before, card_before, seen_before = load_checkpoint(start)
    assert card_before.kv_cache is None
    assert card.kv_cache == SharedCache(shared=["high", "low"])
    for ours, theirs in zip(after.parameters(), before.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)
    assert seen > seen_before
    path = write_recipe(folder / "given", tiny_pool, name="other", network={"width": 24, "heads": 2}, grpo=grpo)
    assert "give the recipe's 'network' these values" in mixroute("train", "dmr", path, cwd=folder, code=2).stderr


def test_stage_one_that_is_there_is_not_labelled_for(labels: Path, tiny_pool: Path) -> None:
    folder = labels.parents[4]
    mixroute("train", "kl-sft", "recipe.yaml", cwd=folder)
    routers = folder / "runs" / "routers"
    shutil.copytree(routers / "tiny" / "kl-sft", routers / "copied" / "kl-sft")
    (folder / "copied").mkdir()
    path = write_recipe(folder / "copied", tiny_pool, name="copied")
    mixroute("train", "kl-sft", path, cwd=folder)
    assert not (routers / "copied" / "labels").exists()


def test_stage_two_begins_with_what_the_threshold_chose(labels: Path, tiny_pool: Path) -> None:
    folder = labels.parents[4]
    grpo = {"lambdas": [0.1], "rates": [0.3], "threshold": 0.2, "iterations": 1, "instances": 1, "learning_rate": 1e-12}
    (folder / "moved").mkdir()
    path = write_recipe(folder / "moved", tiny_pool, name="moved", labels="tiny", grpo=grpo)
    (made,) = mixroute("train", "dmr", path, cwd=folder).stdout.splitlines()
    after, _, _ = load_checkpoint(folder / made.removeprefix("checkpoint: "))
    before, _, _ = load_checkpoint(folder / "runs" / "routers" / "moved" / "kl-sft" / "k30")
    trajectories = [one.trajectory for one in synthetic(20, 0)]
    with torch.inference_mode():
        chosen = torch.sigmoid(before.eval()(trajectories)) >= 0.2
        likelier = torch.sigmoid(after.eval()(trajectories)) >= 0.5
    assert torch.equal(chosen, likelier)


def synthetic(count: int, seed: int, unrecoverable_from: int = 8) -> list[LabelledEpisode]:
    """Episodes whose steps are sensitive exactly where a lamp is shown and nothing was done before about it."""
    rng = random.Random(seed)
    data = []
    for number in range(count):
        shown = [rng.choice(["a lamp", "a desk", "a bed", "a door"]) for _ in range(8)]
        turns = [Turn(Observation(text), "go", "go") for text in shown[:-1]]
        labels = []
        for index, text in enumerate(shown):
            kl = rng.random() * 0.1 + (1.0 if text == "a lamp" and "a lamp" not in shown[:index] else 0.0)
            labels.append(StepLabel(kl, None, kl < 1, kl > 1))
        trajectory = Trajectory(views(turns, Observation(shown[-1]), ["low"] * 7))
        data.append(LabelledEpisode(f"{seed} {number}", trajectory, tuple(labels), unrecoverable_from))
    return data


def test_stage_one_learns_what_the_past_decides() -> None:
    torch.manual_seed(0)
    data, tau = targets(synthetic(300, 0), KlSftRecipe(), 0.1)
    assert tau is not None
    network = RouterNetwork(NetworkConfig(width=32, layers=2, heads=2))
    figures = fit(network, data, KlSftRecipe(epochs=12, learning_rate=3e-3), 0)
    assert figures["auc"] > 0.97
    assert figures["sensitive"] == pytest.approx(0.1, abs=0.04)


@pytest.mark.parametrize("rate", [0.05, 0.2, 0.5])
def test_a_rate_calls_that_share_of_steps_sensitive(rate: float) -> None:
    data, tau = targets(synthetic(100, 1), KlSftRecipe(), rate)
    called = [value for _, row in data for value in row]
    assert sum(called) / len(called) == pytest.approx(rate, abs=0.01)
    kls = [step.kl for one, _ in data for step in one.labels if step.kl is not None and tau is not None]
    assert sum(kl >= (tau or math.inf) for kl in kls) == sum(called)


def test_steps_that_save_nothing_are_not_sensitive_if_so_told() -> None:
    kept, _ = targets(synthetic(50, 1, unrecoverable_from=4), KlSftRecipe(), 0.3)
    low, _ = targets(synthetic(50, 1, unrecoverable_from=4), KlSftRecipe(unrecoverable_steps="low"), 0.3)
    assert [row[:4] for _, row in low] == [row[:4] for _, row in kept]
    assert any(any(row[4:]) for _, row in kept)
    assert not any(any(row[4:]) for _, row in low)


def test_older_recipes_are_read(tmp_path: Path, tiny_pool: Path) -> None:
    old = write_recipe(tmp_path, tiny_pool, drive=0.25, kl_sft={"doomed": "low", "rates": [0.3]})
    recipe = load_recipe(str(old), DmrRecipe)
    assert (recipe.behaviour_high_share, recipe.kl_sft.unrecoverable_steps) == (0.25, "low")
    written = recipe.model_dump(mode="json", by_alias=True)
    assert (written["behaviour_high_share"], written["kl_sft"]["unrecoverable_steps"]) == (0.25, "low")
    for card in SHIPPED.glob("*/card.json"):
        DmrRecipe.model_validate(json.loads(card.read_bytes())["recipe"])


@pytest.mark.parametrize("name", shipped_names(DmrRecipe.shipped))
def test_every_shipped_recipe_is_valid(name: str) -> None:
    assert load_recipe(name, DmrRecipe).name == name


@pytest.mark.parametrize(("kind", "message"), [("choice", "no step has a label of kind 'choice'")])
def test_labels_that_teach_nothing_are_refused(kind: Any, message: str) -> None:
    with pytest.raises(MixrouteError, match=message):
        targets(synthetic(5, 2), KlSftRecipe(label=kind), 0.1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"grpo": {"rates": [0.2]}}, r"grpo.rates has 0.2, for which kl_sft.rates \[0.3\] has no network"),
        ({"dev": [{"task": "alfworld-gen", "split": "train"}]}, "dev plays split 'train' of task 'alfworld-gen'"),
        ({"kl_sft": {"label": "choice", "rates": [0.3]}, "choices": False}, "label 'choice' needs 'choices: true'"),
        ({"grpo": {"lambda": [1]}}, "unknown key 'grpo.lambda': did you mean 'lambdas'"),
    ],
)
def test_wrong_recipes_are_named(tmp_path: Path, tiny_pool: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(MixrouteError, match=message):
        load_recipe(str(write_recipe(tmp_path, tiny_pool, **changes)), DmrRecipe)
