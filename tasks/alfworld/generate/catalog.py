"""Content of generated rooms: kinds of rooms, which objects fit where, and what can be done with them.

The table of what fits where lists the ``canContain`` facts of the official train games; the rooms follow the numbers
seen there, with the largest kitchens left out.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Room:
    """A kind of room. Values are the least and the most of each kind of thing in it."""

    receptacles: dict[str, tuple[int, int]]
    objects: dict[str, tuple[int, int]]
    lamps: tuple[str, ...] = ()
    """Receptacles that a desk lamp may stand on; a room without any has no lamp."""


ROOMS = {
    "kitchen": Room(
        receptacles={
            "Cabinet": (5, 10), "CoffeeMachine": (1, 1), "CounterTop": (1, 3), "DiningTable": (0, 1), "Drawer": (2, 6),
            "Fridge": (1, 1), "GarbageCan": (1, 1), "Microwave": (1, 1), "Shelf": (0, 3), "SideTable": (0, 1),
            "SinkBasin": (1, 1), "StoveBurner": (2, 4), "Toaster": (1, 1),
        },
        objects={
            "Apple": (1, 3), "Bowl": (1, 2), "Bread": (1, 2), "ButterKnife": (0, 2), "Cup": (1, 2),
            "DishSponge": (1, 2), "Egg": (1, 3), "Fork": (1, 2), "Glassbottle": (0, 1), "Kettle": (0, 1),
            "Knife": (1, 2), "Ladle": (0, 1), "Lettuce": (1, 2), "Mug": (1, 3), "Pan": (1, 2),
            "PepperShaker": (1, 2), "Plate": (1, 2), "Pot": (1, 2),
            "Potato": (1, 3), "SaltShaker": (1, 2), "SoapBottle": (1, 2), "Spatula": (1, 2), "Spoon": (1, 2),
            "Tomato": (1, 3), "Vase": (0, 1), "WineBottle": (0, 1),
        },
    ),
    "bedroom": Room(
        receptacles={
            "ArmChair": (0, 1), "Bed": (1, 1), "Desk": (1, 2), "Drawer": (4, 8), "Dresser": (0, 1),
            "GarbageCan": (1, 1), "LaundryHamper": (0, 1), "Safe": (0, 1), "Shelf": (2, 5), "SideTable": (1, 2),
        },
        objects={
            "AlarmClock": (1, 2), "Book": (1, 3), "Bowl": (0, 2), "Box": (0, 1), "CD": (1, 3), "CellPhone": (1, 3),
            "Cloth": (0, 1), "CreditCard": (1, 3), "KeyChain": (1, 2), "Laptop": (1, 2), "Mug": (0, 2), "Pen": (1, 3),
            "Pencil": (1, 3), "Pillow": (1, 2), "RemoteControl": (0, 1), "Statue": (0, 1), "TissueBox": (0, 1),
        },
        lamps=("Desk", "Dresser", "SideTable", "Shelf"),
    ),
    "bathroom": Room(
        receptacles={
            "BathtubBasin": (0, 1), "Cabinet": (2, 5), "Cart": (0, 1), "CounterTop": (1, 1), "Drawer": (2, 5),
            "GarbageCan": (1, 1), "HandTowelHolder": (1, 2), "Shelf": (0, 2), "SinkBasin": (1, 2), "Toilet": (1, 1),
            "ToiletPaperHanger": (1, 1), "TowelHolder": (1, 2),
        },
        objects={
            "Candle": (1, 3), "Cloth": (2, 3), "DishSponge": (1, 2), "HandTowel": (1, 2), "Plunger": (0, 1),
            "SoapBar": (2, 3), "SoapBottle": (2, 3), "SprayBottle": (1, 3), "TissueBox": (1, 2), "ToiletPaper": (2, 3),
            "Towel": (1, 2),
        },
    ),
    "living room": Room(
        receptacles={
            "ArmChair": (1, 2), "Cabinet": (0, 3), "CoffeeTable": (1, 1), "DiningTable": (0, 1), "Drawer": (2, 6),
            "Dresser": (0, 1), "GarbageCan": (1, 1), "Ottoman": (0, 1), "Shelf": (2, 5), "SideTable": (1, 3),
            "Sofa": (1, 2), "TVStand": (0, 1),
        },
        objects={
            "Book": (1, 2), "Box": (1, 2), "Candle": (0, 2), "CellPhone": (0, 2), "CreditCard": (1, 3),
            "KeyChain": (1, 3), "Laptop": (1, 2), "Newspaper": (1, 3), "Pen": (0, 2), "Pencil": (0, 2),
            "Pillow": (1, 2), "Plate": (0, 2), "RemoteControl": (1, 3), "Statue": (1, 3), "TissueBox": (0, 2),
            "Vase": (1, 3), "Watch": (1, 3), "WateringCan": (0, 1),
        },
        lamps=("SideTable", "Dresser", "CoffeeTable", "DiningTable"),
    ),
}  # fmt: skip


def _kinds(names: str) -> frozenset[str]:
    return frozenset(names.split())


CLEANABLE = _kinds(
    "Apple Bowl ButterKnife Cloth Cup DishSponge Egg Fork Kettle Knife Ladle Lettuce Mug Pan Plate Pot Potato SoapBar "
    "Spatula Spoon Tomato"
)
HEATABLE = _kinds("Apple Bread Cup Egg Mug Plate Potato Tomato")
COOLABLE = _kinds("Apple Bowl Bread Cup Egg Lettuce Mug Pan Plate Pot Potato Tomato WineBottle")
SLICEABLE = _kinds("Apple Bread Egg Lettuce Potato Tomato")
HOLDERS = _kinds("Bowl Box Cup Mug Pan Plate Pot")
"""Objects that the games describe as something to put things in; nothing can be put in them."""

ALWAYS_OPENABLE = frozenset({"Fridge", "Microwave"})
MOSTLY_OPENABLE = frozenset({"Cabinet", "Drawer", "Safe"})

_FITS = {
    "ArmChair": "Book Box CellPhone Cloth CreditCard KeyChain Laptop Newspaper Pillow RemoteControl",
    "BathtubBasin": "Cloth DishSponge HandTowel SoapBar",
    "Bed": "BaseballBat BasketBall Book CellPhone Laptop Pillow TennisRacket",
    "Cabinet": (
        "Book Bowl Box CD Candle Cloth Cup DishSponge Glassbottle HandTowel Kettle Ladle Mug Newspaper Pan "
        "PepperShaker Plate Plunger Pot SaltShaker SoapBar SoapBottle SprayBottle TissueBox ToiletPaper Vase "
        "WateringCan WineBottle"
    ),
    "Cart": "Candle Cloth DishSponge HandTowel Plunger SoapBar SoapBottle SprayBottle TissueBox ToiletPaper",
    "CoffeeMachine": "Mug",
    "CoffeeTable": (
        "Book Bowl Box Candle CellPhone CreditCard KeyChain Laptop Newspaper Pen Pencil Plate RemoteControl "
        "Statue TissueBox Vase Watch WateringCan"
    ),
    "CounterTop": (
        "AlarmClock Apple Book Bowl Bread ButterKnife CD Candle CellPhone Cloth CreditCard Cup DishSponge Egg "
        "Fork Glassbottle HandTowel Kettle KeyChain Knife Ladle Laptop Lettuce Mug Pan Pen Pencil "
        "PepperShaker Plate Pot Potato RemoteControl SaltShaker SoapBar SoapBottle Spatula Spoon SprayBottle "
        "Statue TissueBox ToiletPaper Tomato Vase WineBottle"
    ),
    "Desk": (
        "AlarmClock BasketBall Book Bowl Box CD CellPhone Cloth CreditCard KeyChain Laptop Mug Pen Pencil "
        "RemoteControl Statue TennisRacket TissueBox Vase Watch WateringCan"
    ),
    "DiningTable": (
        "AlarmClock Apple BaseballBat BasketBall Book Bowl Box Bread ButterKnife CD Candle CellPhone Cloth "
        "CreditCard Cup DishSponge Egg Fork Glassbottle Kettle KeyChain Knife Ladle Laptop Lettuce Mug "
        "Newspaper Pan Pen Pencil PepperShaker Plate Pot Potato RemoteControl SaltShaker SoapBottle Spatula "
        "Spoon SprayBottle Statue TennisRacket TissueBox Tomato Vase Watch WateringCan WineBottle"
    ),
    "Drawer": (
        "Book ButterKnife CD Candle CellPhone Cloth CreditCard DishSponge Fork HandTowel KeyChain Knife Ladle "
        "Newspaper Pen Pencil PepperShaker RemoteControl SaltShaker SoapBar SoapBottle Spatula Spoon "
        "SprayBottle TissueBox ToiletPaper Watch WateringCan"
    ),
    "Dresser": (
        "AlarmClock BasketBall Book Bowl Box CD Candle CellPhone Cloth CreditCard KeyChain Laptop Mug "
        "Newspaper Pen Pencil Plate RemoteControl SprayBottle Statue TennisRacket TissueBox ToiletPaper Vase "
        "Watch WateringCan"
    ),
    "Fridge": "Apple Bowl Bread Cup Egg Glassbottle Lettuce Mug Pan Plate Pot Potato Tomato WineBottle",
    "GarbageCan": (
        "Apple Bread CD Cloth DishSponge Egg HandTowel Lettuce Newspaper Pen Pencil Potato SoapBar SoapBottle "
        "SprayBottle TissueBox ToiletPaper Tomato WineBottle"
    ),
    "HandTowelHolder": "HandTowel",
    "LaundryHamper": "Cloth",
    "Microwave": "Apple Bowl Bread Cup Egg Glassbottle Mug Plate Potato Tomato",
    "Ottoman": "Book Box CellPhone CreditCard KeyChain Laptop Newspaper Pillow RemoteControl",
    "Safe": "CD CellPhone CreditCard KeyChain Statue Vase",
    "Shelf": (
        "AlarmClock Book Bowl Box CD Candle CellPhone Cloth CreditCard Cup DishSponge Glassbottle HandTowel "
        "Kettle KeyChain Mug Newspaper Pen Pencil PepperShaker Plate Pot RemoteControl SaltShaker SoapBar "
        "SoapBottle SprayBottle Statue TissueBox ToiletPaper Vase Watch WateringCan WineBottle"
    ),
    "SideTable": (
        "AlarmClock Apple BaseballBat BasketBall Book Bowl Box Bread ButterKnife CD Candle CellPhone Cloth "
        "CreditCard Cup DishSponge Egg Fork HandTowel Kettle KeyChain Knife Laptop Lettuce Mug Newspaper Pan "
        "Pen Pencil PepperShaker Plate Pot Potato RemoteControl SaltShaker SoapBar SoapBottle Spatula Spoon "
        "SprayBottle Statue TennisRacket TissueBox ToiletPaper Tomato Vase Watch WateringCan WineBottle"
    ),
    "SinkBasin": (
        "Apple Bowl ButterKnife Cloth Cup DishSponge Egg Fork Glassbottle HandTowel Kettle Knife Ladle "
        "Lettuce Mug Pan Plate Pot Potato SoapBar Spatula Spoon Tomato"
    ),
    "Sofa": "Book Box CellPhone CreditCard KeyChain Laptop Newspaper Pillow RemoteControl",
    "StoveBurner": "Kettle Pan Pot",
    "TVStand": "TissueBox",
    "Toilet": "Candle Cloth DishSponge HandTowel SoapBar SoapBottle SprayBottle TissueBox ToiletPaper",
    "ToiletPaperHanger": "ToiletPaper",
    "TowelHolder": "Towel",
}

FITS = {receptacle: _kinds(objects) for receptacle, objects in _FITS.items()}
"""For each kind of receptacle, the kinds of objects that may be put into it."""
