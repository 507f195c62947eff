"""The PDDL reader, names and goals."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.alfworld.goal import Goal
from tasks.alfworld.names import display_names, kind_of
from tasks.alfworld.pddl import Expression, PddlError, read_expression, read_problem
from tests.tasks.alfworld.small import GOAL, problem

SYMBOLS = st.text("abc?-_1:=", min_size=1, max_size=6)
EXPRESSIONS: st.SearchStrategy[Expression] = st.recursive(
    SYMBOLS, lambda inner: st.lists(inner, max_size=4), max_leaves=20
)


def written(expression: Expression) -> str:
    return expression if isinstance(expression, str) else f"({' '.join(map(written, expression))})"


@given(EXPRESSIONS)
def test_expressions_survive_writing_and_reading(expression: Expression) -> None:
    assert read_expression(written(expression)) == expression


@given(st.integers(0, len(problem()) - 1))
def test_a_cut_off_problem_is_an_error_and_no_crash(length: int) -> None:
    with pytest.raises(PddlError):
        read_problem(problem()[:length])


@given(st.text("() ab;\n:", max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        read_expression(text)
    except PddlError:
        return


def test_comments_and_case_are_ignored() -> None:
    assert read_expression("(And ; or (\n (X))") == ["and", ["x"]]


def test_typed_objects_and_facts() -> None:
    read = read_problem("(define (problem p) (:objects a B - t c - u d) (:init (P a b) (= (cost) 0)) (:goal (p a b)))")
    assert read.objects == {"a": "t", "b": "t", "c": "u", "d": "object"}
    assert read.facts == (("p", "a", "b"),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("(domain x)", "does not begin with"),
        ("(define (:objects) (:init))", "no \\(:goal …\\) section"),
        ("(define (:objects) (:init (p (q))) (:goal (p)))", "not a ground atom"),
        ("(define (:objects) (:init p) (:goal (p)))", "instead of \\(predicate"),
        ("(define (:objects a -) (:init) (:goal (p)))", "not followed by a type"),
        ("(define (:objects (a)) (:init) (:goal (p)))", "nested list"),
        ("(define (:objects) (:init) (:goal (p) (q)))", "2 expressions"),
        ("())", "no opening one"),
        ("a b", "found 2"),
    ],
)
def test_errors_say_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(PddlError, match=message):
        read_problem(text) if text.startswith("(d") else read_expression(text)


def test_kinds_and_numbers() -> None:
    identifiers = [
        "sink_bar_1_bar_sinkbasin",
        "mug_bar_1",
        "mug_bar_2",
        "mug_bar_1",
        "agent1",
        "bathtub_bar_3_bar_bathtubbasin",
    ]
    assert display_names(identifiers) == {
        "agent1": "agent1 ",
        "bathtub_bar_3_bar_bathtubbasin": "bathtubbasin 1",
        "mug_bar_1": "mug 2",
        "mug_bar_2": "mug 1",
        "sink_bar_1_bar_sinkbasin": "sinkbasin 1",
    }
    assert kind_of("basin") == "basin"


@given(
    st.sets(
        st.sampled_from(["mug", "cup", "sink"]).flatmap(lambda kind: st.integers(0, 30).map(f"{kind}_bar_{{}}".format))
    )
)
def test_names_are_unique_and_numbered_from_one(identifiers: set[str]) -> None:
    names = display_names(identifiers)
    assert len(set(names.values())) == len(identifiers)
    for kind in ("mug", "cup", "sink"):
        numbers = sorted(int(name.split()[1]) for name in names.values() if name.startswith(kind))
        assert numbers == list(range(1, len(numbers) + 1))


APPLE = ("inreceptacle", "apple_bar_1", "cabinet_bar_1")
HOT = ("ishot", "apple_bar_1")


def reached(goal: str, *facts: tuple[str, ...]) -> bool:
    return Goal(read_problem(problem(goal=goal))).reached(set(facts))


def test_every_conjunct_of_a_goal_is_needed() -> None:
    assert reached(GOAL, APPLE, HOT)
    assert not reached(GOAL, APPLE)
    assert not reached(GOAL, ("inreceptacle", "apple_bar_2", "cabinet_bar_1"), ("ishot", "apple_bar_2"))  # not heatable


def test_two_objects_must_differ() -> None:
    goal = """(exists (?r - receptacle) (exists (?o1 - object) (and (objectType ?o1 AppleType) (inReceptacle ?o1 ?r)
        (receptacleType ?r CabinetType) (exists (?o2 - object)
        (and (not (= ?o1 ?o2)) (objectType ?o2 AppleType) (inReceptacle ?o2 ?r))))))"""
    other = ("inreceptacle", "apple_bar_2", "cabinet_bar_1")
    assert reached(goal, APPLE, other)
    assert not reached(goal, APPLE)
    assert not reached(goal, APPLE, ("inreceptacle", "apple_bar_2", "fridge_bar_1"))


def test_alternatives_and_same_names_in_two_quantifiers() -> None:
    goal = """(and (exists (?o - object) (isHot ?o)) (exists (?o - object)
        (or (isCool ?o) (and (objectType ?o PenType) (holds agent1 ?o)))))"""
    assert reached(goal, HOT, ("iscool", "apple_bar_2"))
    assert reached(goal, HOT, ("holds", "agent1", "pen_bar_1"))
    assert not reached(goal, HOT, ("holds", "agent1", "apple_bar_2"))


def test_a_goal_without_changing_facts() -> None:
    assert reached("(openable Fridge_bar_1)")
    assert not reached("(openable Shelf_bar_1)")
    assert reached("(and (not (openable Shelf_bar_1)) (= Shelf_bar_1 Shelf_bar_1))")
    assert not reached("(exists (?x - nothing) (openable Fridge_bar_1))")


@pytest.mark.parametrize(
    ("goal", "message"),
    [
        ("(forall (?o - object) (isHot ?o))", "'forall' is not supported"),
        ("(not (isHot Apple_bar_1))", "negates 'ishot'"),
        ("(isHot ?o)", "not introduced by an exists"),
        ("(= ?o)", "two terms"),
        ("won", "instead of"),
    ],
)
def test_goals_that_are_not_understood(goal: str, message: str) -> None:
    with pytest.raises(PddlError, match=message):
        reached(goal)
