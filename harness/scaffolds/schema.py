"""The file format of scaffolds. Specification: docs/scaffolds.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from harness.config import NAME, Strict, find_file, load_yaml
from harness.scaffolds import fields
from harness.scaffolds.grammar import Reading, Reply
from harness.text import quoted

SHIPPED = Path(__file__).parent

MOST_TOKENS = 1 << 16
"""Most tokens of a thought or an action that a scaffold may allow."""

_OURS = (
    "add_generation_prompt",
    "chat_template",
    "continue_final_message",
    "conversation",
    "documents",
    "max_length",
    "messages",
    "padding",
    "return_dict",
    "return_tensors",
    "strftime_now",
    "tokenize",
    "tools",
    "truncation",
)
"""Arguments of a chat template that belong to the backend."""


class History(Strict):
    """How earlier turns are shown."""

    last: int | None = Field(default=None, ge=1)
    """Only the last so many turns; all if not given."""
    thoughts: Literal["keep", "drop", "last"] = "keep"
    """Whether thoughts of earlier turns are shown; ``last``: only that of the turn before."""
    left_out: str = ""
    """Text where turns are left out. It stands before the first that is shown, or for ``{left_out}`` of the message."""
    line: str = ""
    """With it, turns are listed in one message, for its ``{history}``, each as this text; without it each is an
    observation and a reply of its own."""
    between: str = "\n"
    """Text between listed turns."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.left_out and self.last is None:
            raise ValueError("left_out: nothing is left out without 'last'")
        fields.checked_fields(self.left_out, fields.IN_LEFT_OUT)
        fields.checked_fields(self.line, fields.IN_LISTED_TURN)
        return self


class Admissible(Strict):
    """How admissible actions are listed after an observation."""

    show: bool = False
    """Whether they are; a task's argument ``show_admissible`` asks for it, too."""
    text: str = "\nAdmissible: {list}"
    item: str = "{item}"
    between: str = ", "

    @model_validator(mode="after")
    def _whole(self) -> Self:
        fields.checked_fields(self.text, fields.IN_ADMISSIBLE)
        fields.checked_fields(self.item, fields.IN_ITEM)
        return self


class Limits(Strict):
    """Most tokens of the parts of a reply."""

    thought_tokens: int | None = Field(default=None, ge=1, le=MOST_TOKENS)
    """Tokens in which a thought is to end; a reply that is finished in them needs no second call."""
    action_tokens: int | None = Field(default=None, ge=1, le=MOST_TOKENS)
    """Tokens of an action, its tags included; the task's own number if not given."""
    at_thought_limit: Literal["ask_action", "invalid"] = "ask_action"
    """What happens to a thought that does not end: it is cut and closed, and a second call goes on with the action; or
    the reply has no action."""


