"""Replies of agents: how a thought and an action are written, and how they are read. Nothing is ever repaired."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from pydantic import field_validator, model_validator

from harness.config import Strict
from harness.text import quoted

Span = tuple[int, int]
"""Start and end of a part of a text, in characters or in tokens."""


class Tags(Strict):
    """Texts around a part of a reply."""

    open: str = ""
    """Text before it; without one it begins where the part before it ends."""
    close: str
    """Text after it. The end of the reply will do where this is a stop string, or white space."""
    pattern: str | None = None
    """Regular expression with one group that finds the part, in place of the two texts, with which it is written."""

    @field_validator("close")
    @classmethod
    def _closes(cls, value: str) -> str:
        if not value:
            raise ValueError("without a closing text it would match everything: give one, such as </action>")
        return value

    @model_validator(mode="after")
    def _finds_what_is_written(self) -> Self:
        if self.pattern is None:
            return self
        try:
            compiled = re.compile(self.pattern, re.DOTALL)
        except re.error as error:
            raise ValueError(f"pattern {quoted(self.pattern)} is no regular expression: {error}") from error
        if compiled.groups != 1:
            raise ValueError(f"pattern {quoted(self.pattern)} has {compiled.groups} groups: give it one, for the part")
        if compiled.search("") or compiled.search(_SAMPLE):
            raise ValueError(
                f"pattern {quoted(self.pattern)} matches everything: make it match the text around the part, too"
            )
        written = self.open + _SAMPLE + self.close
        found = [one[1].strip() for one in compiled.finditer(written)]
        if found != [_SAMPLE]:
            raise ValueError(
                f"pattern {quoted(self.pattern)} matches nothing that is written with open and close: in "
                f"{quoted(written)} it should find {quoted(_SAMPLE)} once"
            )
        return self


_SAMPLE = "go on"
"""A part to try patterns with."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A reply, read."""

    thought: str
    action: str
    """Empty where the reply has no action, or several."""
    thought_span: Span
    """Where the thought stands, in characters, without its tags."""
    action_span: Span
    """Where the action stands, likewise."""
    whole_thought: Span
    """Where the thought stands with its tags."""
    closed: bool
    """Whether there is a thought that has ended."""
    acts: bool
    """Whether the text before an action occurs outside the thought."""


NO_SPAN: Span = (0, 0)


class Reply(Strict):
    """The form of a reply. By default it is an action: the first line."""

    lead: str | None = None
    """What a written reply begins with. By default a space where the message ends with ``>``, and else nothing."""
    thought: Tags | None = None
    """Without it the agent does not think."""
    between: str = ""
    """What stands between thought and action, after the closing text of the one and before that of the other."""
    space: str = ""
    """What stands within the tags, before thought and action."""
    action: Tags = Tags(close="\n")
    skip: str = "> "
    """What may stand before an action and is no part of it: models repeat the prompt's sign."""
    opened_by_template: bool = False
    """Whether the chat template opens the thought, so that the reply begins within it."""

    @model_validator(mode="after")
    def _parts_differ(self) -> Self:
        thought, action = self.thought, self.action
        if thought is None:
            if self.between or self.opened_by_template:
                raise ValueError("'between' and 'opened_by_template' are of a thought: declare 'thought', too")
            return self
        if not thought.open:
            raise ValueError("thought.open is empty: every reply would match; give a text, such as <think>")
        if thought.open == action.open:
            raise ValueError(f"thought and action both begin with {quoted(action.open)}: give each its own text")
        return self

    def write(self, thought: str, action: str, stop: Sequence[str]) -> str:
        """The text that a model writes after the lead, and up to its stop string."""
        text = ""
        if self.thought is not None and thought:
            opened = "" if self.opened_by_template else self.thought.open
            text += opened + self.space + thought + self.thought.close + self.between
        ends = "" if self._may_end(stop) else self.action.close
        return text + self.action.open + self.space + action + ends

    def read(self, text: str, stop: Sequence[str]) -> Reading:
        """Thought and action of a reply.

        An action is read where the reply has one opening text outside the thought and one closing text; the end of the
        reply closes it where a stop string, or the end of an answer, took the closing text's place.
        """
        whole, span, closed = self._thought(text)
        missing = Reading(_part(text, span), "", span, (len(text), len(text)), whole, closed, acts=False)
        if self.thought is not None and whole != NO_SPAN and not closed:
            return missing
        before, start = text[: whole[0]], whole[1]
        tags = self.action
        acts = not tags.open or tags.open in before or tags.open in text[start:]
        if self.thought is not None and tags.open and tags.open in before:
            place = None
        elif tags.pattern is not None:
            found = list(re.compile(tags.pattern, re.DOTALL).finditer(text, start))
            place = found[0].span(1) if len(found) == 1 else None
        else:
            place = self._between_tags(text, start, stop)
        if place is None:
            return Reading(missing.thought, "", span, missing.action_span, whole, closed, acts)
        place = _stripped(text, place)
        if self.skip and text.startswith(self.skip, place[0], place[1]):
            place = place[0] + len(self.skip), place[1]
        return Reading(missing.thought, _part(text, place), span, place, whole, closed, acts)

    def _between_tags(self, text: str, start: int, stop: Sequence[str]) -> Span | None:
        tags = self.action
        if tags.open:
            if text.count(tags.open, start) != 1:
                return None
            start = text.index(tags.open, start) + len(tags.open)
            if tags.close.strip() and text.count(tags.close, start) > 1:
                return None
        end = text.find(tags.close, start)
        if end < 0 and not self._may_end(stop):
            return None
        return start, len(text) if end < 0 else end

    def _may_end(self, stop: Sequence[str]) -> bool:
        """Whether the end of a reply closes its action."""
        return self.action.close in stop or not self.action.close.strip()

    def _thought(self, text: str) -> tuple[Span, Span, bool]:
        """Where the thought stands, with and without its tags, and whether it has ended; no spans without one."""
        tags = self.thought
        if tags is None:
            return NO_SPAN, NO_SPAN, False
        if tags.pattern is not None:
            found = re.compile(tags.pattern, re.DOTALL).search(text)
            if found is not None:
                return found.span(), _stripped(text, found.span(1)), True
        begun = text.find(tags.open)
        start = begun + len(tags.open)
        if begun < 0:
            if not self.opened_by_template:
                return NO_SPAN, NO_SPAN, False
            begun = start = 0
        end = text.find(tags.close, _stripped(text, (start, len(text)))[0] if not tags.close.strip() else start)
        if end < 0 or tags.pattern is not None:
            return (begun, len(text)), _stripped(text, (start, len(text))), False
        return (begun, end + len(tags.close)), _stripped(text, (start, end)), True


def _part(text: str, span: Span) -> str:
    return text[slice(*span)]


def _stripped(text: str, span: Span) -> Span:
    """The span without the white space at both of its ends."""
    part = _part(text, span)
    start = span[0] + len(part) - len(part.lstrip())
    return start, max(start, span[0] + len(part.rstrip()))
