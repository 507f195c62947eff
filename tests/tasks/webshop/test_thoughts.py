"""What the expert thinks is true of the pages, belongs to the action that follows, and is short."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from harness.contracts import Expert, Teachable, Thinker
from harness.pool import PackageWeights, load_pool
from harness.weights.packages import package_weights
from mixroute import Observation, Task, Turn, open_task
from tests.shared_data import shared
from tests.tasks.states import State, assert_one_line_without_tags, states

JUNK = ("click[foo]", "click[next >]", "look", "search[red thing]", "click[features]", "click[< prev]")
BUY, BACK = "click[buy now]", "click[back to search]"


@cache
def opened(name: str, form: str) -> Task:
    if name == "webshop":
        return open_task(name, data=str(shared("data", "webshop")), split="train", observation=form)
    return open_task(name, split="dev", products=300, goals=40, observation=form)


@cache
def played(name: str, form: str, slips: float) -> tuple[State, ...]:
    return tuple(states(opened(name, form), range(40), slips, JUNK, fatal=[BUY]))


@pytest.fixture(params=["webshop-gen", "webshop"])
def source(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["text", "text_rich"])
def found(source: str, request: pytest.FixtureRequest) -> tuple[State, ...]:
    return played(source, request.param, 0.0) + played(source, request.param, 0.3)


@pytest.fixture
def marked(source: str) -> tuple[State, ...]:
    """States whose pages say what is chosen."""
    return played(source, "text_rich", 0.0) + played(source, "text_rich", 0.3)


def instruction(state: State) -> str:
    first = state.turns[0].observation if state.turns else state.observation
    told = re.search(r"Find me [^\n]*?(?= \[SEP\] |\n)", first.text)
    assert told
    return told[0]


def asked(state: State) -> dict[str, str]:
    """Values that are asked for, and their names."""
    words = re.sub(r", and price lower than .*", "", instruction(state))
    return {value: name for name, value in re.findall(r"(?:with|, and) ((?:\w+ ){0,1}\w+): (.*?)(?=, and |$)", words)}


def clicked(state: State) -> list[str]:
    return re.findall(r"^You have clicked (.*)\.$", state.observation.text, re.MULTILINE)


def sentences(state: State) -> list[str]:
    return [one.rstrip(".") for one in re.split(r"(?<=[^\d]\.) (?=[A-Z\d])|(?<=\d\.) (?=[A-Z])", state.thought)]


def test_a_thought_is_one_line_without_tags(found: tuple[State, ...]) -> None:
    assert_one_line_without_tags(found)


def test_it_announces_the_action(found: tuple[State, ...]) -> None:
    kinds: Counter[str] = Counter()
    for state in found:
        kind, argument = state.action.partition("[")[0], state.action.partition("[")[2][:-1]
        last = sentences(state)[-1]
        if state.action in (BUY, BACK):
            kind = argument
            assert ("so I buy" if state.action == BUY else "I go back to the search page") in last
        elif kind == "search":
            assert re.search(r"I search (again )?for all that is asked", last)
        else:
            kind = "open" if re.fullmatch(r"B[0-9A-Z]{9}", argument) else "choose"
            assert re.search(rf"I (open|choose) .*{re.escape(' '.join(argument.split()))}", last), state.thought
        kinds[kind] += 1
    assert set(kinds) == {"search", "open", "choose", "buy now", "back to search"}


def test_prices_and_their_limit_are_those_of_the_page(found: tuple[State, ...], source: str) -> None:
    claims = passed_over = 0
    for state in found:
        limit = re.search(r"price lower than ([\d.]+) dollars", instruction(state))
        for bound in re.findall(r"limit of ([\d.]*\d)", state.thought):
            assert limit is not None
            assert bound == limit[1]
        prices = re.findall(r"\$([\d.]+)(?: to \$[\d.]+)?", state.observation.text)
        for number, price in re.findall(r"Result (\d+) costs (?:from )?([\d.]+) dollars", state.thought):
            assert prices[int(number) - 1] == price
            assert limit is not None
            assert float(price) <= float(limit[1])
            assert all(float(one) > float(limit[1]) for one in prices[: int(number) - 1])
            claims += 1
            passed_over += int(number) > 1
        for number in re.findall(r"All (\d+) results here cost more", state.thought):
            assert limit is not None
            assert len(prices) == int(number)
            assert all(float(one) > float(limit[1]) for one in prices)
    assert claims
    assert passed_over or source == "webshop"


def test_what_it_calls_chosen_is_chosen(marked: tuple[State, ...]) -> None:
    counts: Counter[str] = Counter()
    for state in marked:
        if '"' in instruction(state) or not instruction(state).isascii():
            continue  # the shop never marks such values as chosen
        for sentence in sentences(state):
            form = re.search(
                r"but .* is asked for|All options that are asked for are chosen|then all that is on offer is chosen"
                r"|not chosen yet|not on offer here|(?:is|are) chosen$", sentence
            )  # fmt: skip
            if form is None:
                continue
            counts[form[0].partition(" ")[0]] += 1
            offered = {value for value in asked(state) if f"button] {value} [" in state.observation.text}
            named = {value for value, name in asked(state).items() if f"{name} {value}" in sentence.lower()}
            done = set(clicked(state))
            if form[0].startswith("All"):
                assert set(asked(state)) <= done
            elif form[0].startswith("then"):
                assert offered - done == {state.action[6:-1]}
            elif form[0].startswith("but"):
                wrong = sentence.partition(" is chosen, but")[0].lower()
                assert wrong == "another value" or wrong in done - set(asked(state)), state.thought
                assert not named & done
            elif form[0].startswith("not chosen"):
                assert not named & done
            elif form[0].startswith("not on"):
                assert not named & offered
                assert set(asked(state)) - offered
            else:
                assert named <= done, state.thought
    assert {"All", "then", "but", "not", "is", "are"} <= set(counts)


def test_an_action_in_vain_is_named(found: tuple[State, ...]) -> None:
    """The thought says so, and only where the page did not change."""
    said = 0
    for state in found:
        if not state.turns:
            continue
        action, stayed = state.turns[-1].action, state.turns[-1].observation.text == state.observation.text
        vain = re.match(r"That (click named nothing on the page|was no valid action)\.", state.thought)
        if action in ("click[foo]", "look"):
            assert vain, state.thought
        if vain:
            said += 1
            assert stayed
            assert ("click" in vain[1]) == action.startswith("click[")
        if "I search again" in state.thought:
            assert any(turn.action.startswith("search[") for turn in state.turns)
    assert said


@pytest.mark.parametrize("form", ["text", "text_rich"])
def test_a_product_that_is_opened_again_has_nothing_chosen(form: str) -> None:
    task = opened("webshop-gen", form)
    assert isinstance(task, Teachable)
    expert = task.expert()
    assert isinstance(expert, Thinker)
    first = next(s for s in played("webshop-gen", form, 0.0) if len(asked(s)) > 1 and s.thought.startswith("I search"))
    number = [s.observation for s in played("webshop-gen", form, 0.0) if not s.turns].index(first.observation)
    environment = task.open(task.instances()[number])
    observation, turns = environment.reset(), list[Turn]()
    for other in (None, None, None, "click[< prev]", None):  # search, open, choose; back; open
        action = other or expert.act(turns, observation)
        turns.append(Turn(observation, action, action))
        observation = environment.step(action)[0]
    chosen = turns[2].action
    assert expert.act(turns, observation) == chosen
    assert "not chosen yet" in expert.think(turns, observation)


def test_thinking_changes_nothing(source: str) -> None:
    """The same thoughts and actions again, from an expert that was asked in another order."""
    task = opened(source, "text")
    assert isinstance(task, Teachable)
    expert = task.expert()
    assert isinstance(expert, Thinker)
    for state in played(source, "text", 0.3)[::-7]:
        assert expert.think(state.turns, state.observation) == state.thought
        assert expert.act(state.turns, state.observation) == state.action


@given(st.lists(st.text(alphabet="ab <>[]:,$\n", max_size=12) | st.sampled_from(["Buy Now", "Price: $1", "< Prev"])))
def test_a_page_of_any_text_gives_a_thought_and_an_action(pieces: list[str]) -> None:
    task = opened("webshop-gen", "text")
    assert isinstance(task, Teachable)
    expert: Expert = task.expert()
    assert isinstance(expert, Thinker)
    start = Observation("WebShop [SEP] Instruction: [SEP] Find me shoes with color: <b>, and size: 7 [SEP] Search")
    page = Observation(" [SEP] ".join(["Instruction:", "Find me shoes", "Back to Search", *pieces]))
    turns = [Turn(start, "search[shoes]", "search[shoes]")]
    assert expert.act(turns, page)
    assert not set("<>\n") & set(expert.think(turns, page))


@pytest.mark.model
def test_nearly_all_thoughts_have_15_to_40_tokens() -> None:
    weights = load_pool("smollm2").models["high"].weights
    assert isinstance(weights, PackageWeights)
    tokenizer = AutoTokenizer.from_pretrained(package_weights(weights))
    lengths = [len(tokenizer(state.thought)["input_ids"]) for state in played("webshop-gen", "text", 0.0)]
    assert sum(15 <= length <= 40 for length in lengths) > 0.95 * len(lengths)
    assert max(lengths) <= 60
