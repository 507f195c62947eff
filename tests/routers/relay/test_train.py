"""From a recipe to an entry, through the command line, with real tiny models."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch
import yaml
from rich.console import Console
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from harness.board.table import build_board
from harness.config import shipped_names
from harness.engine.runner import SuiteRunner
from harness.pool import ModelSpec, load_pool, save_pool
from harness.suite import Suite
from harness.traces.contamination import trained_on
from harness.traces.pack import pack_run
from harness.traces.store import find_runs, read_episodes, read_meta
from harness.training.agent import tokenizer_of
from harness.training.examples import IGNORED
from harness.training.recipe import load_recipe
from harness.training.splits import open_train_and_dev
from harness.training.state import save_state
from harness.verify.entry import verify_entry
from harness.verify.pools import read_pools
from mixroute import MixrouteError, register_task
from routers.relay.recipe import RelayRecipe
from routers.relay.train import train_relay
from routers.relay.training_data import warm_up_set
from tests.command import mixroute
from tests.harness.verify.editing import Entry, copy_inline, failed, read, write
from tests.routers.guess_recipe import GUESS, write_guess_recipe
from tests.routers.pyramid.guess import Guess
from tests.routers.relay.cheats import CHEATS
from tests.routers.relay.talker import save_talker

LENGTH = {"max_tokens": 40}

register_task("guess")(Guess)  # a task that is named by its file is not opened by verify


def write_recipe(folder: Path, pool: Path, **changes: Any) -> Path:
    keys = {
        "lora": {"rank": 8, "alpha": 16},
        "precision": "float32",
        "warm_up": {"samples": 2, "epochs": 3, "learning_rate": 0.002, "tokens": 9, "temperature": 0.6},
        "grpo": {"iterations": 2, "prompts": 4, "group": 4, "learning_rate": 0.001},
    }
    return write_guess_recipe(folder, pool, train_count=24, dev_count=6, **LENGTH, **keys | changes)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pool of two small models that answer with digits; the smaller one may call the other."""
    folder = tmp_path_factory.mktemp("pair")
    save_talker(folder / "high", seed=0, commands=0, steps=60)
    save_talker(folder / "low", seed=1, commands=1, steps=120)
    path = folder / "pool.yaml"
    models = {name: {"weights": str(folder / name)} for name in ("high", "low")}
    path.write_text(yaml.safe_dump({"schema": 1, "name": "pair", "models": models}))
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, pair: Path) -> Path:
    """A checkpoint, made by the command with another pool than the recipe's, which is not there."""
    folder = tmp_path_factory.mktemp("trained")
    made = mixroute("train", "relay", write_recipe(folder, folder / "none.yaml"), "--pool", pair, cwd=folder)
    assert made.stdout.strip().endswith("pool: runs/routers/small/checkpoint/pool.yaml")
    return folder / "runs/routers/small/checkpoint"


def test_the_card_says_what_it_is_made_of_and_the_pool_names_it(trained: Path, pair: Path) -> None:
    card = json.loads((trained / "card.json").read_bytes())
    assert card["recipe"]["grpo"]["kl"] == 0.01
    assert "train relay" in card["provenance"]["command"]
    facts = card["facts"]
    assert facts["prompts"] == 24 > facts["solved by large"] > 0
    assert facts["warm-up"]["examples"] > 0
    assert len(facts["history"]) == 2
    assert any(figures["called"] > 0 for figures in facts["history"])
    (dev,) = facts["dev"]
    assert set(dev["success alone"]) == {"low", "high"}
    models = load_pool(str(trained / "pool.yaml")).models
    assert {name: models[name] for name in ("high", "low")} == load_pool(str(pair)).models
    assert models["relay"].weights == models["low"].weights
    assert trained_on(models["relay"]) == {f"guess q/{number:04}" for number in range(24)}
    shutil.copytree(trained, moved := trained.parent / "moved")
    assert Path(str(load_pool(str(moved / "pool.yaml")).models["relay"].adapter)).samefile(moved)


def test_the_warm_up_may_be_all(tmp_path: Path, pair: Path) -> None:
    pool = train_relay(
        load_recipe(str(write_recipe(tmp_path, pair, grpo={"iterations": 0})), RelayRecipe), tmp_path / "made"
    )
    facts = json.loads((pool.parent / "card.json").read_bytes())["facts"]
    assert facts["history"] == [] and facts["warm-up"]["examples"] > 0
    assert not (tmp_path / "made/solved").exists()  # what the large model solves matters to GRPO alone
    warm, made = (
        load_file(one / "adapter_model.safetensors") for one in (tmp_path / "made/warm-up/model", pool.parent)
    )
    assert warm.keys() == made.keys()
    assert all(torch.equal(tensor, made[name]) for name, tensor in warm.items())


