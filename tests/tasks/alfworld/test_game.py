"""The own engine's behaviours, each on a game small enough to read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import MixrouteError
from tasks.alfworld.game import Game
from tasks.alfworld.pddl import PddlError
from tests.tasks.alfworld.small import FACTS, TASK, WINNING, problem


def play(*commands: str, dialect: str = "0.4", facts: str = FACTS) -> tuple[Game, list[str]]:
    """A game after ``commands``, and the answers."""
    game = Game(problem(facts), TASK, dialect)
    return game, [game.step(command) for command in commands]


def test_opening_lists_all_receptacles_with_numbers_counting_down() -> None:
    game = Game(problem(), TASK)
    assert game.reset() == (
        "-= Welcome to TextWorld, ALFRED! =-\n\nYou are in the middle of a room. Looking quickly around you, you see a "
        "cabinet 1, a countertop 1, a fridge 1, a microwave 1, a shelf 2, a shelf 1, and a sinkbasin 1.\n\n" + TASK
    )
    assert not game.won


def test_a_later_look_in_mid_room_sees_nothing() -> None:
    _, answers = play("look")
    assert answers == ["You are in the middle of a room. Looking quickly around you, you see nothing."]


def test_admissible_is_sorted_and_leaves_out_receptacles_at_the_same_location() -> None:
    game, _ = play("go to cabinet 1")
    assert game.admissible == (
        "examine cabinet 1",
        "examine countertop 1",
        "go to fridge 1",
        "go to microwave 1",
        "go to shelf 1",
        "go to shelf 2",
        "go to sinkbasin 1",
        "help",
        "inventory",
        "look",
        "open cabinet 1",
        "take apple 2 from countertop 1",
        "take knife 1 from countertop 1",
    )
    assert game.step("go to countertop 1") == "Nothing happens."


@pytest.mark.parametrize("action", ["", "LOOK", "go to nowhere 1", "look around", "go  to shelf 1", "open shelf 1"])
def test_what_is_not_admissible_changes_nothing(action: str) -> None:
    game, _ = play("go to shelf 1")
    before = game.admissible
    assert game.step(action) == "Nothing happens."
    assert game.admissible == before


def test_surrounding_whitespace_is_ignored() -> None:
    _, answers = play(" inventory \n")
    assert answers == ["You are not carrying anything."]


def test_one_object_at_most_is_carried_and_only_it_can_be_examined() -> None:
    game, answers = play("go to countertop 1", "take knife 1 from countertop 1", "inventory", "examine knife 1")
    assert answers[1:] == [
        "You pick up the knife 1 from the countertop 1.",
        "You are carrying: a knife 1.",
        "There's nothing special about knife 1.",
    ]
    assert not [command for command in game.admissible if command.startswith("take")]
    assert "examine apple 2" not in game.admissible


def test_closed_receptacles_hide_what_is_in_them() -> None:
    game, answers = play("go to fridge 1", "examine fridge 1", "open fridge 1", "examine fridge 1", "close fridge 1")
    assert answers == [
        "You arrive at fridge 1. The fridge 1 is closed.",
        "The fridge 1 is closed.",
        "You open the fridge 1. The fridge 1 is open. In it, you see a apple 1.",
        "The fridge 1 is open. In it, you see a apple 1.",
        "You close the fridge 1.",
    ]
    assert "take apple 1 from fridge 1" not in game.admissible


def test_what_does_not_fit_cannot_be_put() -> None:
    game, _ = play("go to countertop 1", "take knife 1 from countertop 1", "open cabinet 1")
    assert "move knife 1 to countertop 1" in game.admissible
    assert "move knife 1 to cabinet 1" not in game.admissible


def test_heating_removes_cool_and_cooling_removes_hot() -> None:
    take = ("go to countertop 1", "take apple 2 from countertop 1")
    _, answers = play(
        *take, "go to microwave 1", "heat apple 2 with microwave 1", "examine apple 2", "go to fridge 1",
        "cool apple 2 with fridge 1", "examine apple 2", "go to sinkbasin 1", "clean apple 2 with sinkbasin 1",
        "examine apple 2",
    )  # fmt: skip
    assert answers[3:5] == ["You heat the apple 2 using the microwave 1.", "This is a hot apple 2."]
    assert answers[6:8] == ["You cool the apple 2 using the fridge 1.", "This is a cold apple 2."]
    assert answers[9:] == ["You clean the apple 2 using the sinkbasin 1.", "This is a cool and clean apple 2."]


def test_an_object_that_cannot_be_heated_is_not_offered_to_the_microwave() -> None:
    game, _ = play("go to fridge 1", "open fridge 1", "take apple 1 from fridge 1", "go to microwave 1")
    assert "heat apple 1 with microwave 1" not in game.admissible


def test_lamps_always_say_that_they_turn_on() -> None:
    _, answers = play("go to shelf 1", "use desklamp 1", "use desklamp 1")
    assert answers[1:] == ["You turn on the desklamp 1."] * 2


def test_slicing_needs_a_knife_in_hand_and_the_object_at_the_place() -> None:
    game, answers = play("go to countertop 1", "take knife 1 from countertop 1", "slice apple 2 with knife 1")
    assert answers[2] == "You sliced the apple 2 with the knife 1."
    game.step("move knife 1 to countertop 1")
    game.step("take apple 2 from countertop 1")
    assert game.step("examine apple 2") == "This is a sliced apple 2."


def test_objects_that_hold_others_say_so() -> None:
    _, answers = play("go to shelf 2", "take box 1 from shelf 2", "examine box 1")
    assert answers[2] == "This is a normal box 1. In it, you see a pen 1."


def test_an_object_recorded_in_two_receptacles_stays_in_the_other() -> None:
    game, answers = play("go to shelf 2", "take pen 1 from shelf 2", "go to shelf 1", "move pen 1 to shelf 1", "look")
    assert answers[2] == "You arrive at shelf 1. On the shelf 1, you see a desklamp 1, and a pen 1."
    assert game.step("examine shelf 1") == "On the shelf 1, you see a desklamp 1, and a pen 1."


def test_an_object_moved_between_receptacles_of_one_place_lies_on_the_floor_too() -> None:
    _, answers = play(
        "go to countertop 1", "look", "take apple 2 from countertop 1", "open cabinet 1", "move apple 2 to cabinet 1",
        "look",
    )  # fmt: skip
    assert answers[1] == "You are facing the cabinet 1, and countertop 1. Next to it, you see nothing."
    assert answers[5] == "You are facing the cabinet 1, and countertop 1. Next to it, you see a apple 2."


def test_the_game_is_won_by_its_goal_and_starts_over() -> None:
    game = Game(problem(), TASK)
    for _ in range(2):
        game.reset()
        states = []
        for command in WINNING:
            game.step(command)
            states.append(game.won)
        assert states == [False] * (len(WINNING) - 1) + [True]


def test_dialect_03_words_and_locations() -> None:
    game, answers = play(
        "go to countertop 1", "take apple 2 from countertop 1", "help", "put apple 2 in/on countertop 1", dialect="0.3"
    )
    # Seven locations, numbered downwards: loc_bar_1 sorts first.
    assert answers == [
        "You arrive at loc 7. On the countertop 1, you see a apple 2, and a knife 1.",
        "You pick up the apple 2 from the countertop 1.",
        "Nothing happens.",
        "You put the apple 2 in/on the countertop 1.",
    ]
    assert "help" not in game.admissible


def test_unknown_dialect() -> None:
    with pytest.raises(MixrouteError, match=r"unknown ALFWorld dialect '0.5': use one of '0.4', '0.3'"):
        Game(problem(), TASK, "0.5")


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        (FACTS.replace("(atLocation agent1 loc_bar_9)", ""), "starts the agent at 0 locations"),
        (FACTS + "(receptacleAtLocation Fridge_bar_1 loc_bar_1)", "at two locations"),
        (FACTS + "(holds agent1 Apple_bar_1)", "not one that an ALFWorld game starts with"),
        (FACTS + "(flies agent1)", "not one that an ALFWorld game starts with"),
        (FACTS + "(openable Oven_bar_1)", "undeclared object 'oven_bar_1'"),
    ],
)
def test_problems_that_are_no_games(facts: str, message: str) -> None:
    with pytest.raises(PddlError, match=message):
        Game(problem(facts), TASK)


@given(st.lists(st.text(max_size=30) | st.sampled_from(["look", " help", *WINNING])))
def test_no_text_breaks_the_game_and_only_admissible_commands_change_it(actions: list[str]) -> None:
    game = Game(problem(), TASK)
    for action in actions:
        before = (game.admissible, game.won)
        answer = game.step(action)
        if action.strip() not in before[0]:
            assert answer == "Nothing happens."
            assert (game.admissible, game.won) == before
        assert list(game.admissible) == sorted(set(game.admissible))
