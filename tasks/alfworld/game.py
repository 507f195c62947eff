"""One play of an ALFWorld game: the state, the commands it offers and the answers it gives.

The rules and sentences are those of the original's PDDL domain and text grammar (release 0.4), down to its oddities;
see ``docs/alfworld.md``. An inadmissible command is answered "Nothing happens." and changes nothing.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterator
from functools import lru_cache

from tasks.alfworld import texts
from tasks.alfworld.dialect import get_dialect
from tasks.alfworld.pddl import Fact, read_problem
from tasks.alfworld.world import Command, World


@lru_cache(maxsize=512)
def _world(problem: str, dialect: str) -> World:
    """Shared by all plays of a game: to read it takes longer than to play it."""
    return World(read_problem(problem), get_dialect(dialect))


class Game:
    """A game in play; ``reset`` starts it over.

    Args:
        problem: Text of the PDDL problem.
        task: The goal sentence, shown at the start.
        dialect: ``0.4`` or ``0.3``.

    Raises:
        PddlError: the problem is cut off, or not one of an ALFWorld game.
        MixrouteError: unknown dialect.
    """

    def __init__(self, problem: str, task: str, dialect: str = "0.4") -> None:
        self.world = _world(problem, dialect)
        self._task = task
        self._answers: dict[str, Callable[[Command], str]] = {
            "go": self._go,
            "open": self._open,
            "close": self._close,
            "take": self._take,
            "put": self._put,
            "clean": self._treat,
            "heat": self._treat,
            "cool": self._treat,
            "use": self._use,
            "slice": self._slice,
        }
        """The verbs that change the state."""
        self.reset()

    def reset(self) -> str:
        """Reset the state; returns the opening text."""
        world = self.world
        self._facts: set[Fact] = set(world.initial)
        self._at = world.start
        self._held = ""
        self._contents: dict[str, list[str]] = {}
        """Objects in each receptacle, sorted."""
        self._objects_at: dict[str, set[str]] = {}
        """Objects recorded at each location; the original keeps this apart from the receptacle's contents."""
        self._taken: set[tuple[str, str]] = set()
        """Objects taken from a receptacle and not put back there."""
        for fact in sorted(world.initial):
            if fact[0] == "inreceptacle":
                self._contents.setdefault(fact[2], []).append(fact[1])
            elif fact[0] == "objectatlocation":
                self._objects_at.setdefault(fact[2], set()).add(fact[1])
        self._refresh()
        around = self._surroundings(list(world.location))
        return f"{texts.BANNER}{around}\n\n{self._task}"

    @property
    def admissible(self) -> tuple[str, ...]:
        """The commands on offer, sorted."""
        return self._admissible

    @property
    def won(self) -> bool:
        """Whether the present state fulfils the goal."""
        return self._won

    def step(self, command: str) -> str:
        """Carry out ``command``, stripped; returns the answer."""
        found = self._commands.get(command.strip())
        if found is None:
            return texts.NOTHING_HAPPENS
        change = self._answers.get(found.verb)
        if change is None:
            return self._observe(found)
        answer = change(found)
        self._refresh()
        return answer

    def _refresh(self) -> None:
        self._commands = self.world.fixed_commands(self._at) | dict(self._changing_commands())
        self._admissible = tuple(sorted(self._commands))
        self._won = self.world.goal.reached(self._facts)

    def _changing_commands(self) -> Iterator[tuple[str, Command]]:
        """Commands on offer besides the fixed ones of the place."""
        world, names, held = self.world, self.world.names, self._held
        for receptacle in world.receptacles_at.get(self._at, ()):
            name = names[receptacle]
            contents = self._contents.get(receptacle, ())
            opened = ("opened", receptacle) in self._facts
            if receptacle in world.openable:
                verb = "close" if opened else "open"
                yield f"{verb} {name}", Command(verb, other=receptacle)
            if opened or receptacle not in world.openable:
                if not held:
                    for obj in contents:
                        if obj in world.pickupable:
                            yield f"take {names[obj]} from {name}", Command("take", obj, receptacle)
                elif world.accepts(receptacle, held):
                    command = world.dialect.put_command.format(o=names[held], r=name)
                    yield command, Command("put", held, receptacle)
            for obj in contents:
                if obj in world.toggleable:
                    yield f"use {names[obj]}", Command("use", obj, receptacle)
            if held:
                for verb, (objects, appliances) in world.appliances.items():
                    if held in objects and receptacle in appliances:
                        yield f"{verb} {names[held]} with {name}", Command(verb, held, receptacle)
        if held:
            yield f"examine {names[held]}", Command("examine object", held)
        if held in world.knives:
            for obj in self._objects_at.get(self._at, set()) & world.sliceable:
                yield f"slice {names[obj]} with {names[held]}", Command("slice", obj, held)

    # Commands that change nothing.

    def _observe(self, command: Command) -> str:
        if command.verb == "look":
            return self._surroundings([])
        if command.verb == "examine receptacle":
            return self._seen(command.other)
        if command.verb == "examine object":
            return self._examined(command.obj)
        if command.verb == "inventory":
            held = self._held
            return f"You are carrying: a {self.world.names[held]}." if held else "You are not carrying anything."
        return texts.HELP

    def _surroundings(self, elsewhere: list[str]) -> str:
        """The answer to a look; in mid-room it lists ``elsewhere``, which the original fills at the start only."""
        names = self.world.names
        here = self.world.receptacles_at.get(self._at, [])
        if not here:
            around = texts.listing([f"a {names[r]}" for r in elsewhere])
            return f"You are in the middle of a room. Looking quickly around you, you see {around}."
        # "On the floor" is what the original calls an object that was taken from one of the receptacles here and put
        # into another one at the same location.
        loose = [obj for obj in sorted(self._objects_at.get(self._at, ())) for r in here if (obj, r) in self._taken]
        facing = texts.listing([names[r] for r in here])
        return f"You are facing the {facing}. Next to it, you see {self._list(loose)}."

    def _seen(self, receptacle: str) -> str:
        name = self.world.names[receptacle]
        seen = self._list(self._contents.get(receptacle, []))
        if receptacle not in self.world.openable:
            return f"On the {name}, you see {seen}."
        if ("opened", receptacle) in self._facts:
            return f"The {name} is open. In it, you see {seen}."
        return f"The {name} is closed."

    def _examined(self, obj: str) -> str:
        name = self.world.names[obj]
        if obj in self.world.holders:
            return f"This is a normal {name}. In it, you see {self._list(self.world.inside.get(obj, []))}."
        states = ("isclean", "ishot", "iscool", "issliced", "istoggled")
        properties = {state for state in states if (state, obj) in self._facts}
        if obj in self.world.toggleable:
            properties.add("toggleable")
        if obj in self.world.sliceable:
            properties.add("sliceable")
        return texts.examined(name, properties)

    def _list(self, entities: list[str]) -> str:
        return texts.listing([f"a {self.world.names[entity]}" for entity in entities])

    # Commands that change the state.

    def _go(self, command: Command) -> str:
        world = self.world
        self._facts.discard(("atlocation", world.agent, self._at))
        self._at = world.location[command.other]
        self._facts.add(("atlocation", world.agent, self._at))
        place = world.names[self._at if world.dialect.arrival_names_location else command.other]
        return f"You arrive at {place}. {self._seen(command.other)}"

    def _open(self, command: Command) -> str:
        self._facts.add(("opened", command.other))
        return f"You open the {self.world.names[command.other]}. {self._seen(command.other)}"

    def _close(self, command: Command) -> str:
        self._facts.discard(("opened", command.other))
        return f"You close the {self.world.names[command.other]}."

    def _take(self, command: Command) -> str:
        _, obj, receptacle = command
        self._facts.discard(("inreceptacle", obj, receptacle))
        self._facts |= {("holds", self.world.agent, obj), ("holdsany", self.world.agent)}
        self._facts.discard(("objectatlocation", obj, self._at))
        self._contents[receptacle].remove(obj)
        self._objects_at.get(self._at, set()).discard(obj)
        self._taken.add((obj, receptacle))
        self._held = obj
        return f"You pick up the {self.world.names[obj]} from the {self.world.names[receptacle]}."

    def _put(self, command: Command) -> str:
        _, obj, receptacle = command
        self._facts |= {("inreceptacle", obj, receptacle), ("objectatlocation", obj, self._at)}
        self._facts -= {("holds", self.world.agent, obj), ("holdsany", self.world.agent)}
        contents = self._contents.setdefault(receptacle, [])
        if obj not in contents:  # a game may start with one object in two receptacles
            insort(contents, obj)
        self._objects_at.setdefault(self._at, set()).add(obj)
        self._taken.discard((obj, receptacle))
        self._held = ""
        return self.world.dialect.put_feedback.format(o=self.world.names[obj], r=self.world.names[receptacle])

    def _treat(self, command: Command) -> str:
        verb, obj, receptacle = command
        if verb == "clean":
            self._facts.add(("isclean", obj))
        else:
            gained, lost = ("ishot", "iscool") if verb == "heat" else ("iscool", "ishot")
            self._facts.add((gained, obj))
            self._facts.discard((lost, obj))
        return f"You {verb} the {self.world.names[obj]} using the {self.world.names[receptacle]}."

    def _use(self, command: Command) -> str:
        self._facts ^= {("ison", command.obj)}
        self._facts.add(("istoggled", command.obj))
        # The grammar asks whether the object was ever toggled, so it says "on" each time.
        return f"You turn on the {self.world.names[command.obj]}."

    def _slice(self, command: Command) -> str:
        self._facts.add(("issliced", command.obj))
        return f"You sliced the {self.world.names[command.obj]} with the {self.world.names[command.other]}."
