"""A winning plan for a layout, found by knowing where everything is and proved by playing it."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.alfworld.game import Game
from tasks.alfworld.generate.layout import Layout, Receptacle

_TREATMENT = {
    "pick_clean_then_place_in_recep": ("clean", "SinkBasin"),
    "pick_heat_then_place_in_recep": ("heat", "Microwave"),
    "pick_cool_then_place_in_recep": ("cool", "Fridge"),
}


class _Walker:
    """Plays commands that must be admissible, and keeps them."""

    def __init__(self, game: Game) -> None:
        self.game = game
        self.commands: list[str] = []

    def name(self, identifier: str) -> str:
        return self.game.world.names[identifier.lower()]

    def do(self, command: str, *, optional: bool = False) -> None:
        if command in self.game.admissible:
            self.commands.append(command)
            self.game.step(command)
        elif not optional:
            raise RuntimeError(f"the plan's command '{command}' is not admissible")

    def reach(self, place: Receptacle) -> None:
        name = self.name(place.id)
        self.do(f"go to {name}", optional=True)  # not on offer when the agent is there already
        self.do(f"open {name}", optional=True)


def walkthrough(layout: Layout, game: Game) -> tuple[str, ...]:
    """Commands of dialect 0.4 that win ``game``, which is left won.

    Raises:
        RuntimeError: no such plan; the generator has drawn an impossible game.
    """
    walker = _Walker(game)
    wanted = [thing for thing in layout.things if thing.kind == layout.wanted]
    for thing in wanted[: 2 if layout.task_type == "pick_two_obj_and_place" else 1]:
        name = walker.name(thing.id)
        walker.reach(thing.place)
        walker.do(f"take {name} from {walker.name(thing.place.id)}")
        for verb, appliance in _appliances(layout):
            walker.do(f"go to {walker.name(appliance.id)}", optional=True)
            walker.do(f"{verb} {name} with {walker.name(appliance.id)}")
        if layout.target:
            target = next(one for one in layout.receptacles if one.kind == layout.target)
            walker.reach(target)
            walker.do(f"move {name} to {walker.name(target.id)}")
        else:
            lamp = next(one for one in layout.things if one.kind == "DeskLamp")
            walker.do(f"go to {walker.name(lamp.place.id)}", optional=True)
            walker.do(f"use {walker.name(lamp.id)}")
    if not game.won:
        raise RuntimeError("the plan does not win")
    return tuple(walker.commands)


def _appliances(layout: Layout) -> Iterator[tuple[str, Receptacle]]:
    if layout.task_type in _TREATMENT:
        verb, kind = _TREATMENT[layout.task_type]
        yield verb, next(one for one in layout.receptacles if one.kind == kind)