def test_what_is_logged_can_be_looked_at(trained: Path) -> None:
    events = EventAccumulator(str(trained.parent / "grpo/tensorboard"))
    events.Reload()
    assert {"reward", "success", "called", "rho", "kl", "clipped"} <= set(events.Tags()["scalars"])
    lines = (trained.parent / "grpo/log.jsonl").read_text().splitlines()
    history = json.loads((trained / "card.json").read_bytes())["facts"]["history"]
    assert [json.loads(line) for line in lines] == history


def test_examples_are_the_models_own_right_answers(trained: Path) -> None:
    played = [episode for run in find_runs(trained.parent / "sampled") for episode in read_episodes(run)]
    assert len(played) == 2 * 24
    assert {call.model for episode in played for call in episode.steps[0].calls} == {"low"}
    own = [episode for episode in played if episode.success and "<call>" not in episode.steps[0].text]
    assert json.loads((trained / "card.json").read_bytes())["facts"]["warm-up"]["examples"] == len(own)


def test_a_teachers_calls_are_learned_as_commands(tmp_path: Path, pair: Path) -> None:
    teacher = {"router": "token-random", "args": {"p": 0.3, "span": 2}}
    recipe = load_recipe(
        str(write_recipe(tmp_path, pair, warm_up={"teacher": teacher, "samples": 2, "temperature": 0})), RelayRecipe
    )
    tasks, _ = open_train_and_dev(recipe)
    tokenizer = tokenizer_of(recipe.specs()[0])
    training_set = warm_up_set(recipe, tasks, tokenizer, tmp_path / "sampled")

    played = [episode for run in find_runs(tmp_path / "sampled") for episode in read_episodes(run)]
    expected = []
    for episode in played:
        (step,) = episode.steps
        if "<call>" not in step.text:
            parts = [step.calls[part] for part in step.parts]
            said = [f"<call>{part.decoded_tokens}</call>" if part.model == "high" else part.text for part in parts]
            whole = [text + part.text * (part.model == "high") for text, part in zip(said, parts, strict=True)]
            end = tokenizer.eos_token * (parts[-1].model == "low" and parts[-1].finish == "stop")
            expected.append((step.observation + "".join(whole) + end, "".join(said) + end))
    made = [
        (tokenizer.decode(list(one.ids)), tokenizer.decode([label for label in one.labels if label != IGNORED]))
        for one in training_set.examples
    ]
    assert sorted(made) == sorted(expected)
    assert any("<call>2</call>" in learned for _, learned in made)
    assert len(made) > len([one for one in played if one.success])  # where to call is learned from wrong answers too


