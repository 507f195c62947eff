"""From a recipe to a board, through the command line, with real small models."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from harness.board.render import to_markdown
from harness.board.table import build_board
from harness.config import shipped_names
from harness.engine.runner import SuiteRunner
from harness.suite import Suite
from harness.traces.contamination import read_seen
from harness.traces.store import find_runs, read_episodes, read_meta
from harness.training.recipe import load_recipe
from harness.verify.entry import verify_entry
from mixroute import MixrouteError, open_router
from routers.pyramid.checkpoint import load_checkpoint
from routers.pyramid.features import FEATURES, features, majority
from routers.pyramid.recipe import PyramidRecipe
from routers.pyramid.router import value_of_computation
from routers.pyramid.train import train_pyramid
from tests.command import mixroute
from tests.routers.guess_recipe import GUESS, write_guess_recipe
from tests.tiny_model import save_tiny_model

MEMBERS = ["one", "two", "three"]


def write_recipe(folder: Path, pool: Path, **changes: Any) -> Path:
    trees = {"n_estimators": 10, "min_samples_leaf": 3}
    return write_guess_recipe(folder, pool, train_count=60, dev_count=24, **{"trees": trees} | changes)


@pytest.fixture(scope="module")
def ladder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pool of four different random models."""
    folder = tmp_path_factory.mktemp("ladder")
    models = {}
    for seed, name in enumerate([*MEMBERS, "high"]):
        save_tiny_model(folder / name, seed)
        models[name] = {"weights": str(folder / name)}
    path = folder / "pool.yaml"
    path.write_text(yaml.safe_dump({"schema": 1, "name": "tiny-ladder", "models": models}, sort_keys=False))
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, ladder: Path) -> Path:
    """A checkpoint, made by the command with another pool than the recipe's, which is not there."""
    folder = tmp_path_factory.mktemp("trained")
    recipe = write_recipe(folder, folder / "none.yaml")
    made = mixroute("train", "pyramid", recipe, "--pool", ladder, cwd=folder)
    checkpoint = folder / "runs/routers/small/checkpoint"
    assert made.stdout.strip() == "checkpoint: runs/routers/small/checkpoint"
    return checkpoint


def test_the_card_says_what_it_is_made_of(trained: Path) -> None:
    card = json.loads((trained / "card.json").read_bytes())
    assert card["recipe"]["seed"] == 0
    assert "train pyramid" in card["provenance"]["command"]
    assert set(card["pool"]) == {*MEMBERS, "high"}
    facts = card["facts"]
    assert (facts["train"], facts["dev"]) == (60, 24)
    assert set(facts["accuracy"]) == {*MEMBERS, "majority", "oracle plain", "oracle anchored"}
    assert {"auc", "brier", "calibration_error"} == set(facts["p_wrong"])
    rules = {f"{way} {rule}" for way in ("plain", "anchored") for rule in ("threshold", "value")}
    assert set(facts["chosen"]) == {*rules, "confidence", "frugal"}
    for rule, outcome in facts["chosen"].items():
        if not rule.startswith("anchored"):
            assert outcome["accuracy"] >= 0.95 * facts["accuracy"]["oracle plain"] - 1e-9, rule
    # Thresholds were chosen on dev, which may then not be reported on either.
    seen = read_seen(trained)
    assert {f"guess q/{number:04}" for number in (*range(60), *range(100, 124))} == seen


def test_the_same_command_again_goes_on(trained: Path, ladder: Path) -> None:
    recipe = load_recipe(str(trained.parents[3] / "small.yaml"), PyramidRecipe).with_pool(str(ladder))
    written = (trained / "card.json").read_bytes()
    assert train_pyramid(recipe, trained.parent) == trained
    assert (trained / "card.json").read_bytes() == written


def test_what_it_learned_from_are_ordinary_runs(trained: Path) -> None:
    card = json.loads((trained / "card.json").read_bytes())
    right: dict[str, list[bool]] = {}
    for run in find_runs(trained.parent / "dev"):
        args = read_meta(run).config["router_args"]
        right[args.get("model", "anchored")] = [one.success for one in read_episodes(run)]
    shares = {name: sum(values) / len(values) for name, values in right.items()}
    accuracy = card["facts"]["accuracy"]
    assert shares == {
        **{name: accuracy[name] for name in MEMBERS},
        "high": accuracy["oracle plain"],
        "anchored": accuracy["oracle anchored"],
    }


