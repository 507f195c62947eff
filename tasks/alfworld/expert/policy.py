"""A handcoded expert that knows only what an agent has seen, and where objects lie in the training games.

It serves as the teacher of trained agents. It searches receptacles in the order of how often the wanted object lay in
one of their kind, lowest number first, carries the object to the appliance and to its target, and is a function of the
transcript, so it can take over any episode at any step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mixroute import Observation, Turn
from tasks.alfworld.dialect import Dialect
from tasks.alfworld.expert.plan import LAMP, Aim, ParsedGoal, Planned, parse_goal, planned
from tasks.alfworld.expert.priors import Priors
from tasks.alfworld.expert.thoughts import explain
from tasks.alfworld.expert.transcript import Known, by_number, kind_of, of_kind, read

_APPLIANCES = {"clean": "sinkbasin", "heat": "microwave", "cool": "fridge"}


class Expert:
    """The player.

    Args:
        priors: How often each kind of object lay in each kind of receptacle.
        dialect: Wording of the commands.
    """

    def __init__(self, priors: Priors, dialect: Dialect) -> None:
        self._priors = priors
        self._put_command = dialect.put_command

    def act(self, turns: Sequence[Turn], observation: Observation) -> str:
        """The command to give after ``turns``, now that ``observation`` is shown."""
        known = read(turns, observation)
        return self._choose(known, parse_goal(known.task)).command

    def think(self, turns: Sequence[Turn], observation: Observation) -> str:
        """Why ``act`` gives its command; see ``harness.contracts.Thinker``."""
        known = read(turns, observation)
        goal = parse_goal(known.task)
        return explain(known, goal, self._choose(known, goal))

    def _choose(self, known: Known, goal: ParsedGoal) -> Planned:
        options = (one for one in self._plan(known, goal) if one.command not in known.failed)
        return next(options, Planned("look", Aim.LOOK))

    def _plan(self, known: Known, goal: ParsedGoal) -> Iterator[Planned]:
        """Commands in the order in which they would be given, if those before them have failed here."""
        if known.held and kind_of(known.held) != goal.thing:
            yield from self._put_down(known)
        if known.held:
            yield from self._deliver(known, goal)
        else:
            for place in self._places_of(known, goal):
                things = [thing for thing in known.contents[place] if kind_of(thing) == goal.thing]
                yield from planned(Aim.FETCH, place, things[0], *self._reach(known, place))
                for thing in things:
                    yield Planned(f"take {thing} from {place}", Aim.FETCH, place, thing)
        wanted = LAMP if known.held else goal.thing
        yield from self._search(known, wanted, goal)

    def _put_down(self, known: Known) -> Iterator[Planned]:
        origin = known.origin.get(known.held, "")
        for place in [origin, *sorted(known.here), *sorted(known.contents, key=by_number)]:
            if place:
                yield from self._put(known, Aim.PUT_DOWN, place)

    def _put(self, known: Known, aim: Aim, place: str) -> Iterator[Planned]:
        command = self._put_command.format(o=known.held, r=place)
        return planned(aim, place, known.held, *self._reach(known, place), command)

    def _deliver(self, known: Known, goal: ParsedGoal) -> Iterator[Planned]:
        if not goal.target:
            for place, things in known.contents.items():
                for lamp in things:
                    if kind_of(lamp) == LAMP:
                        yield from planned(Aim.LIGHT, place, lamp, *self._reach(known, place), f"use {lamp}")
            return
        if goal.verb and (goal.verb, known.held) not in known.treated:
            for appliance in of_kind(known, _APPLIANCES[goal.verb]):
                commands = *self._reach(known, appliance, inside=False), f"{goal.verb} {known.held} with {appliance}"
                yield from planned(Aim.TREAT, appliance, known.held, *commands)
        for place in of_kind(known, goal.target):
            yield from self._put(known, Aim.PLACE, place)

    def _places_of(self, known: Known, goal: ParsedGoal) -> list[str]:
        """Places where objects that are still wanted were seen; objects at the target stay there."""
        targets = of_kind(known, goal.target)
        places = []
        for place, things in known.contents.items():
            for thing in things:
                done = place in targets[:1] if goal.count == 2 else place in targets
                if goal.verb and (goal.verb, thing) not in known.treated:
                    done = False
                if kind_of(thing) == goal.thing and not done:
                    places.append(place)
        return sorted(places, key=lambda place: (place not in known.here, by_number(place)))

    def _search(self, known: Known, wanted: str, goal: ParsedGoal) -> Iterator[Planned]:
        def order(place: str) -> tuple[bool, float, tuple[str, int]]:
            # Where things are only to be put, those that are there already would have won the game.
            pointless = kind_of(place) == goal.target and not goal.verb
            return pointless, -self._priors.rate(wanted, kind_of(place)), by_number(place)

        for place in sorted(known.receptacles, key=order):
            if place not in known.contents:
                yield from planned(Aim.SEARCH, place, wanted, *self._reach(known, place))

    def _reach(self, known: Known, place: str, *, inside: bool = True) -> Iterator[str]:
        """Get to ``place`` and, where ``inside`` is needed, open it."""
        if place not in known.here:
            yield f"go to {place}"
            yield f"examine {place}"  # a place that shares the present location cannot be gone to
        elif inside and place in known.closed:
            yield f"open {place}"
