"""Conversion of lm-eval's requests into prompts, stop strings and lengths. Only the last needs lm-eval.

lm-eval passes prompts as text. A conversation is encoded into a string here and decoded again for the model, so that
the backend applies the model's own chat template, as it does for every prompt.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.backends.generation_settings import changing_settings
from harness.data import Message, Prompt
from harness.errors import MixrouteError

log = logging.getLogger(__name__)

_SAMPLING: dict[str, tuple[object, ...]] = {"top_k": (0, -1), "top_p": (1,), "min_p": (0,), "typical_p": (1,)}
"""Settings that narrow what is sampled from, with the values that do not."""

MAX_TOKENS = 256
"""Longest answer in tokens where the task states none; the default of lm-eval's own models."""

_MARK = "\x1echat\x1e"
"""Prefix of an encoded conversation; it holds a control character that no ordinary prompt holds."""


def chat_as_text(history: Sequence[dict[str, Any]], add_generation_prompt: bool = True) -> str:
    """Encode a conversation for ``prompt_of``.

    Raises:
        MixrouteError: the task prefills the answer (``gen_prefix``).
    """
    if not add_generation_prompt:
        raise MixrouteError("the task begins the answer itself (gen_prefix): run it without a chat template")
    return _MARK + json.dumps([[one["role"], one["content"]] for one in history], ensure_ascii=False)


def prompt_of(text: str) -> Prompt:
    """Decode a prompt: a conversation that ``chat_as_text`` encoded, or plain text."""
    if not text.startswith(_MARK):
        return Prompt((Message("user", text),), "plain")
    return Prompt(tuple(Message(role, content) for role, content in json.loads(text.removeprefix(_MARK))), "chat")


@dataclass(frozen=True, slots=True)
class Generation:
    """How a task wants answers to be generated."""

    stop: tuple[str, ...]
    max_tokens: int
    temperature: float


def generation_of(settings: Mapping[str, Any]) -> Generation:
    """A task's ``generation_kwargs``, read by lm-eval's own functions, as its model ``hf`` reads them.

    Raises:
        MixrouteError: they ask for what is not done here, or for no answer.
    """
    from lm_eval.models.utils import handle_stop_sequences, normalize_gen_kwargs

    found: dict[str, Any] = dict(normalize_gen_kwargs(dict(settings), MAX_TOKENS))
    stop = handle_stop_sequences([one for one in found.pop("until") if one is not None], eos=None)
    most = int(found.pop("max_gen_toks"))
    if most < 1:
        raise MixrouteError(f"generation_kwargs ask for answers of {most} tokens: set max_gen_toks to 1 or more")
    if "max_length" in found:
        raise MixrouteError("generation_kwargs have max_length, which counts the prompt too: set max_gen_toks instead")
    if asked := changing_settings(found):
        shown = ", ".join(f"{key}={value!r}"[:80] for key, value in asked.items())
        raise MixrouteError(f"generation_kwargs ask for {shown}, which is not done here: take it out of the task")
    temperature = float(found.get("temperature") or 0.0) if found.get("do_sample") else 0.0
    narrowed = {key: found[key] for key in _SAMPLING if found.get(key) not in (None, *_SAMPLING[key])}
    if temperature and narrowed:
        log.warning("generation_kwargs %s are left out: answers are sampled by temperature alone", narrowed)
    return Generation(tuple(stop), most, temperature)