ROUTERS: list[dict[str, Any]] = [
    {"router": "pyramid", "label": "default"},
    {"router": "pyramid", "label": "always", "args": {"threshold": 0.0}},
    {"router": "pyramid", "label": "anchored", "args": {"threshold": 0.0, "anchored": True}},
    {"router": "pyramid", "label": "value", "args": {"rule": "value"}},
    {"router": "confidence", "label": "confidence"},
    {"router": "frugal", "label": "frugal"},
    {"router": "frugal", "label": "never", "args": {"threshold": 1.0}},
    {"router": "majority-vote", "label": "vote"},
    {"router": "anchored-oracle", "label": "anchored-oracle"},
    {"router": "always-high", "label": "high"},
]


def test_it_plays_charges_all_and_decides_again_from_the_trace(tmp_path: Path, trained: Path, ladder: Path) -> None:
    routers = [
        {**one, "args": {**one.get("args", {}), "checkpoint": str(trained)}}
        if one["router"] in ("pyramid", "confidence", "frugal")
        else one
        for one in ROUTERS
    ]
    task = {"task": "arith-gen", "split": "dev", "limit": 6, "args": {"max_tokens": 6}}
    suite = {"schema": 1, "name": "pyramid", "pool": str(ladder), "tasks": [task], "routers": routers}
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump(suite))
    mixroute("run", "suite.yaml", cwd=tmp_path)
    learned, _ = load_checkpoint(str(trained))
    steps = {}
    for run in find_runs(tmp_path / "runs/pyramid"):
        (decides,) = (
            one for one in verify_entry(run, own=True).results if one.check == "the router decides as the trace says"
        )
        assert decides.status == "ok", decides
        episodes = list(read_episodes(run))
        assert not any(episode.error for episode in episodes)
        steps[read_meta(run).label] = [episode.steps[0] for episode in episodes]
    for label in ("default", "value", "vote", "always", "anchored", "anchored-oracle"):
        for step in steps[label]:
            assert [call.model for call in step.calls[:3]] == MEMBERS
            drafts = step.calls[:3]
            escalated = len(step.calls) == 4
            if label in ("default", "value"):
                p_wrong = learned.wrong.probability(features(drafts))
                value = value_of_computation(p_wrong, drafts, learned.plain, learned.tokens)
                wanted = value > learned.plain.kappa if label == "value" else p_wrong >= learned.plain.threshold
                assert escalated == wanted
            else:
                assert escalated == (label != "vote")
            assert step.model == ("high" if escalated else MEMBERS[majority(drafts)])
    # The anchor is read by the oracle, and charged.
    plain, anchored = ([step.calls[3].prompt_tokens for step in steps[label]] for label in ("always", "anchored"))
    assert all(more > less for more, less in zip(anchored, plain, strict=True))
    assert [step.calls[3] for step in steps["anchored"]] == [step.calls[3] for step in steps["anchored-oracle"]]
    for step in steps["confidence"]:
        doubt = -step.calls[0].statistics.content_and_end.mean_logprob
        assert [call.model for call in step.calls] == [learned.best, *(["high"] if doubt >= learned.doubt else [])]
    for step in steps["never"]:
        certain = [
            learned.right[name].probability(features([call])) == 1
            for name, call in zip(MEMBERS, step.calls, strict=False)
        ]
        assert step.model == "high" or certain[-1]
        assert not any(certain[:-1])
    board = to_markdown(build_board(find_runs(tmp_path / "runs/pyramid")))
    assert all(one["label"] in board for one in ROUTERS)


def test_a_query_that_it_has_seen_is_not_reported(tmp_path: Path, trained: Path, ladder: Path) -> None:
    task = {"task": GUESS, "split": "test", "args": {"count": 3, "start": 122}}
    routers = [{"router": "majority-vote"}, {"router": "pyramid", "args": {"checkpoint": str(trained)}}]
    suite = {"schema": 1, "name": "leaky", "pool": str(ladder), "tasks": [task], "routers": routers}
    with pytest.raises(MixrouteError, match="'pyramid.*' was trained on q/0122 of task"):
        SuiteRunner(Suite.model_validate(suite), tmp_path, Console())


