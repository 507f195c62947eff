"""The PDDL problem and the goal sentence of a layout."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tasks.alfworld.generate.catalog import CLEANABLE, COOLABLE, FITS, HEATABLE, HOLDERS, SLICEABLE
from tasks.alfworld.generate.layout import Layout

_SENTENCES = {
    "pick_and_place_simple": ("put a {o} in {r}.", "put some {o} on {r}."),
    "look_at_obj_in_light": ("look at {o} under the desklamp.", "examine the {o} with the desklamp."),
    "pick_clean_then_place_in_recep": ("put a clean {o} in {r}.", "clean some {o} and put it in {r}."),
    "pick_heat_then_place_in_recep": ("put a hot {o} in {r}.", "heat some {o} and put it in {r}."),
    "pick_cool_then_place_in_recep": ("put a cool {o} in {r}.", "cool some {o} and put it in {r}."),
    "pick_two_obj_and_place": ("put two {o} in {r}.", "find two {o} and put them in {r}."),
}
_PLACED = "(objectType ?o {o}Type) (receptacleType ?r {r}Type) (inReceptacle ?o ?r)"
_ONE = f"(and (exists (?r - receptacle) (exists (?o - object) (and {{treated}}{_PLACED}))))"
_LOOK = (
    "(and (exists (?ot - object ?r - receptacle ?a - agent ?l - location) (and (objectType ?ot DeskLampType) "
    "(toggleable ?ot) (isToggled ?ot) (receptacleAtLocation ?r ?l) (atLocation ?a ?l) (inReceptacle ?ot ?r))) "
    "(exists (?o - object ?a - agent) (and (objectType ?o {o}Type) (holds ?a ?o))))"
)
_TWO = (
    "(and (exists (?r - receptacle) (exists (?o1 - object) (and (objectType ?o1 {o}Type) (receptacleType ?r {r}Type) "
    "(inReceptacle ?o1 ?r) (exists (?o2 - object) (and (not (= ?o1 ?o2)) (objectType ?o2 {o}Type) "
    "(receptacleType ?r {r}Type) (inReceptacle ?o2 ?r)))))))"
)
_GOALS = {
    "pick_and_place_simple": _ONE.format(treated="", o="{o}", r="{r}"),
    "look_at_obj_in_light": _LOOK,
    "pick_clean_then_place_in_recep": _ONE.format(treated="(cleanable ?o) (isClean ?o) ", o="{o}", r="{r}"),
    "pick_heat_then_place_in_recep": _ONE.format(treated="(heatable ?o) (isHot ?o) ", o="{o}", r="{r}"),
    "pick_cool_then_place_in_recep": _ONE.format(treated="(coolable ?o) (isCool ?o) ", o="{o}", r="{r}"),
    "pick_two_obj_and_place": _TWO,
}
_PROPERTIES = {
    "cleanable": CLEANABLE,
    "heatable": HEATABLE,
    "coolable": COOLABLE,
    "sliceable": SLICEABLE,
    "isReceptacleObject": HOLDERS,
    "toggleable": frozenset({"DeskLamp"}),
}


def sentence(layout: Layout, rng: random.Random) -> str:
    """The goal as the player reads it."""
    text = rng.choice(_SENTENCES[layout.task_type])
    return "Your task is to: " + text.format(o=layout.wanted.lower(), r=layout.target.lower())


def problem(layout: Layout, name: str) -> str:
    """The PDDL problem of a layout, in the vocabulary of the official games."""
    objects = "\n".join(f"  {names} - {kind}" for kind, names in _declared(layout).items())
    facts = "\n".join(f"  ({fact})" for fact in _facts(layout))
    goal = _GOALS[layout.task_type].format(o=layout.wanted, r=layout.target)
    sections = f"(:domain alfred)\n(:objects\n{objects}\n)\n(:init\n{facts}\n)\n(:goal\n  {goal}\n)"
    return f"(define (problem {name})\n{sections}\n)\n"


def _declared(layout: Layout) -> dict[str, str]:
    spots = dict.fromkeys([layout.start, *(one.spot for one in layout.receptacles)])
    names = {
        "agent": ["agent1"],
        "location": spots,
        "receptacle": [one.id for one in layout.receptacles],
        "object": [one.id for one in layout.things],
        "rtype": sorted({f"{one.kind}Type" for one in layout.receptacles} | {"FridgeType", "MicrowaveType", *_SINKS}),
        "otype": sorted({f"{one.kind}Type" for one in layout.things} | {"KnifeType", "ButterKnifeType"}),
    }
    return {kind: " ".join(members) for kind, members in names.items()}


_SINKS = ("SinkType", "SinkBasinType")
"""Besides fridge, microwave and knives: types that the original's domain names and a problem must therefore declare."""


def _facts(layout: Layout) -> Iterator[str]:
    yield f"atLocation agent1 {layout.start}"
    for one in layout.receptacles:
        yield f"receptacleType {one.id} {one.kind}Type"
        yield f"receptacleAtLocation {one.id} {one.spot}"
        if one.openable:
            yield f"openable {one.id}"
    for thing in layout.things:
        yield f"objectType {thing.id} {thing.kind}Type"
        yield f"inReceptacle {thing.id} {thing.place.id}"
        yield f"objectAtLocation {thing.id} {thing.place.spot}"
        if thing.kind != "DeskLamp":
            yield f"pickupable {thing.id}"
        for name, kinds in _PROPERTIES.items():
            if thing.kind in kinds:
                yield f"{name} {thing.id}"
    present = {thing.kind for thing in layout.things}
    for kind in sorted({one.kind for one in layout.receptacles}):
        for fitting in sorted(FITS.get(kind, frozenset()) & present):
            yield f"canContain {kind}Type {fitting}Type"
