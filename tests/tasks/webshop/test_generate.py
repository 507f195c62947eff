"""The made-up catalogue: always the same, splits apart, every goal within reach."""

from collections import Counter, defaultdict

import pytest

from harness.errors import MixrouteError
from tasks.webshop import reward
from tasks.webshop.catalogue import Catalogue, open_catalogue
from tasks.webshop.generate import Generated, queries
from tasks.webshop.goal import drawn_price


def catalogue(split: str = "test", products: int = 400, seed: int = 0) -> Catalogue:
    return open_catalogue(Generated(split, products, seed))


def test_it_is_always_the_same() -> None:
    # Pinned: whoever changes what is drawn must raise families.VERSION.
    assert catalogue("dev", 50).fingerprint == "d25c8e6ec72e857e8fd81e60fb6619902e65a3073028986a339f538511567763"


def test_there_are_many_kinds_of_products() -> None:
    assert len(queries()) == len({query for _, query in queries()}) >= 200


def test_splits_and_seeds_share_nothing() -> None:
    shops = [catalogue("test"), catalogue("dev"), catalogue("train"), catalogue("train", seed=1)]
    asins = Counter(product.asin for shop in shops for product in shop)
    names = Counter(name for shop in shops for name in {product.name for product in shop})
    assert set(asins.values()) == set(names.values()) == {1}


def test_a_larger_catalogue_begins_with_the_smaller() -> None:
    assert list(catalogue(products=400))[:150] == list(catalogue(products=150))


def test_many_products_have_a_near_duplicate() -> None:
    alike = defaultdict(list)
    for product in catalogue():
        alike[product.name.partition(",")[0]].append(product)
    families = [members for members in alike.values() if len(members) > 1]
    assert sum(map(len, families)) > 200
    for first, *others in families:
        for other in others:
            differing = [
                key for key in ("attributes", "options", "prices") if getattr(first, key) != getattr(other, key)
            ]
            assert len(differing) == 1


def test_every_goal_can_be_reached_with_strict_options() -> None:
    shop = catalogue()
    for goal in shop.goals():
        product = shop.product(goal.asin)
        options = goal.goal_options
        assert isinstance(options, dict)
        assert reward(goal, product, options, drawn_price(product, 0), strict_options=True).reward == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("valid",), "no split 'valid'"),
        (("test", 0), "products = 0"),
        (("test", 10, 3), "only train has more than one"),
        (("train", 10, -1), "seed = -1"),
    ],
)
def test_wrong_arguments_are_named(arguments: tuple[str, int, int], message: str) -> None:
    with pytest.raises(MixrouteError, match=message):
        Generated(*arguments)