def damaged(folder: Path, trained: Path, **changes: Any) -> str:
    content = json.loads((trained / "router.json").read_bytes()) | changes
    folder.mkdir()
    (folder / "router.json").write_text(json.dumps(content))
    return str(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"wrong": {"features": ["x"], "bias": 0, "trees": [], "knots": [[0, 0.5]]}}, "not those of this version"),
        ({"members": ["one"]}, "'right' and 'accept' are not those of the members one"),
        ({"best": "four"}, "best = 'four' is not among the members"),
        ({"thresholds": 1}, "router.json.*unknown key 'thresholds'"),
    ],
)
def test_a_damaged_checkpoint_is_named(tmp_path: Path, trained: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(MixrouteError, match=message):
        open_router("pyramid", checkpoint=damaged(tmp_path / "here", trained, **changes))


def test_what_cannot_be_played_is_refused(tmp_path: Path, trained: Path) -> None:
    with pytest.raises(MixrouteError, match=r"checkpoint 'nowhere': no router.json there; shipped: "):
        open_router("frugal", checkpoint="nowhere")
    half = Path(damaged(tmp_path / "half", trained)) / "router.json"
    half.write_bytes(half.read_bytes()[:1000])
    with pytest.raises(MixrouteError, match="router.json is no JSON"):
        open_router("confidence", checkpoint=str(half.parent))
    with pytest.raises(MixrouteError, match="trained without an anchored oracle: train with 'anchored: true'"):
        open_router("pyramid", checkpoint=damaged(tmp_path / "here", trained, anchored=None), anchored=True)
    with pytest.raises(MixrouteError, match="kappa = 0.1 goes with rule 'value', not 'threshold'"):
        open_router("pyramid", checkpoint=str(trained), kappa=0.1)
    with pytest.raises(MixrouteError, match=r"threshold = 0.1: it lies in \[0, 1\] and goes with rule 'threshold'"):
        open_router("pyramid", checkpoint=str(trained), rule="value", threshold=0.1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dev": [{"task": GUESS, "split": "dev", "args": {"count": 60}}]}, "no instance in split 'train' left"),
        ({"members": ["one", "four"]}, "has no model 'four': it has one, two, three, high"),
        ({"members": ["one", "high"]}, "model 'high' is named twice"),
        (
            {"tasks": [{"task": "alfworld-gen", "split": "train", "limit": 1}]},
            "steps: this router is trained on",
        ),
        ({"tasks": [{"task": GUESS, "split": "train", "args": {"count": 4}}]}, "of 4 train queries: learning needs"),
        ({"tree": {}}, "unknown key 'tree': did you mean 'trees'"),
    ],
)
def test_wrong_recipes_are_named(tmp_path: Path, ladder: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(MixrouteError, match=message):
        train_pyramid(load_recipe(str(write_recipe(tmp_path, ladder, **changes)), PyramidRecipe), tmp_path / "made")


def test_a_recipe_may_have_equations_checked(tmp_path: Path, trained: Path, ladder: Path) -> None:
    for section in ("train", "dev"):
        shutil.copytree(trained.parent / section, tmp_path / "made" / section)
    recipe = load_recipe(str(write_recipe(tmp_path, ladder, equations=True)), PyramidRecipe)
    made = train_pyramid(recipe, tmp_path / "made")
    plain, checked = (load_checkpoint(str(folder))[0] for folder in (trained, made))
    assert set(checked.wrong.features) - set(plain.wrong.features) == {"false_equations_mean", "false_equations_chosen"}
    suite = {
        "schema": 1,
        "name": "checked",
        "pool": str(ladder),
        "tasks": [{"task": "arith-gen", "split": "dev", "limit": 4, "args": {"max_tokens": 6}}],
        "routers": [{"router": name, "args": {"checkpoint": str(made)}} for name in ("pyramid", "frugal")],
    }
    SuiteRunner(Suite.model_validate(suite), tmp_path / "runs", Console()).run()
    for run in find_runs(tmp_path / "runs"):
        assert not any(episode.error for episode in read_episodes(run))
    router = (made / "router.json").read_text()
    (made / "router.json").write_text(router.replace("false_equations_mean", "false_claims", 1))
    (made / "card.json").unlink()  # with the checksum
    with pytest.raises(MixrouteError, match="features are not those of this version"):
        load_checkpoint(str(made))


@pytest.mark.parametrize("name", shipped_names(PyramidRecipe.shipped))
def test_every_shipped_recipe_is_valid(name: str) -> None:
    recipe = load_recipe(name, PyramidRecipe)
    assert recipe.name == name
    assert recipe.members or recipe.ensemble()  # whose members are named may have a pool that a command makes


def test_features_have_names_of_their_own() -> None:
    assert len(FEATURES) == len(set(FEATURES))
