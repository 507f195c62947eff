"""The action grammar."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.webshop.actions import SEARCH_FORM, Admissible, parse


@pytest.mark.parametrize(
    ("action", "found"),
    [
        ("search[Red Shoes]", ("search", "red shoes")),
        ("click[Buy Now]", ("click", "buy now")),
        ("click[size [large]]", None),  # the verb is all before the last "["
        ("search[a] and more", ("search", "a")),
        ("search[]", None),
        ("buy[shoes]", None),
        ("think: hm", None),
        ("", None),
        *((f"search[{door} 3]", None) for door in ("<r>", "<a>", "<c>", "<q>")),
        ("search[<R>]", None),
        ("search[a <r>]", ("search", "a <r>")),
    ],
)
def test_actions_are_read_as_in_the_original(action: str, found: tuple[str, str] | None) -> None:
    assert parse(action) == found


@given(st.text())
def test_any_text_is_an_action_or_none(text: str) -> None:
    found = parse(text)
    assert found is None or (found[0] in ("search", "click") and found[1] == found[1].lower())


@given(st.text(alphabet="abc <>-.", min_size=1))
def test_an_argument_comes_back(words: str) -> None:
    assert parse(f"click[{words}]") == ("click", words)


def test_admissible_lists_clicks_and_knows_searches() -> None:
    page = Admissible(["next >", "b000000001"], search_bar=False)
    assert list(page) == ["click[b000000001]", "click[next >]"]
    assert "click[Next >]" in page
    assert "search[anything]" in page  # works from any page
    assert "search[<r>]" not in page
    assert "click[buy now]" not in page
    assert list(Admissible([], search_bar=True)) == [SEARCH_FORM]
