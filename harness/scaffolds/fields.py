"""Fields in the texts of a scaffold, such as ``{observation}``, and what may stand in them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from harness.errors import did_you_mean

_FIELD = re.compile(r"\{(\w+)\}")

OF_TASK = ("setting", "rules", "brief", "noun")
"""Fields that a task fills; see ``harness.scaffolds.tasks.TaskRules``."""
OF_EPISODE = (*OF_TASK, "goal")
IN_INSTRUCTION = (*OF_EPISODE, "examples")
IN_MESSAGE = (*OF_EPISODE, "observation", "admissible", "history", "left_out", "number", "played", "shown", "left")
IN_LISTED_TURN = ("number", "observation", "admissible", "reply", "thought", "action")
IN_LEFT_OUT = (*OF_EPISODE, "left", "shown", "played")
IN_ADMISSIBLE = (*OF_EPISODE, "list")
IN_ITEM = ("item",)


def fill(template: str, values: Mapping[str, str]) -> str:
    """``template`` with values for its fields. Braces around anything else are text."""
    return _FIELD.sub(lambda found: values.get(found[1], found[0]), template)


def fields_of(template: str) -> list[str]:
    """Names of the fields in ``template``."""
    return _FIELD.findall(template)


def checked_fields(template: str, known: Collection[str]) -> str:
    """``template`` itself.

    Raises:
        ValueError: it has a field that is not ``known``.
    """
    for name in fields_of(template):
        if name not in known:
            raise ValueError(f"unknown field {{{name}}}: {did_you_mean(name, known, 'use ' + ', '.join(known))}")
    return template
