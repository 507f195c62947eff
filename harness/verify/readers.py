"""Who read the turns that an answer rests on, where models share a key-value cache, from the order of calls alone."""

from __future__ import annotations

from collections.abc import Mapping

from harness.records import CallRecord
from harness.sharing import SharedCache


class OtherReaders:
    """Follows the calls of one episode.

    Args:
        sharing: The models that share a cache, if any.
        fingerprints: Fingerprints of the pool's models, by name.
    """

    def __init__(self, sharing: SharedCache | None, fingerprints: Mapping[str, str]) -> None:
        self._shared = frozenset(sharing.shared if sharing is not None else ())
        self._reread = sharing.reread if sharing is not None else 0
        self._fingerprints = fingerprints
        self._by_step: list[str] = []
        """Fingerprint of the model that read what each step adds to the prompt."""
        self._calls: list[tuple[int, str, int]] = []

    def same_prompt(self, call: CallRecord, first: CallRecord) -> bool:
        """Whether two calls of a step read the same prompt; models that share a cache have one tokenizer."""
        return {call.model, first.model} <= self._shared and call.prompt_tokens == first.prompt_tokens

    def call(self, step: int, call: CallRecord, *, plain: bool) -> tuple[str, ...]:
        """Note a call; returns what its answer depends on beside model and prompt. Where this is the same for two calls
        that ask the same, so were the readers of all turns; it is empty if the model itself has read all of them.

        Args:
            step: Number of the step.
            call: The call.
            plain: Whether it read the step's prompt and nothing after it.
        """
        if call.model not in self._shared:
            return ()
        own = str(self._fingerprints.get(call.model))
        before = list(self._calls)
        self._calls.append((step, own, call.prompt_tokens))
        earlier = self._by_step[:step] + [own] * (step - len(self._by_step))
        if plain or len(self._by_step) <= step:
            self._by_step = [*earlier, own]
        if all(reader == own for _, reader, _ in before):
            return ()
        if self._reread == 0 and self._shared == set(self._fingerprints):
            return () if set(earlier) <= {own} else tuple(earlier)
        # Here the readers depend on the turns within a step, or on calls that cannot be told from plain ones.
        return (str(self._reread), *(f"{at} {reader} {length}" for at, reader, length in before))