class Scaffold(Strict):
    """How an agent is shown a task, and how its reply is read."""

    schema_: Literal[1] = Field(alias="schema")
    name: str = Field(pattern=NAME)
    description: str = ""
    format: Literal["chat", "plain"]
    template_arguments: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the model's chat template, such as ``enable_thinking``."""
    instruction: str = ""
    """What every prompt begins with: the system message of a conversation."""
    examples: int = Field(default=0, ge=0, le=16)
    """Solved episodes of the task for ``{examples}`` of the instruction."""
    message: str = "{observation}{admissible}"
    """What shows an observation."""
    first_message: str = ""
    """What shows the first observation of an episode, if another text does."""
    after_reply: str = ""
    """Text that completes an earlier reply: its stop string, which the reply itself does not have."""
    admissible: Admissible = Admissible()
    history: History = History()
    reply: Reply = Reply()
    limits: Limits = Limits()
    stop: tuple[str, ...] = ()

    @property
    def thinks(self) -> bool:
        """Whether replies have thoughts."""
        return self.reply.thought is not None

    @property
    def append_only(self) -> bool:
        """Whether each prompt begins with the prompt of the step before and the reply to it."""
        return not self.history.line and self.history.last is None and self.history.thoughts == "keep"

    @property
    def max_tokens(self) -> int:
        """Most tokens of a reply, whatever calls write it."""
        return (self.limits.thought_tokens or 0) + self.action_tokens

    @property
    def action_tokens(self) -> int:
        """Most tokens of an action.

        Raises:
            ValueError: neither the file nor ``for_task`` says so.
        """
        if self.limits.action_tokens is None:
            raise ValueError(f"scaffold '{self.name}' leaves the length of actions to the task")
        return self.limits.action_tokens

    def for_task(self, action_tokens: int) -> Scaffold:
        """The scaffold with a task's length of actions, where it states none."""
        if self.limits.action_tokens is not None:
            return self
        limits = self.limits.model_copy(update={"action_tokens": action_tokens})
        return self.model_copy(update={"limits": limits})

    def read(self, text: str) -> Reading:
        """Thought and action of a reply; the action is empty where there is none, or more than one."""
        return self.reply.read(text, self.stop)

    def reply_text(self, thought: str, action: str) -> str:
        """The text that a model writes to think ``thought`` and to take ``action``; a stop string follows it."""
        lead = " " if self.message.endswith(">") else ""
        return (lead if self.reply.lead is None else self.reply.lead) + self.reply.write(thought, action, self.stop)

    def action_opening(self, text: str) -> str | None:
        """What is put behind a reply that has reached the limit of its thought, before the action is asked for.

        Empty where the thought has ended, or the action has begun: the model then goes on by itself. None where the
        reply is to stay as it is, without an action.
        """
        read = self.read(text)
        if not self.thinks or read.closed or (read.acts and self.reply.action.open):
            return ""
        return None if self.limits.at_thought_limit == "invalid" else self.forced_opening(text)

    def forced_opening(self, text: str) -> str:
        """What is put behind a thought that was cut, or has ended without its closing text, to ask for the action."""
        read = self.read(text)
        begun = self.reply.opened_by_template or read.whole_thought != (0, 0)
        unclosed = begun and not read.closed
        return (self.thought_end if unclosed else "") + self.reply.between + self.reply.action.open

    @property
    def thought_end(self) -> str:
        """The text that closes a thought; empty without thoughts."""
        return self.reply.thought.close if self.reply.thought is not None else ""

    def remembered(self, text: str, *, thought: bool) -> str:
        """An earlier reply as later prompts show it, with its thought or without."""
        if not thought and self.thinks:
            start, end = self.read(text).whole_thought
            text = text[:start] + text[end:].removeprefix(self.reply.between)
        return text + self.after_reply

    def content(self) -> dict[str, Any]:
        """What the scaffold declares otherwise than by default; its name and description do not count."""
        return self.model_dump(mode="json", exclude_defaults=True, exclude={"schema_", "name", "description"})

    @model_validator(mode="after")
    def _template_is_of_chat(self) -> Self:
        if self.template_arguments and self.format == "plain":
            raise ValueError("template_arguments: format 'plain' uses no chat template; use format 'chat'")
        for name in self.template_arguments:
            if name in _OURS:
                raise ValueError(f"template_arguments.{name} belongs to the backend: leave it out")
        if self.reply.opened_by_template and self.format == "plain":
            raise ValueError("reply.opened_by_template: format 'plain' uses no chat template")
        return self

    @model_validator(mode="after")
    def _texts_are_whole(self) -> Self:
        fields.checked_fields(self.instruction, fields.IN_INSTRUCTION)
        for key, template in (("message", self.message), ("first_message", self.first_message)):
            names = fields.fields_of(fields.checked_fields(template, fields.IN_MESSAGE))
            if template and "observation" not in names:
                raise ValueError(f"{key} has no {{observation}}: the agent would see nothing")
            if not self.history.line and {"history", "left_out"} & {*names}:
                raise ValueError(f"{key} lists earlier turns: say how in history.line")
        if self.history.line and "history" not in fields.fields_of(self.message):
            raise ValueError("history.line: message has no {history} for the lines")
        if bool(self.examples) != ("examples" in fields.fields_of(self.instruction)):
            raise ValueError(f"examples = {self.examples}: the instruction needs {{examples}} only where there are any")
        return self

    @model_validator(mode="after")
    def _replies_can_be_read(self) -> Self:
        if self.thinks != (self.limits.thought_tokens is not None):
            state = "is missing" if self.thinks else "limits a thought that reply does not declare"
            raise ValueError(f"limits.thought_tokens {state}")
        if self.format == "plain" and not self.stop:
            raise ValueError("stop is empty: in format 'plain' nothing else ends a reply")
        if "" in self.stop:
            raise ValueError("stop has an empty text, which would end every reply at once")
        thought, action = ("a", "b") if self.thinks else ("", "b")
        written = self.reply_text(thought, action)
        for stop in self.stop:
            if stop in written:
                raise ValueError(f"stop {quoted(stop)} ends a reply before its action: {quoted(written)} has it")
        read = self.read(written)
        if (read.thought, read.action) != (thought, action):
            found = {"thought": read.thought, "action": read.action}
            raise ValueError(f"reply: what is written cannot be read again: {quoted(written)} gives {quoted(found)}")
        return self


def load_scaffold(name: str) -> Scaffold:
    """Load a shipped scaffold by name, or one from a ``.yaml`` file.

    Raises:
        MixrouteError: unknown name, or a wrong key or value in the file.
    """
    return load_yaml(find_file("scaffold", name, SHIPPED), Scaffold)


def in_tokens(span: tuple[int, int], ends: Sequence[int], offset: int = 0) -> tuple[int, int]:
    """The tokens that a span of a text touches.

    Args:
        span: Start and end, in characters.
        ends: Characters of the text that are written after each token.
        offset: Characters of the text before the first token.
    """
    start, end = (max(0, place - offset) for place in span)
    first = sum(one <= start for one in ends)
    return (first, first) if end <= start else (first, 1 + sum(one < end for one in ends))