def test_a_training_that_was_stopped_ends_where_an_undisturbed_one_does(
    tmp_path: Path, trained: Path, pair: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "again"
    for name in ("sampled", "solved", "warm-up"):
        shutil.copytree(trained.parent / name, folder / name)
    shutil.copy(trained.parent / "recipe.json", folder)
    recipe = load_recipe(str(trained.parents[3] / "small.yaml"), RelayRecipe).with_pool(str(pair))

    def stopped(*_: object) -> None:
        save_state(*_)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("routers.relay.train.save_state", stopped)
        train_relay(recipe, folder)
    assert not (folder / "checkpoint").exists()
    made = train_relay(recipe, folder)
    whole, again = (load_file(path / "adapter_model.safetensors") for path in (trained, made.parent))
    assert whole.keys() == again.keys()
    assert all(torch.equal(whole[key], again[key]) for key in whole)
    written = (made.parent / "card.json").read_bytes()
    assert train_relay(recipe, folder) == made
    assert (made.parent / "card.json").read_bytes() == written


@pytest.fixture(scope="module")
def entry(trained: Path) -> Path:
    """A packed run of the trained router."""
    folder = trained.parents[3] / "played"
    task = {"task": "guess", "split": "test", "args": {"count": 30, "start": 200, **LENGTH}}
    routers = ["always-high", "always-low", "relay", {"router": "token-random", "args": {"p": 0.3}}]
    pool = str(trained / "pool.yaml")
    suite = {"schema": 1, "name": "relay", "pool": pool, "tasks": [task], "routers": routers, "temperature": 1.0}
    SuiteRunner(Suite.model_validate(suite), folder, Console(stderr=True)).run()
    packed = {read_meta(run).router: pack_run(run, folder / "entries") for run in find_runs(folder)}
    return packed["relay"]


def test_it_plays_and_stands_on_the_board(entry: Path, trained: Path) -> None:
    verdict = verify_entry(entry, pools=read_pools([trained / "pool.yaml"]))
    assert verdict.status == "ok", verdict
    steps = [episode.steps[0] for episode in read_episodes(entry)]
    assert any(step.scores["calls"] > 0 for step in steps)
    for step in steps:
        assert "<call>" not in step.text
        assert step.delimiter == "<call>"
        assert {call.model for call in step.calls} <= {"relay", "high"}
        history = plain = ""
        for call in step.calls:  # what is gone on from is read, and charged: a token a byte, after a prompt of four
            read_before = len((plain if call.model == "high" else history).encode())
            assert call.prompt_tokens == 4 + read_before
            assert call.cached_tokens in (0, 4)
            written, opened, _ = call.text.partition("<call>")
            plain += written
            history += f"{call.text}</call>" if opened and call.model == "relay" else call.text
    (row,) = (row for row in build_board(find_runs(entry.parent)).rows if row.router == "relay")
    assert row.high_share == pytest.approx(fmean(step.high_share for step in steps))
    assert isinstance(asked := row.tokens["high"].input, float)
    assert asked > 0
    assert {one.kind for one in row.against} >= {"always-high"}


@pytest.mark.parametrize(("cheat", "caught"), CHEATS)
def test_a_cheat_is_caught(
    tmp_path: Path, entry: Path, trained: Path, cheat: Callable[[Entry], None], caught: str
) -> None:
    copy_inline(entry, tmp_path / "entry")
    content = read(entry)
    cheat(content)
    write(content, tmp_path / "entry")
    assert caught in failed(tmp_path / "entry", read_pools([trained / "pool.yaml"]))


def test_what_the_small_model_has_seen_is_not_reported(tmp_path: Path, trained: Path) -> None:
    task = {"task": GUESS, "split": "test", "args": {"count": 3, "start": 23, **LENGTH}}
    pool = str(trained / "pool.yaml")
    suite = {"schema": 1, "name": "leaky", "pool": pool, "tasks": [task], "routers": ["always-high"]}
    with pytest.raises(MixrouteError, match="pool.yaml' was trained on q/0023 of task"):
        SuiteRunner(Suite.model_validate(suite), tmp_path, Console())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dev": [{"task": GUESS, "split": "dev", "args": {"count": 24}}]}, "no instance in split 'train' left"),
        ({"small": "middle"}, "has no model 'middle'"),
        ({"small": "high"}, "small and large are both 'high'"),
        ({"tasks": [{"task": "alfworld-gen", "split": "train", "limit": 1}]}, "router is trained on tasks of one"),
        ({"warm_up": {"teacher": "token-random", "unsure": 1}}, "places the commands itself: leave out unsure"),
        ({"warmup": {}}, "unknown key 'warmup': did you mean 'warm_up'"),
    ],
)
def test_wrong_recipes_are_named(tmp_path: Path, pair: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(MixrouteError, match=message):
        train_relay(load_recipe(str(write_recipe(tmp_path, pair, **changes)), RelayRecipe), tmp_path / "made")


def test_it_goes_on_from_the_adapter_that_the_small_model_has(tmp_path: Path, trained: Path, pair: Path) -> None:
    models = load_pool(str(pair)).models
    low = models["low"].model_copy(update={"adapter": str(trained)})
    pool = save_pool(tmp_path / "pool.yaml", "tuned", "", {"high": models["high"], "low": low})
    recipe = load_recipe(
        str(
            write_recipe(
                tmp_path,
                pool,
                tasks=[{"task": GUESS, "split": "train", "args": {"count": 14, "start": 20, **LENGTH}}],
                lora={"rank": 2, "alpha": 2},
                warm_up={"epochs": 1, "samples": 3, "unsure": 0.0},
                grpo={"iterations": 1, "prompts": 2, "group": 3},
            )
        ),
        RelayRecipe,
    )
    made = train_relay(recipe, tmp_path / "made").parent
    card = json.loads((made / "card.json").read_bytes())
    assert card["facts"]["prompts"] == 10  # what the adapter has seen is left out
    assert trained_on(ModelSpec(weights="", adapter=str(made))) == {f"guess q/{number:04}" for number in range(34)}
    before, after = (load_file(path / "adapter_model.safetensors") for path in (trained, made))
    assert {key: one.shape for key, one in before.items()} == {key: one.shape for key, one in after.items()}
    assert any(not torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("name", shipped_names(RelayRecipe.shipped))
def test_every_shipped_recipe_is_valid(name: str) -> None:
    recipe = load_recipe(name, RelayRecipe)
    assert recipe.name == name
    assert recipe.warm_up_recipe(recipe.specs()[0]).pool == recipe.pool
