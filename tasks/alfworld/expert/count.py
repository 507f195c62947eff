"""``python -m tasks.alfworld.expert.count --data FOLDER``: counts where objects lie in training games."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterable

from mixroute import Instance
from tasks.alfworld.data import data_folder, find_games
from tasks.alfworld.expert.priors import STORED, Priors
from tasks.alfworld.expert.transcript import kind_of
from tasks.alfworld.game import Game
from tasks.alfworld.task import AlfworldGenTask


def count(instances: Iterable[Instance]) -> Priors:
    """Count over games."""
    found: dict[str, Counter[str]] = {}
    places: dict[str, Counter[str]] = {}
    for instance in instances:
        data = instance.data.load()
        world = Game(data.problem, data.task).world
        pairs = [
            (kind_of(world.names[fact[1]]), kind_of(world.names[fact[2]]))
            for fact in world.initial if fact[0] == "inreceptacle"
        ]  # fmt: skip
        receptacles = Counter(kind_of(world.names[name]) for name in world.location)
        for thing in {thing for thing, _ in pairs}:
            places.setdefault(thing, Counter()).update(receptacles)
        for thing, place in pairs:
            found.setdefault(thing, Counter())[place] += 1
    return Priors({
        thing: {place: round(n / places[thing][place], 4) for place, n in sorted(counter.items())}
        for thing, counter in sorted(found.items())
    })  # fmt: skip


def main() -> None:
    """Count over the official and the generated training games, and store the result."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--data", help="folder of the official games")
    official = find_games(data_folder(parser.parse_args().data), "train")
    generated = AlfworldGenTask(split="train").instances()
    rates = count([*official, *generated]).rates
    STORED.write_text(json.dumps(rates, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
