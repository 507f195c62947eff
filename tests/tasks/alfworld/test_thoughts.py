"""What the expert thinks is true of what was seen, belongs to the command that follows, and is short."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache

import pytest
from transformers import AutoTokenizer

from harness.contracts import Teachable, Thinker
from harness.pool import PackageWeights, load_pool
from harness.weights.packages import package_weights
from mixroute import Turn, open_task
from tasks import wording
from tests.shared_data import shared
from tests.tasks.states import State, assert_one_line_without_tags, states

JUNK = ("go to shelf 9", "take mug 1 from shelf 3", "open drawer 77", "clean mug 2 with fridge 1", "hm")
NAME = r"[a-z]+ \d+"
SEARCHED = r"([a-z]+) ((?:\d+(?: to |, | and )?)+)(?: of (\d+))? (?:is|are) searched"


@cache
def played(task_name: str, slips: float) -> tuple[State, ...]:
    """States of 30 episodes; those of the official games have receptacles that share a location."""
    if task_name == "alfworld":
        task = open_task("alfworld", data=str(shared("data", "alfworld")), split="valid_seen")
    else:
        task = open_task("alfworld-gen", split="dev", dialect="0.3" if task_name.endswith("0.3") else "0.4")
    numbers = range(30) if "gen" in task_name else range(0, 140, 5)
    return tuple(states(task, numbers, slips, JUNK, probe="inventory"))


@pytest.fixture(params=["alfworld-gen", "alfworld-gen 0.3", "alfworld"])
def source(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[0.0, 0.3])
def found(source: str, request: pytest.FixtureRequest) -> tuple[State, ...]:
    return played(source, request.param)


def said(state: State, form: str) -> list[tuple[str, ...]]:
    """The groups of every place in the thought that has this form."""
    return [match.groups() for match in re.finditer(form, state.thought.lower())]


def shown(state: State) -> list[str]:
    return [*(turn.observation.text for turn in state.turns), state.observation.text]


def was_seen(state: State, place: str) -> bool:
    return any(f"On the {place}, you see" in text or f"The {place} is open. In it" in text for text in shown(state))


def lies(state: State, thing: str) -> str:
    """The last sentence in which the game said where an object is."""
    sentences = re.findall(r"[^.\n]+", "\n".join(shown(state)).replace("open. In", "open, in"))
    sentences = [one for one in sentences if "Next to it" not in one]
    return next(str(one) for one in reversed(sentences) if re.search(rf"\b(?:a|the) {thing}\b", one))


def test_a_thought_is_one_line_without_tags(found: tuple[State, ...]) -> None:
    assert_one_line_without_tags(found)


def test_it_names_what_the_command_names(found: tuple[State, ...]) -> None:
    for state in found:
        names = re.findall(NAME, state.action)
        assert names or state.action == "look"
        assert all(re.search(rf"\b{name}\b", state.thought.lower()) for name in names), state.thought


def test_the_place_to_go_to_is_that_of_the_command(found: tuple[State, ...]) -> None:
    gone = [state for state in found if state.action.startswith("go to ")]
    assert gone
    for state in found:
        for (place,) in said(state, rf"(?:next is|first|i go to) ({NAME})"):
            assert state.action == f"go to {place}", state.thought
    assert all(said(state, rf"(?:next is|first|i go to) ({NAME})") for state in gone)


def test_what_it_holds_is_in_the_inventory(found: tuple[State, ...]) -> None:
    counts: Counter[bool] = Counter()
    for state in found:
        for negation, name in said(state, rf"\bi (do not )?hold (?:clean |hot |cool )?({NAME})"):
            assert (state.probed == f"You are carrying: a {name}.") != bool(negation), state.thought
            counts[not negation] += 1
    assert counts[True]


def test_objects_are_where_it_says(found: tuple[State, ...]) -> None:
    claims = 0
    for state in found:
        pairs = said(state, rf"({NAME}) is (?:here )?(?:at|in) ({NAME})")
        pairs += [(thing, place) for place, thing in said(state, rf"here at ({NAME}) is ({NAME})")]
        for thing, place in pairs:
            claims += 1
            assert re.search(rf"\b{place}\b", lies(state, thing)), state.thought
            assert "You pick up" not in lies(state, thing), state.thought
    assert claims


def test_what_it_calls_searched_was_seen(found: tuple[State, ...]) -> None:
    claims = 0
    for state in found:
        rooms = re.findall(r"\ba ([a-z]+ \d+)", shown(state)[0])
        kinds = Counter(place.partition(" ")[0] for place in rooms)
        kind_of = {wording.plural(kind): kind for kind in kinds}
        for kind, numbers, total in said(state, SEARCHED):
            one = kind_of.get(kind, kind)
            claims += 1
            assert not total or kinds[one] == int(total)
            for first, last in re.findall(r"(\d+)(?: to (\d+))?", numbers):
                assert all(was_seen(state, f"{one} {n}") for n in range(int(first), int(last or first) + 1))
        for total, kind in said(state, r"all (\d+) ([a-z]+) are searched"):
            claims += 1
            assert kinds[kind_of[kind]] == int(total)
            assert all(was_seen(state, f"{kind_of[kind]} {n + 1}") for n in range(int(total)))
        assert "othing is searched" not in state.thought or not any(was_seen(state, place) for place in rooms)
        for (place,) in said(state, rf"(?:next is|first) ({NAME})"):
            assert not was_seen(state, place)
    assert claims


def test_states_of_the_held_object_are_those_it_was_given(found: tuple[State, ...]) -> None:
    claims = 0
    answers = {"clean": "You clean the {}", "hot": "You heat the {}", "cool": "You cool the {}"}
    undone = {"hot": "You cool the {}", "cool": "You heat the {}"}
    for state in found:
        told = "\n".join(shown(state))
        claimed = [(name, word, True) for name, word in said(state, rf"({NAME}), which is (clean|hot|cool) now")]
        claimed += [(name, word, False) for name, word in said(state, rf"({NAME}), which is not (clean|hot|cool) yet")]
        for name, word, claim in claimed:
            claims += 1
            when = told.rfind(answers[word].format(name) + " ")
            assert claim == (when >= 0 and when >= told.rfind(undone.get(word, "\0").format(name) + " "))
    assert claims


def test_what_is_closed_was_seen_to_be(found: tuple[State, ...]) -> None:
    closed = [state for state in found if "is closed" in state.thought]
    assert closed
    for state in closed:
        place = state.action.removeprefix("open ")
        told = [text for text in shown(state) if re.search(rf"(?:The|close the) {place}\b", text)][-1]
        assert f"The {place} is closed" in told or f"You close the {place}" in told


def test_the_count_of_two_objects_is_that_of_those_placed(source: str) -> None:
    counts: Counter[str] = Counter()
    for state in (*played(source, 0.0), *played(source, 0.3)):
        goal = re.search(r"two (\w+?)(?: and put them)? in (\w+)\.", shown(state)[0])
        claims = said(state, r"(first of two|second of two|two of two|one more)")
        if goal is None:
            assert not claims
            continue
        things = set(re.findall(rf"\b{goal[1]} \d+", "\n".join(shown(state)[1:])))
        there = [lies(state, thing) for thing in things]
        placed = sum(f"{goal[2]} 1" in one and "You pick up" not in one for one in there)
        for (claim,) in claims:
            counts[claim] += 1
            held = goal[1] in state.probed and "I put" in state.thought  # then what it says is of after the command
            assert placed == (0 if claim == "first of two" or (claim == "one more" and held) else 1), state.thought
    assert len(counts) == 4


def test_a_mistake_is_named() -> None:
    """After a command that failed or went back to no use, the thought begins with what is wrong."""
    said_so: Counter[str] = Counter()
    for state in played("alfworld-gen", 0.3):
        if not state.turns:
            continue
        last, answer = state.turns[-1].action, state.observation.text
        first = state.thought.partition(". ")[0]
        known = re.search(
            r"That was no valid command|There is no|already|do not hold|one object only|is not at|may not be at"
            r"|did nothing|I cannot go to|was searched before|is the wrong place", first
        )  # fmt: skip
        if answer == "Nothing happens.":
            assert known, state.thought
        if known:
            said_so[known[0]] += 1
            assert answer == "Nothing happens." or last.startswith("go to ")
        if "may not be at" in first:
            assert f"go to {first.rpartition(' at ')[2]}" not in [turn.action for turn in state.turns[-2:]]
        if "one object only" in first:
            assert state.probed != "You are not carrying anything."
        if "There is no" in first:
            place = re.sub(r".*There is no ", "", first)
            assert f" a {place}" not in shown(state)[0]
    assert {
        "That was no valid command",
        "There is no",
        "was searched before",
        "is the wrong place",
        "may not be at",
    } <= set(said_so)


def test_in_its_own_play_no_mistake_is_found() -> None:
    for state in played("alfworld-gen", 0.0):
        assert not re.search(r"searched before|wrong place|That was|There is no|That did", state.thought)


def after(number: int, last: str, slips: Sequence[str]) -> tuple[str, str]:
    """Thought and command of the expert after its first command of a form and these commands of somebody else's."""
    task = open_task("alfworld-gen", split="train")
    assert isinstance(task, Teachable)
    expert, environment, turns = task.expert(), task.open(task.instances()[number]), list[Turn]()
    assert isinstance(expert, Thinker)
    observation = environment.reset()
    left = [*slips]
    while left:
        own = not any(re.match(last, turn.action) for turn in turns)
        action = expert.act(turns, observation) if own else left.pop(0)
        turns.append(Turn(observation, action, action))
        observation = environment.step(action)[0]
    assert observation.text != "Nothing happens."
    return expert.think(turns, observation), expert.act(turns, observation)


