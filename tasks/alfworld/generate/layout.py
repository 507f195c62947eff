"""Random rooms with their content and a goal."""

from __future__ import annotations

import random
from dataclasses import dataclass

from tasks.alfworld.generate.catalog import (
    ALWAYS_OPENABLE,
    CLEANABLE,
    COOLABLE,
    FITS,
    HEATABLE,
    MOSTLY_OPENABLE,
    ROOMS,
    Room,
)

_ROOMS_BY_TYPE = {
    "pick_and_place_simple": ("kitchen", "bedroom", "bathroom", "living room"),
    "look_at_obj_in_light": ("bedroom", "living room"),
    "pick_clean_then_place_in_recep": ("kitchen", "bathroom"),
    "pick_heat_then_place_in_recep": ("kitchen",),
    "pick_cool_then_place_in_recep": ("kitchen",),
    "pick_two_obj_and_place": ("kitchen", "bedroom", "bathroom", "living room"),
}
_TREATMENT = {
    "pick_clean_then_place_in_recep": (CLEANABLE, "SinkBasin"),
    "pick_heat_then_place_in_recep": (HEATABLE, "Microwave"),
    "pick_cool_then_place_in_recep": (COOLABLE, "Fridge"),
}
_WORKTOPS = frozenset({"Bed", "CoffeeTable", "CounterTop", "Desk", "DiningTable", "Dresser", "Sofa"})


@dataclass(frozen=True, slots=True)
class Receptacle:
    """A piece of furniture; ``spot`` is what receptacles reached from one place share."""

    id: str
    kind: str
    spot: str
    openable: bool


@dataclass(frozen=True, slots=True)
class Thing:
    """An object and the receptacle it starts in."""

    id: str
    kind: str
    place: Receptacle


@dataclass(frozen=True, slots=True)
class Layout:
    """A furnished room and its goal; ``target`` is empty where nothing has to be put anywhere."""

    task_type: str
    start: str
    receptacles: tuple[Receptacle, ...]
    things: tuple[Thing, ...]
    wanted: str
    target: str


class _Identifiers:
    """Identifiers in the form of the official games: a kind and a point in space, each point used once."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._used: set[str] = set()

    def entity(self, kind: str) -> str:
        while True:
            point = "_bar_".join(_coordinate(self._rng.randint(low, 350)) for low in (-350, 0, -350))
            if point not in self._used:
                self._used.add(point)
                break
        if kind.endswith("Basin"):  # SinkBasin: the basin of a sink
            return f"{kind.removesuffix('Basin')}_bar_{point}_bar_{kind}"
        return f"{kind}_bar_{point}"

    def spot(self) -> str:
        while True:
            x, z = (self._rng.randint(-12, 12) for _ in range(2))
            facing, tilt = self._rng.randint(0, 3), self._rng.choice((0, 30, 45, 60))
            name = "loc_bar_" + "_bar_".join((_signed(x), _signed(z), str(facing), str(tilt)))
            if name not in self._used:
                self._used.add(name)
                return name


def draw(task_type: str, rng: random.Random) -> Layout:
    """A random room with a goal of ``task_type`` that is not fulfilled at the start."""
    room = ROOMS[rng.choice(_ROOMS_BY_TYPE[task_type])]
    identifiers = _Identifiers(rng)
    start = identifiers.spot()
    receptacles = _furnish(room, rng, identifiers)
    kinds = {one.kind for one in receptacles}
    wanted, target = _goal(task_type, room, kinds, rng)
    counts = {kind: rng.randint(*span) for kind, span in room.objects.items()}
    counts[wanted] = max(counts[wanted], 2 if task_type == "pick_two_obj_and_place" else 1)
    things = []
    for kind, count in counts.items():
        # What is wanted starts elsewhere than where it must go, or the game would be won before it begins.
        barred = target if kind == wanted else ""
        places = [one for one in receptacles if kind in FITS.get(one.kind, ()) and one.kind != barred]
        weights = [4 if one.kind in _WORKTOPS else 1 for one in places]
        for place in rng.choices(places, weights, k=count) if places else ():
            things.append(Thing(identifiers.entity(kind), kind, place))
    stands = [one for one in receptacles if one.kind in room.lamps]
    if stands:
        things.append(Thing(identifiers.entity("DeskLamp"), "DeskLamp", rng.choice(stands)))
    return Layout(task_type, start, tuple(receptacles), tuple(things), wanted, target)


def _furnish(room: Room, rng: random.Random, identifiers: _Identifiers) -> list[Receptacle]:
    receptacles: list[Receptacle] = []
    for kind, span in room.receptacles.items():
        spot = ""
        for _ in range(rng.randint(*span)):
            # In the official games too, one receptacle in six is reached from the same place as another of its kind.
            if not spot or rng.random() > 0.15:
                spot = identifiers.spot()
            openable = kind in ALWAYS_OPENABLE or (kind in MOSTLY_OPENABLE and rng.random() < 0.85)
            receptacles.append(Receptacle(identifiers.entity(kind), kind, spot, openable))
    return receptacles


def _goal(task_type: str, room: Room, kinds: set[str], rng: random.Random) -> tuple[str, str]:
    """Kinds of the wanted object and of its target."""
    allowed, appliance = _TREATMENT.get(task_type, (frozenset(room.objects), ""))
    # Each wanted kind needs a place to start from besides the target.
    possible = [kind for kind in room.objects if kind in allowed]
    homes = {kind: [place for place in sorted(kinds) if kind in FITS.get(place, ())] for kind in possible}
    if task_type == "look_at_obj_in_light":
        return rng.choice([kind for kind, places in homes.items() if places]), ""
    pairs = [
        (kind, place) for kind, places in homes.items() if len(places) > 1
        for place in places if place != appliance
    ]  # fmt: skip
    wanted = rng.choice(sorted({kind for kind, _ in pairs}))
    return wanted, rng.choice([place for kind, place in pairs if kind == wanted])


def _coordinate(hundredths: int) -> str:
    sign = "minus" if hundredths < 0 else "plus"
    return f"_{sign}_{abs(hundredths) // 100:02d}_dot_{abs(hundredths) % 100:02d}"


def _signed(number: int) -> str:
    return f"_minus_{-number}" if number < 0 else str(number)
