"""The own WebShop engine against what the original answered, recorded in ``../shared/vectors/webshop``."""

import json
import lzma
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from harness.errors import MixrouteError
from tasks.webshop import Catalogue, WebShopEnvironment, load_catalogue, reward
from tasks.webshop.colours import COLOURS
from tasks.webshop.goal import Goal, drawn_price
from tests.shared_data import shared
from tests.tasks.webshop.policies import play


def vectors(name: str) -> Any:
    path = shared("vectors", "webshop", name)
    return json.loads(lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes())


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load_catalogue(shared("data", "webshop"))


def test_rewards_are_those_of_the_original() -> None:
    recorded = vectors("reward.json.xz")
    refused = 0
    for case in recorded["cases"]:
        nouns = {key: case[key] for key in ("goal_nouns", "product_nouns")}
        bought = (case["goal"], recorded["products"][case["product"]], case["options"], case["price"])
        if "error" in case["expect"]:
            with pytest.raises(MixrouteError, match="price_upper"):
                reward(*bought, **nouns)
            refused += 1
        else:
            assert dict(reward(*bought, **nouns)) == case["expect"], case["id"]
    assert len(recorded["cases"]) == 871
    assert refused == 1


def test_the_own_noun_rule_shifts_the_mean_reward_by_at_most_a_two_hundredth() -> None:
    recorded = vectors("reward.json.xz")
    shifts = [
        reward(case["goal"], recorded["products"][case["product"]], case["options"], case["price"]).reward
        - case["expect"]["reward"]
        for case in recorded["cases"]
        if "error" not in case["expect"]
    ]
    assert abs(sum(shifts) / len(shifts)) <= 0.005
    assert sum(shift != 0 for shift in shifts) / len(shifts) < 0.02


def test_search_gives_the_products_of_lucene(catalogue: Catalogue) -> None:
    queries = [query for group in vectors("search_top50.json.xz").values() for query in group]
    found = [catalogue.search(query["query"]) for query in queries]
    assert len(queries) == 600
    assert [asins[:10] for asins in found] == [query["top50"][:10] for query in queries]
    assert found == [query["top50"] for query in queries]


@pytest.mark.parametrize("form", ["text", "text_rich"])
def test_episodes_are_equal_to_the_byte(catalogue: Catalogue, form: Any) -> None:
    episodes = vectors("episodes.json.xz")
    assert len(episodes) == 37
    for episode in episodes:
        price = episode["purchase"]["price"] if episode["purchase"] else None
        environment = WebShopEnvironment(catalogue, episode["goal"], price, form)
        for number, step in enumerate(episode["steps"]):
            first = step["action"] is None
            observation, gained, done = (environment.reset(), 0.0, False) if first else environment.step(step["action"])
            where = (episode["episode"], number, step["action"])
            assert observation.text == step[form], where
            assert (gained, done) == (step["reward"], step["done"]), where
            assert list(observation.admissible) == admissible(**step["actions"]), where


def admissible(has_search_bar: bool, clickables: Sequence[str]) -> list[str]:
    """How the engine lists what the original can click; it leaves out the search button, which does nothing there."""
    listed = [f"click[{name}]" for name in clickables if name != "search"]
    return sorted([*listed, "search[...]"] if has_search_bar else listed)


@pytest.mark.parametrize(("kind", "count"), [("synthetic", 6910), ("human", 13)])
def test_goals_stand_in_the_order_of_the_original(catalogue: Catalogue, kind: str, count: int) -> None:
    recorded = vectors("goal_order.json.xz")[kind]
    goals = catalogue.goals(kind)
    options: Any = dict if kind == "synthetic" else list
    assert len(goals) == count
    assert [[goal.asin, options(goal.goal_options), list(goal.attributes)] for goal in goals] == (
        recorded["order"] if kind == "synthetic" else recorded
    )


def best(goal: Goal, catalogue: Catalogue, *, strict: bool = False) -> float:
    """The reward for the own product of a synthetic goal with the options asked for."""
    assert isinstance(goal.goal_options, Mapping)
    product = catalogue.product(goal.asin)
    return reward(goal, product, goal.goal_options, drawn_price(product, 0), strict_options=strict).reward


def test_the_goals_that_nobody_can_reach_are_found(catalogue: Catalogue) -> None:
    recorded = [(case["goal_index"], case["reward"]) for case in vectors("unreachable_goals.json.xz")["cases"]]
    rewards = [best(goal, catalogue) for goal in catalogue.goals()]
    assert [(index, gained) for index, gained in enumerate(rewards) if gained < 1] == recorded
    assert len(recorded) == 458


def test_with_strict_options_every_goal_can_be_reached(catalogue: Catalogue) -> None:
    assert all(best(goal, catalogue, strict=True) == 1 for goal in catalogue.goals())


@pytest.mark.parametrize(
    ("options", "own", "score", "success"),
    [(False, False, 57.1, 2.2), (True, False, 78.9, 57.2), (True, True, 94.7, 88.2)],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_scripted_players_score_as_in_the_original(
    catalogue: Catalogue, options: bool, own: bool, score: float, success: float, seed: int
) -> None:
    goals = catalogue.goals("synthetic", seed)[:500]
    rewards = [
        play(WebShopEnvironment(catalogue, goal, price_seed=seed), goal, options=options, own=own) for goal in goals
    ]
    # A price is drawn inside its range and a bound above it, so a draw moves nothing but whether another product than
    # the goal's is within the bound: a few goals in 500. One of them is 0.2 of success and at most 0.1 of score.
    assert 100 * sum(rewards) / len(goals) == pytest.approx(score, abs=0.3)
    assert 100 * sum(gained == 1 for gained in rewards) / len(goals) == pytest.approx(success, abs=0.4)


def test_the_colours_are_those_of_the_original() -> None:
    assert list(COLOURS) == vectors("colours.json")