def test_what_heated_the_object_is_undone_by_cooling_it() -> None:
    thought, action = after(3, "heat egg 2", ["go to fridge 1", "cool egg 2 with fridge 1"])
    assert thought.startswith("I hold egg 2, which is not hot yet.")
    assert action == "go to microwave 1"


def test_what_was_closed_is_opened_again() -> None:
    thought, action = after(5, "open cabinet 2", ["close cabinet 2"])
    assert thought == "Tissuebox 2 is in cabinet 2, which is closed. I open cabinet 2 to take tissuebox 2."
    assert action == "open cabinet 2"


def test_thinking_changes_nothing(source: str) -> None:
    """The same thoughts and commands again, from an expert that was asked in another order."""
    task = open_task("alfworld-gen", split="dev", dialect="0.3" if source.endswith("0.3") else "0.4")
    assert isinstance(task, Teachable)
    expert = task.expert()
    assert isinstance(expert, Thinker)
    for state in played("alfworld-gen 0.3" if source.endswith("0.3") else "alfworld-gen", 0.3)[::-7]:
        assert expert.think(state.turns, state.observation) == state.thought
        assert expert.act(state.turns, state.observation) == state.action


@pytest.mark.model
def test_nearly_all_thoughts_have_15_to_40_tokens() -> None:
    weights = load_pool("smollm2").models["high"].weights
    assert isinstance(weights, PackageWeights)
    tokenizer = AutoTokenizer.from_pretrained(package_weights(weights))
    task = open_task("alfworld-gen", split="train")
    lengths = [len(tokenizer(state.thought)["input_ids"]) for state in states(task, range(40))]
    assert sum(15 <= length <= 40 for length in lengths) > 0.95 * len(lengths)
    assert max(lengths) <= 60
