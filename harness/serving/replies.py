"""Answers as OpenAI's API states them, whole and as streams."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from harness.data import ModelCard
from harness.serving.steps import Answer
from harness.text import clean
from harness.traces.cost import COST_MODELS, call_cost

_OBJECTS = {"chat": ("chat.completion", "chat.completion.chunk"), "text": ("text_completion", "text_completion")}


class Reply:
    """The response to a request.

    Args:
        answer: The answer.
        kind: ``chat`` or ``text``: the interface that was asked.
        cards: Cards of the pool's models.
    """

    def __init__(self, answer: Answer, kind: str, cards: Mapping[str, ModelCard]) -> None:
        self._answer = answer
        self._kind = kind
        self._cards = cards
        prefix = "chatcmpl" if kind == "chat" else "cmpl"
        self._common = {"id": f"{prefix}-{uuid.uuid4().hex}", "created": int(time.time()), "model": answer.model}

    @property
    def headers(self) -> dict[str, str]:
        """Which session it is of, and which model wrote it."""
        model = self._answer.step.model.encode("ascii", "replace").decode()  # the pool may name it as it likes
        return {"x-session-id": self._answer.session, "x-mixroute-model": clean(model)}

    @property
    def body(self) -> dict[str, Any]:
        """The whole response."""
        text = self._answer.completion.text
        written: dict[str, Any] = {"message": {"role": "assistant", "content": text}} if self._chat else {"text": text}
        choice = {"index": 0, **written, "logprobs": None, "finish_reason": self._answer.completion.finish}
        whole, _ = _OBJECTS[self._kind]
        return {**self._common, "object": whole, "choices": [choice], "usage": self.usage, "mixroute": self.routing}

    def events(self, *, usage: bool) -> Iterator[bytes]:
        """The response as server-sent events, a word or so each; the last but one has ``usage`` if it is asked for."""
        if self._chat:
            yield self._event({"delta": {"role": "assistant", "content": ""}})
        for word in re.findall(r"\s*\S+|\s+$", self._answer.completion.text):
            yield self._event({"delta": {"content": word}} if self._chat else {"text": word})
        end: dict[str, Any] = {"delta": {}} if self._chat else {"text": ""}
        yield self._event(end, self._answer.completion.finish, {"mixroute": self.routing})
        if usage:
            yield _data({**self._chunk, "choices": [], "usage": self.usage})
        yield b"data: [DONE]\n\n"

    @property
    def usage(self) -> dict[str, Any] | None:
        """What is charged: the sum over all calls of the step; None where an endpoint does not tell it."""
        calls = self._answer.step.calls
        if not all(call.usage_known for call in calls):
            return None
        read, written = sum(call.prompt_tokens for call in calls), sum(call.decoded_tokens for call in calls)
        return {
            "prompt_tokens": read,
            "completion_tokens": written,
            "total_tokens": read + written,
            "prompt_tokens_details": {"cached_tokens": sum(call.cached_tokens for call in calls)},
        }

    @property
    def routing(self) -> dict[str, Any]:
        """Which model wrote the answer, why, and what each call cost."""
        step = self._answer.step
        calls = []
        for call in step.calls:
            cost = call_cost(call, self._cards[call.model])
            told = {
                "model": call.model,
                "prompt_tokens": call.prompt_tokens,
                "cached_tokens": call.cached_tokens,
                "completion_tokens": call.decoded_tokens,
                "switch": call.switch,
            }
            calls.append(told | {name: cost[name] for name, model in COST_MODELS.items() if not model.timed})
        return {
            "session": self._answer.session,
            "step": self._answer.index,
            "answered_by": step.model,
            "scores": step.scores,
            "calls": calls,
        }

    @property
    def _chat(self) -> bool:
        return self._kind == "chat"

    @property
    def _chunk(self) -> dict[str, Any]:
        return {**self._common, "object": _OBJECTS[self._kind][1]}

    def _event(
        self, written: Mapping[str, Any], finish: str | None = None, more: Mapping[str, Any] | None = None
    ) -> bytes:
        choice = {"index": 0, **written, "logprobs": None, "finish_reason": finish}
        return _data({**self._chunk, "choices": [choice], **(more or {})})


def _data(content: Mapping[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(content) + b"\n\n"
