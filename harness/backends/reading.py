"""Prompts in tokens, and what the models of a pool have read of them: the rules by which tokens count as cached.

They are pure functions of the order of a session's calls, so that backends, ``mixroute verify`` and ``mixroute
switches`` count alike. Specification: docs/architecture.md, One cache for several models.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # models are run on machines without pydantic, too (tests/gpu)
    from harness.sharing import SharedCache

BLOCK = 16
"""Tokens between boundaries in part of an answer: the block size of vLLM's prefix cache (its option ``block_size``)."""
_LONGEST = 1 << 16


@dataclass(frozen=True, slots=True)
class Encoded:
    """A prompt in tokens."""

    ids: list[int]
    boundaries: tuple[int, ...]
    """Ends of the turns, as counts of ids, rising; the last is the length of the prompt."""
    reply_from: int | None = field(default=None, compare=False)
    """Number of ids before a reply of which the model is to say how likely each token is; None where it is not."""

    def shared_turns(self, previous: Encoded) -> int:
        """Number of leading turns that are turns of ``previous`` too. The last turn never counts: it is read for the
        answer. Where a reply is judged, neither do its turns, nor the one before it, at whose end the first token of
        the reply is judged.
        """
        most = len(self.boundaries) - 1
        if self.reply_from is not None:
            most = sum(end < self.reply_from for end in self.boundaries)
        count = length = 0
        for theirs, ours in zip(previous.boundaries, self.boundaries[:most], strict=False):
            if theirs != ours or previous.ids[length:theirs] != self.ids[length:ours]:
                break
            count, length = count + 1, ours
        return count

    def cached_prefix_length(self, previous: Encoded) -> int:
        """Number of leading ids that form whole turns of ``previous`` too; see ``shared_turns``."""
        return self.length_of(self.shared_turns(previous))

    def length_of(self, turns: int) -> int:
        """Number of ids of the first ``turns`` turns."""
        return self.boundaries[turns - 1] if turns else 0

    def last(self, count: int) -> Encoded:
        """The last ``count`` ids; all of them where there are fewer."""
        cut = max(0, len(self.ids) - count)
        begun = None if self.reply_from is None else self.reply_from - cut
        return Encoded(self.ids[cut:], tuple(boundary - cut for boundary in self.boundaries if boundary > cut), begun)

    def continued(self, length: int, unknown: int, *, judged: bool = False) -> Encoded:
        """The prompt with part of an answer behind it, of which only the tokens' number is known.

        Args:
            length: Number of ids, those of the answer included.
            unknown: Stands for each id of the answer.
            judged: Whether the model was to say how likely the tokens of that part are.
        """
        ends = block_ends(len(self.ids), length)
        added = ends[-1] - len(self.ids) if ends else 0
        begun = len(self.ids) if judged else None
        return Encoded([*self.ids, *[unknown] * added], (*self.boundaries, *ends), begun)


NOTHING = Encoded([], ())


def block_ends(begun: int, length: int) -> list[int]:
    """Boundaries in part of an answer that begins behind ``begun`` tokens and ends at ``length``."""
    length = min(length, begun + _LONGEST)  # whatever a trace says
    return [*range(begun + BLOCK, length, BLOCK), length] if length > begun else []


@dataclass(frozen=True, slots=True)
class Reading:
    """What one cache of a session holds: the prompt that was read last, and who read each of its turns."""

    prompt: Encoded = NOTHING
    readers: tuple[str, ...] = ()
    """Name of the model that read each turn."""
    only_read: bool = False
    """Whether the last call wrote nothing: the same model then goes on from the end of its prompt."""

    def after(self, model: str, prompt: Encoded, *, only_read: bool, reread: int = 0) -> tuple[Reading, int]:
        """What the cache holds after a call, and how many of its prompt's tokens the call need not read.

        Args:
            model: Name of the model that is asked.
            prompt: What it is asked.
            only_read: Whether it is to write nothing.
            reread: Turns before the last one that the model must have read itself.
        """
        same = self.readers[-1:] == (model,) and self.prompt == prompt
        if self.only_read and same and prompt.reply_from is None:
            return Reading(prompt, self.readers, only_read), len(prompt.ids)
        kept = prompt.shared_turns(self.prompt)
        first = max(0, len(prompt.boundaries) - 1 - reread)
        kept = next((turn for turn in range(first, kept) if self.readers[turn] != model), kept)
        readers = self.readers[:kept] + (model,) * (len(prompt.boundaries) - kept)
        return Reading(prompt, readers, only_read), prompt.length_of(kept)


class Readings:
    """What the models of a pool have read in one session, call by call.

    Args:
        shared: Names of the models that share a cache; each of the others has one of its own.
        reread: See ``Reading.after``.
    """

    def __init__(self, shared: Collection[str] = (), reread: int = 0) -> None:
        self._shared = shared
        self._reread = reread
        self._read: dict[str | None, Reading] = {}

    @classmethod
    def of(cls, sharing: SharedCache | None) -> Readings:
        """Those of a pool that shares caches so."""
        return cls() if sharing is None else cls(sharing.shared, sharing.reread)

    def call(self, model: str, prompt: Encoded, *, only_read: bool) -> int:
        """Note a call; returns how many tokens of its prompt are cached."""
        key = None if model in self._shared else model
        before = self._read.get(key, Reading())
        self._read[key], cached = before.after(model, prompt, only_read=only_read, reread=self._reread)
        return cached
