"""What is read of low's answer before it is taken."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.data import Observation, Turn
from harness.token_statistics import TokenStatistics
from mixroute import Completion, Token, open_task
from routers.dmr.drafts import LENGTHS, action_facts, draft_facts, facts_of, place_facts, word_facts

STEPS = st.lists(
    st.tuples(st.sampled_from(["a desk", "here", "a mug"]), st.sampled_from(["look", "go north", "open box"])),
    max_size=6,
)
TEXTS = st.sampled_from(["look", "go north", " go north ", "open box", "", "[", "search[]", "fly \U0001f600 up"])
SHOP = "Instruction: [SEP] Find me dash kit, and style: windshield [SEP] Search"
OPTIONS = Observation("dash kit [SEP] blue [SEP] Buy Now", ("click[dash kit]", "click[blue]", "click[buy now]"))


def turns_of(steps: list[tuple[str, str]]) -> list[Turn]:
    return [Turn(Observation(shown), action, action) for shown, action in steps]


@given(st.lists(st.tuples(*[st.floats(0, 20)] * 3), min_size=1, max_size=30), st.integers(0, 30))
def test_facts_of_a_draft_are_those_of_its_text_and_end(tokens: list[tuple[float, ...]], content: int) -> None:
    content = min(content, len(tokens))
    logprobs, entropies = tuple(-token[0] for token in tokens), tuple(token[1] for token in tokens)
    margins = tuple(min(1.0, token[2]) for token in tokens)
    facts = draft_facts(TokenStatistics(logprobs, entropies, margins, content))
    assert all(0 <= fact <= 8 for fact in facts)
    assert facts[0] <= facts[1]  # the mean entropy and the largest
    assert facts[2] <= facts[3]  # of minus the log-probabilities
    end = content + 1
    assert facts == draft_facts(TokenStatistics(logprobs[:end], entropies[:end], margins[:end], content))


@given(STEPS, TEXTS.map(str.strip))
def test_facts_of_an_action_say_if_it_is_listed_and_was_taken(steps: list[tuple[str, str]], action: str) -> None:
    turns = turns_of(steps)
    here = Observation("nowhere", ("look", "go north"))
    listed, unlisted, taken, taken_here = action_facts(action, turns, here)
    assert (listed, unlisted) == ((1, 0) if action in here.admissible else (0, 1))
    assert (taken > 0) == any(turn.action == action for turn in turns)
    assert not taken_here
    assert action_facts(action, turns, Observation("nowhere"))[:2] == (0, 0)  # the task lists none
    again = action_facts(action, [*turns, Turn(here, action, action)], here)
    assert again[2] == min(1, taken + 0.25)
    assert again[3] == 1


@given(STEPS, TEXTS)
def test_each_kind_reads_what_the_one_before_reads_and_more(steps: list[tuple[str, str]], text: str) -> None:
    draft = Completion("low", text, (Token(1, -0.5, 0.1, 0.9), Token(2, -1.0, 0.2, 0.8)), 1, "stop", 5, 0)
    read = {kind: facts_of(kind, draft, text, turns_of(steps), OPTIONS) for kind in LENGTHS}
    assert {kind: len(facts) for kind, facts in read.items()} == LENGTHS
    assert read["placed"][: LENGTHS["compared"]] == read["compared"]
    assert read["compared"][: LENGTHS["checked"]] == read["checked"]
    assert read["checked"][: LENGTHS["draft"]] == read["draft"]
    assert all(0 <= fact <= 1 for facts in (word_facts, place_facts) for fact in facts(text, turns_of(steps), OPTIONS))


def test_a_query_is_compared_with_the_task() -> None:
    def facts(query: str) -> tuple[float, ...]:
        return word_facts(f"search[{query}]", [], Observation(SHOP))

    whole, part, misspelt = facts("dash kit, and style: windshield"), facts("dash kit"), facts("dish kit")
    assert whole[0] == part[0] == 1  # quoted
    assert misspelt[0] == 0
    assert whole[2] > part[2] > misspelt[2]  # how much of the task
    assert misspelt[1] == 0.5  # words that nobody has shown
    assert not whole[1]


def test_what_the_task_names_and_nobody_took_is_counted() -> None:
    turns = [Turn(Observation(SHOP), "search[dash kit]", "search[dash kit]")]
    assert word_facts("click[buy now]", turns, OPTIONS)[3:5] == (0.25, 0)
    assert word_facts("click[Dash kit]", turns, OPTIONS)[3:5] == (0.25, 1)
    turns.append(Turn(OPTIONS, "click[dash kit]", "click[dash kit]"))
    assert word_facts("click[buy now]", turns, OPTIONS)[3:5] == (0, 0)


def test_a_short_option_is_not_named_by_a_longer_one() -> None:
    turns = [Turn(Observation("Find me a shirt with size: x-large"), "", "")]
    page = Observation("", ("click[large]", "click[x-large]", "click[small]"))
    assert word_facts("click[x-large]", turns, page)[3:5] == (0.25, 1)
    assert word_facts("click[large]", turns, page)[4] == 0


def test_an_act_is_known_if_the_environment_lists_one_like_it() -> None:
    assert word_facts("click[red]", [], OPTIONS)[5] == 1
    assert word_facts("search[red]", [], OPTIONS)[5] == 0


def test_a_copy_that_ends_too_soon_leaves_more_of_the_task() -> None:
    task = Observation("Find me shirts with color: red, and size: 3x, and price lower than 9 dollars", ("search[...]",))
    whole, short, other = (
        place_facts(f"search[shirts with {rest}]", [], task)
        for rest in ("color: red, and size: 3x", "color: red", "color: green")
    )
    assert (whole[0] * 32, short[0] * 32, other[0]) == (7, 7 + 6, 0)
    assert whole[1] == short[1] == other[1] == 0  # any query is allowed


def test_an_action_that_is_not_among_those_of_its_kind_is_told() -> None:
    turns = [Turn(Observation(SHOP), "", "search[dash kit]")]
    results = Observation("", ("click[b09lm3h2f5]", "click[back to search]"))
    assert place_facts("click[B09LM3H2F5]", turns, results)[1] == 0
    assert place_facts("click[B09LM3H2F]", turns, results)[1] == 1
    assert place_facts("search[dash kit]", turns, results)[1] == 0


@given(st.sampled_from([" search[a lamp]", " search[<query>]", " click[Search]", "click[search]", "search[", "buy"]))
def test_what_is_listed_in_play_is_what_is_listed_in_a_trace(text: str) -> None:
    """WebShop's own list holds every search; a trace has the list alone, and a decision is taken again from that."""
    task = open_task("webshop-gen", split="test")
    live = task.open(task.instances()[0]).reset()
    traced = Observation(live.text, tuple(live.admissible))
    for facts in (action_facts, word_facts, place_facts):
        assert facts(text, [], live) == facts(text, [], traced)
