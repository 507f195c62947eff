"""Stories: each generates a question with 2, 4 or 6 operations and its worked solution."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

NAMES = (
    "Ada", "Ben", "Carla", "Dan", "Elif", "Femi", "Grace", "Hugo", "Ines", "Jonas", "Kira", "Liam", "Mina", "Noah",
    "Olga", "Pavel", "Rosa", "Sam", "Tara", "Umar", "Vera", "Will", "Yuki", "Zoe",
)  # fmt: skip
THINGS = (
    "stickers", "marbles", "shells", "coins", "cards", "stamps", "beads", "pebbles", "badges", "buttons", "crayons",
    "acorns", "postcards", "keyrings",
)  # fmt: skip
GOODS = (
    "pens", "books", "mugs", "lamps", "scarves", "candles", "plates", "baskets", "brushes", "maps", "puzzles", "ropes",
)  # fmt: skip
PARTS = ("bolts", "wheels", "toys", "clocks", "chairs", "bottles", "bricks", "hinges", "springs", "tiles")
TIMES = {2: "twice", 3: "three times", 4: "four times", 5: "five times"}


@dataclass(frozen=True, slots=True)
class Level:
    """Difficulty of a problem: the number of operations, and the largest numbers in its text."""

    operations: int
    small: int
    """Largest factor or count of things."""
    large: int
    """Largest amount."""


LEVELS = {"easy": Level(2, 5, 20), "medium": Level(4, 9, 50), "hard": Level(6, 19, 100)}


@dataclass(slots=True)
class Story:
    """A problem under construction: its sentences and its solution."""

    rng: random.Random
    level: Level
    sentences: list[str] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    equations: list[str] = field(default_factory=list)
    value: int = 0
    """Result of the last equation."""

    def work(self, what: str, left: int, operator: str, right: int) -> int:
        """Add a step; a division has no remainder, a difference is not negative."""
        results = {"+": left + right, "-": left - right, "*": left * right, "/": left // right}
        self.value = results[operator]
        self.equations.append(f"{left} {operator} {right} = {self.value}")
        self.steps.append(f"{what}: {self.equations[-1]}")
        return self.value

    def tell(self, *wordings: str) -> None:
        """Add a sentence in one of these wordings."""
        self.sentences.append(self.rng.choice(wordings))

    def count(self) -> int:
        """A factor."""
        return self.rng.randint(2, self.level.small)

    def amount(self) -> int:
        """A number of things or dollars."""
        return self.rng.randint(3, self.level.large)


def running(story: Story) -> None:
    """A collection that grows and shrinks."""
    who, other = story.rng.sample(NAMES, 2)
    things = story.rng.choice(THINGS)
    have = story.amount()
    story.tell(f"{who} has {have} {things}.", f"{who} starts with {have} {things}.")
    before = ""
    for _ in range(story.level.operations):
        shares = [n for n in range(2, 10) if have % n == 0 and have > n]
        moves = ["gain"] + ["lose"] * (have > 3)
        if before not in ("multiply", "share"):  # one would only undo the other
            moves += ["multiply"] * (have <= story.level.large) + ["share"] * bool(shares)
        before = story.rng.choice(moves)
        match before:
            case "gain":
                more = story.amount()
                story.tell(f"{who} finds {more} more.", f"{other} gives {who} {more} more.", f"{who} buys {more} more.")
                have = story.work(f"{who} now has", have, "+", more)
            case "lose":
                less = story.rng.randint(2, min(have - 1, story.level.large))
                story.tell(f"{who} loses {less}.", f"{who} gives {less} to {other}.", f"{who} sells {less} of them.")
                have = story.work(f"{who} has left", have, "-", less)
            case "multiply":
                factor = story.rng.choice(list(TIMES))
                story.tell(f"Then the collection grows to {TIMES[factor]} its size.")
                have = story.work(f"{who} now has", have, "*", factor)
            case _:
                parts = story.rng.choice(shares)
                story.tell(f"{who} sorts them evenly into {parts} boxes and keeps only one box.")
                have = story.work("In one box", have, "/", parts)
    story.tell(f"How many {things} does {who} have in the end?", f"How many {things} does {who} have now?")


def purchase(story: Story) -> None:
    """Things bought, and the change."""
    who = story.rng.choice(NAMES)
    goods = story.rng.sample(GOODS, story.level.operations // 2)
    bought, costs = [], []
    for thing in goods:
        count, price = story.count(), story.rng.randint(2, story.level.large // 2)
        bought.append(f"{count} {thing} at {price} dollars each")
        costs.append(story.work(f"The {thing} cost", count, "*", price))
    listed = ", ".join(bought[:-1]) + " and " * (len(bought) > 1) + bought[-1]
    story.tell(f"{who} buys {listed}.", f"At the market {who} buys {listed}.")
    total = costs[0]
    for cost in costs[1:]:
        total = story.work("Together", total, "+", cost)
    paid = (total // 10 + story.rng.randint(1, 5)) * 10
    story.tell(f"{who} pays with {paid} dollars.", f"{who} hands over {paid} dollars.")
    story.work("Change", paid, "-", total)
    story.tell("How many dollars does the change come to?", f"How many dollars does {who} get back?")


def compare(story: Story) -> None:
    """People who have more or fewer than the one before, and what they have together."""
    people = story.rng.sample(NAMES, story.level.operations // 2 + 1)
    things = story.rng.choice(THINGS)
    owned = [story.amount()]
    story.tell(f"{people[0]} has {owned[0]} {things}.", f"{people[0]} owns {owned[0]} {things}.")
    for before, who in pairwise(people):
        have = owned[-1]
        relation = story.rng.choice(["more", "times"] + ["fewer"] * (have > 3))
        if relation == "more":
            more = story.amount()
            story.tell(f"{who} has {more} more than {before}.")
            owned.append(story.work(who, have, "+", more))
        elif relation == "fewer":
            fewer = story.rng.randint(1, have - 1)
            story.tell(f"{who} has {fewer} fewer than {before}.", f"{before} has {fewer} more than {who}.")
            owned.append(story.work(who, have, "-", fewer))
        else:
            factor = story.rng.choice(list(TIMES))
            story.tell(f"{who} has {TIMES[factor]} as many as {before}.")
            owned.append(story.work(who, have, "*", factor))
    total = owned[0]
    for have in owned[1:]:
        total = story.work("Together", total, "+", have)
    story.tell(f"How many {things} do they have together?", f"How many {things} is that in all?")


def production(story: Story) -> None:
    """Products that machines make, some of which break, and how they are packed and sold."""
    parts = story.rng.choice(PARTS)
    first, hours = story.amount(), story.count()
    if story.level.operations == 2:
        story.tell(f"A machine makes {first} {parts} an hour and runs for {hours} hours.")
        made = story.work("Made", first, "*", hours)
    elif story.level.operations == 4:
        later = story.count()
        story.tell(f"A machine makes {first} {parts} an hour. It runs {hours} hours on Monday and {later} on Tuesday.")
        made = story.work("Made", first, "*", story.work("Hours", hours, "+", later))
    else:
        second, later = story.amount(), story.count()
        story.tell(
            f"One machine makes {first} {parts} an hour and runs for {hours} hours. "
            f"Another makes {second} an hour and runs for {later} hours."
        )
        one, two = story.work("The first makes", first, "*", hours), story.work("The second makes", second, "*", later)
        made = story.work("Together", one, "+", two)
    box = story.rng.randint(2, min(9, made // 3))
    packed = story.level.operations > 2
    # What is left fills its boxes.
    spare = made % box + box * story.rng.randint(0, min(3, made // box - 2))
    broken = spare or box if packed else story.rng.randint(1, made - 1)
    story.tell(f"Of these, {broken} are broken.", f"{broken} of them break.")
    left = story.work("Whole", made, "-", broken)
    if not packed:
        story.tell(f"How many {parts} are whole?")
        return
    story.tell(f"The others are packed in boxes of {box}.")
    boxes = story.work("Boxes", left, "/", box)
    if story.level.operations == 4:
        story.tell("How many boxes are filled?")
        return
    price = story.count()
    story.tell(f"A box sells for {price} dollars. How many dollars do all boxes bring?")
    story.work("Dollars", boxes, "*", price)


STORIES: dict[str, Callable[[Story], None]] = {
    "running": running, "purchase": purchase, "compare": compare, "production": production,
}  # fmt: skip
