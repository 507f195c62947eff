"""Thoughts of the expert: why it gives a command, in two or three short sentences.

A thought repeats what a small model forgets: what was searched, what is held, what is still to do. It names the object
and the place of the command as the command does, and says first what is wrong if the command before was a mistake.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tasks import wording
from tasks.alfworld.expert.plan import LAMP, Aim, ParsedGoal, Planned
from tasks.alfworld.expert.transcript import Known, by_number, kind_of, of_kind

_STATES = {"clean": "clean", "heat": "hot", "cool": "cool"}
_COMMANDS = re.compile(
    r"(?P<take>take) (?P<taken>[a-z]+ \d+) from (?P<source>[a-z]+ \d+)|(?P<go>go to) (?P<place>[a-z]+ \d+)"
    r"|(?:use|open|close|examine|(?:move|put|clean|heat|cool) (?P<used>[a-z]+ \d+) (?:to|in/on|with)) "
    r"(?P<other>[a-z]+ \d+)"
)


def explain(known: Known, goal: ParsedGoal, planned: Planned) -> str:
    """The thought that precedes a command.

    Args:
        known: What an agent has seen.
        goal: Goal of the game.
        planned: The command.
    """
    verb = planned.command.partition(" ")[0]
    if verb == "examine":
        why = f"I cannot go to {planned.place}, so it must be right here"
        return wording.thought([f"{why}.", f"I examine {planned.place} {_purpose(goal, planned)}."])
    words = _BY_AIM[planned.aim](known, goal, planned, verb)
    return wording.thought([_mistake(known, planned), *words])


def _mistake(known: Known, planned: Planned) -> str:
    """What is wrong with the command before; empty if nothing is known to be."""
    if known.last in known.failed:
        return _failure(known)
    place = known.last.removeprefix("go to ")
    if planned.place in known.here or not known.gone_back:
        return ""
    return f"{place} was searched before." if planned.aim is Aim.SEARCH else f"{place} is the wrong place."


def _failure(known: Known) -> str:
    """Why the last command did nothing, as far as an agent can tell."""
    found = _COMMANDS.fullmatch(known.last)
    if found is None:
        return "That was no valid command."
    place = found["source"] or found["place"] or found["other"]
    if found["take"] and known.held:
        return "I can hold one object only."
    if found["used"] and found["used"] != known.held:
        return f"I do not hold {found['used']}."
    if not known.last.startswith("use ") and place not in known.receptacles:
        return f"There is no {place}."
    if found["take"] and place in known.contents and found["taken"] not in known.contents[place]:
        return f"{found['taken']} is not at {place}."
    if found["go"] and place in known.here:
        return f"I am at {place} already."
    if place in known.receptacles and not found["go"] and place not in known.here:
        return f"I may not be at {place}."
    return "That did nothing."


def _purpose(goal: ParsedGoal, planned: Planned) -> str:
    match planned.aim:
        case Aim.SEARCH:
            return f"to look for {wording.a(planned.thing)}"
        case Aim.FETCH:
            return f"to take {planned.thing}"
        case Aim.TREAT:
            return f"to {goal.verb} {planned.thing}"
        case Aim.LIGHT:
            return f"to turn on {planned.thing}"
        case _:
            return f"to put {planned.thing} there"


def _search(known: Known, goal: ParsedGoal, planned: Planned, verb: str) -> Iterator[str]:
    if verb == "open":
        yield f"{planned.place} is closed and {wording.a(planned.thing)} may be in it."
        yield f"I open {planned.place} to look inside."
        return
    yield _need(known, goal)
    if not known.held and not goal.target and (lamp := _seen(known, LAMP)):
        yield f"{lamp[0]} is at {lamp[1]}."
    yield _progress(known, planned.place)


def _need(known: Known, goal: ParsedGoal) -> str:
    """What is looked for, and what for."""
    if known.held:
        return f"I hold {known.held} and need a {LAMP}."
    placed = _placed(known, goal)
    if placed:
        return f"{wording.listed(placed)} is at {of_kind(known, goal.target)[0]}, I need one more {goal.thing}."
    if goal.count == 2:
        return f"I need two {wording.plural(goal.thing)}."
    if goal.verb:
        return f"I need {wording.a(goal.thing)} to {goal.verb}."
    if goal.target:
        return f"I need {wording.a(goal.thing)} for the {goal.target}."
    return f"I need {wording.a(goal.thing)} to look at."


def _progress(known: Known, place: str) -> str:
    """What was searched, and that ``place`` is next."""
    kind = kind_of(place)
    same = of_kind(known, kind)
    done = [one for one in same if one in known.searched]
    if done:
        some, verb = _places(kind, done), "is" if len(done) == 1 else "are"
        return f"{some} of {len(same)} {verb} searched, next is {place}."
    yet = f"next are {_places(kind, same)}, first {place}" if len(same) > 1 else f"next is {place}"
    if not known.searched:
        return f"nothing is searched yet, {yet}."
    before = kind_of(known.searched[-1])
    every = of_kind(known, before)
    seen = [one for one in every if one in known.searched]
    if len(every) > 1 and len(seen) == len(every):
        return f"all {len(every)} {wording.plural(before)} are searched, {yet}."
    return f"{_places(before, seen)} {'is' if len(seen) == 1 else 'are'} searched, {yet}."


def _fetch(known: Known, goal: ParsedGoal, planned: Planned, verb: str) -> Iterator[str]:
    thing, place = planned.thing, planned.place
    if verb == "take":
        yield f"Here at {place} is {thing}, {_which(known, goal)}."
        yield f"I take {thing} {_after_taking(known, goal)}."
    elif verb == "open":
        yield f"{thing} is in {place}, which is closed."
        yield f"I open {place} to take {thing}."
    else:
        placed = _placed(known, goal)
        if placed:
            yield f"{wording.listed(placed)} is placed, one more is needed."
        else:
            yield f"I need {wording.a(goal.thing)}{' that is ' + _STATES[goal.verb] if goal.verb else ''}."
        yield f"{thing} is at {place}, so I go to {place} to take it."


def _which(known: Known, goal: ParsedGoal) -> str:
    if goal.count == 2:
        return f"the {'second' if _placed(known, goal) else 'first'} of two"
    return f"the {goal.thing} that I need"


def _after_taking(known: Known, goal: ParsedGoal) -> str:
    if goal.verb:
        return f"to {goal.verb} it"
    if goal.target:
        return f"to put it in {of_kind(known, goal.target)[0]}" if of_kind(known, goal.target) else "to place it"
    lamp = _seen(known, LAMP)
    return f"and bring it to {lamp[0]} at {lamp[1]}" if lamp else f"and then find a {LAMP}"


def _treat(known: Known, goal: ParsedGoal, planned: Planned, verb: str) -> Iterator[str]:
    yield f"I hold {planned.thing}, which is not {_STATES[goal.verb]} yet."
    if verb == "go":
        yield f"I go to {planned.place} to {goal.verb} it."
    else:
        yield f"I am at {planned.place}, so I {goal.verb} it here."
    yield f"Then it goes to the {goal.target}."


def _place(known: Known, goal: ParsedGoal, planned: Planned, verb: str) -> Iterator[str]:
    thing, place = planned.thing, planned.place
    state = f"{_STATES[goal.verb]} " if goal.verb and (goal.verb, thing) in known.treated else ""
    if verb == "go":
        yield f"I hold {thing}, {'which is ' + state + 'now' if state else _which_held(known, goal)}."
        yield f"The goal is the {goal.target}, so I go to {place}."
        return
    if verb == "open":
        yield f"I hold {thing} for {place}, which is closed."
        yield f"I open {place} to put {thing} inside."
        return
    yield f"I am at {place} and hold {state}{thing}."
    if goal.count == 1:
        rest = "that is the last step"
    elif _placed(known, goal):
        rest = "that makes two of two"
    else:
        other = _seen(known, goal.thing)
        rest = f"then I need one more{f': {other[0]} is at {other[1]}' if other else f' {goal.thing}'}"
    yield f"I put {thing} in {place}, {rest}."


def _which_held(known: Known, goal: ParsedGoal) -> str:
    return _which(known, goal) if goal.count == 2 else f"the {goal.thing} of the goal"


def _light(known: Known, goal: ParsedGoal, planned: Planned, verb: str) -> Iterator[str]:
    lamp, place = planned.thing, planned.place
    if verb == "go":
        yield f"I hold {known.held} and need the {LAMP}."
        yield f"{lamp} is at {place}, so I go to {place} to turn it on."
    elif verb == "open":
        yield f"I hold {known.held}, and {lamp} is in {place}, which is closed."
        yield f"I open {place}."
    else:
        yield f"I hold {known.held}, and {lamp} is here at {place}."
        yield f"I use {lamp} to look at the {goal.thing} in its light."


def _put_down(known: Known, goal: ParsedGoal, planned: Planned, verb: str) -> Iterator[str]:
    thing, place = planned.thing, planned.place
    yield f"I hold {thing}, but the goal needs {wording.a(goal.thing)}."
    if verb == "go":
        yield f"I go to {place} to put {thing} down first."
    elif verb == "open":
        yield f"{place} is closed, so I open {place} to put {thing} down."
    else:
        yield f"I put {thing} down in {place} first."


def _look(known: Known, goal: ParsedGoal, planned: Planned, verb: str) -> Iterator[str]:
    yield "I know no other command that could help from here, so I look around and then try again."


_BY_AIM = {
    Aim.SEARCH: _search,
    Aim.FETCH: _fetch,
    Aim.TREAT: _treat,
    Aim.PLACE: _place,
    Aim.LIGHT: _light,
    Aim.PUT_DOWN: _put_down,
    Aim.LOOK: _look,
}


def _placed(known: Known, goal: ParsedGoal) -> list[str]:
    """The objects of a goal of two that are where they go."""
    targets = of_kind(known, goal.target)[:1] if goal.count == 2 else []
    return [thing for place in targets for thing in known.contents.get(place, ()) if kind_of(thing) == goal.thing]


def _seen(known: Known, kind: str) -> tuple[str, str] | None:
    """An object of a kind that was seen, and where it is."""
    found = ((thing, place) for place, things in known.contents.items() for thing in things if kind_of(thing) == kind)
    return next(found, None)


def _places(kind: str, places: list[str]) -> str:
    """Places of one kind: ``cabinets 1 to 3 and 5``."""
    if len(places) == 1:
        return places[0]
    return f"{wording.plural(kind)} {wording.numbers(by_number(place)[1] for place in places)}"
