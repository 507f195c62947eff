"""A small hand-written game that has one of everything, for tests that need no data."""

FACTS = """
(atLocation agent1 loc_bar_9)
(receptacleType CounterTop_bar_1 CounterTopType) (receptacleAtLocation CounterTop_bar_1 loc_bar_1)
(receptacleType Cabinet_bar_1 CabinetType) (receptacleAtLocation Cabinet_bar_1 loc_bar_1) (openable Cabinet_bar_1)
(receptacleType Fridge_bar_1 FridgeType) (receptacleAtLocation Fridge_bar_1 loc_bar_2) (openable Fridge_bar_1)
(receptacleType Microwave_bar_1 MicrowaveType) (receptacleAtLocation Microwave_bar_1 loc_bar_3)
(openable Microwave_bar_1)
(receptacleType Sink_bar_1_bar_SinkBasin SinkBasinType) (receptacleAtLocation Sink_bar_1_bar_SinkBasin loc_bar_4)
(receptacleType Shelf_bar_1 ShelfType) (receptacleAtLocation Shelf_bar_1 loc_bar_5)
(receptacleType Shelf_bar_2 ShelfType) (receptacleAtLocation Shelf_bar_2 loc_bar_6)
(objectType Apple_bar_1 AppleType) (pickupable Apple_bar_1) (cleanable Apple_bar_1) (heatable Apple_bar_1)
(coolable Apple_bar_1) (sliceable Apple_bar_1)
(inReceptacle Apple_bar_1 CounterTop_bar_1) (objectAtLocation Apple_bar_1 loc_bar_1)
(objectType Apple_bar_2 AppleType) (pickupable Apple_bar_2) (sliceable Apple_bar_2)
(inReceptacle Apple_bar_2 Fridge_bar_1) (objectAtLocation Apple_bar_2 loc_bar_2)
(objectType Knife_bar_1 KnifeType) (pickupable Knife_bar_1)
(inReceptacle Knife_bar_1 CounterTop_bar_1) (objectAtLocation Knife_bar_1 loc_bar_1)
(objectType Box_bar_1 BoxType) (pickupable Box_bar_1) (isReceptacleObject Box_bar_1)
(inReceptacle Box_bar_1 Shelf_bar_1) (objectAtLocation Box_bar_1 loc_bar_5)
(objectType Pen_bar_1 PenType) (pickupable Pen_bar_1) (inReceptacleObject Pen_bar_1 Box_bar_1)
(inReceptacle Pen_bar_1 Shelf_bar_1) (inReceptacle Pen_bar_1 Shelf_bar_2) (objectAtLocation Pen_bar_1 loc_bar_5)
(objectType DeskLamp_bar_1 DeskLampType) (toggleable DeskLamp_bar_1)
(inReceptacle DeskLamp_bar_1 Shelf_bar_2) (objectAtLocation DeskLamp_bar_1 loc_bar_6)
(canContain CounterTopType AppleType) (canContain CabinetType AppleType) (canContain MicrowaveType AppleType)
(canContain CounterTopType KnifeType) (canContain ShelfType PenType)
"""

OBJECTS = """
agent1 - agent
loc_bar_1 loc_bar_2 loc_bar_3 loc_bar_4 loc_bar_5 loc_bar_6 loc_bar_9 - location
CounterTop_bar_1 Cabinet_bar_1 Fridge_bar_1 Microwave_bar_1 Sink_bar_1_bar_SinkBasin - receptacle
Shelf_bar_1 Shelf_bar_2 - receptacle
Apple_bar_1 Apple_bar_2 Knife_bar_1 Box_bar_1 Pen_bar_1 DeskLamp_bar_1 Apple - object
CounterTopType CabinetType FridgeType MicrowaveType SinkBasinType ShelfType - rtype
AppleType KnifeType BoxType PenType DeskLampType - otype
"""

GOAL = """(and (exists (?r - receptacle) (exists (?o - object)
    (and (heatable ?o) (objectType ?o AppleType) (receptacleType ?r CabinetType) (isHot ?o) (inReceptacle ?o ?r)))))"""

TASK = "Your task is to: put a hot apple in cabinet."

WINNING = (
    "go to countertop 1",
    "take apple 2 from countertop 1",
    "go to microwave 1",
    "heat apple 2 with microwave 1",
    "go to cabinet 1",
    "open cabinet 1",
    "move apple 2 to cabinet 1",
)


def problem(facts: str = FACTS, goal: str = GOAL, objects: str = OBJECTS) -> str:
    """The game's PDDL problem, with parts exchanged."""
    return f"(define (problem small) (:domain alfred)\n(:objects {objects})\n(:init {facts})\n(:goal {goal}))"
