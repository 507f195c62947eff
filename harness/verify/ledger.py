"""Checks of an entry's calls against its prompts and texts: no token is missing and no switch is hidden."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache

from harness.backends.encoding import Encoder
from harness.backends.reading import Readings
from harness.data import Prompt
from harness.engine.episode import NO_MODEL
from harness.errors import MixrouteError
from harness.records import CallRecord, Episode, ReadRecord, StepRecord
from harness.sharing import SharedCache
from harness.traces.recording import check_read, recorded_answer
from harness.verify.report import Check

SELDOM = 0.01
"""Share of calls whose tokens may be another split of the text than the tokenizer's: models write some (0.1% of ours).
"""


class LedgerCheck:
    """Checks every call.

    Args:
        models: Names of the models that have a card.
        encoders: The tokenizers of the models, as far as they are installed.
        max_tokens: Most tokens of a call that the protocol allows.
        sharing: The models that share a cache, if any.
        greedy: Whether every token is to be the model's first choice.
        deterministic: Whether the backend counts the token that stops it, as those of deterministic mode do.
    """

    def __init__(
        self,
        models: Sequence[str],
        encoders: Mapping[str, Encoder],
        max_tokens: int,
        sharing: SharedCache | None = None,
        *,
        greedy: bool,
        deterministic: bool,
    ) -> None:
        self.calls = Check("calls are whole and within bounds")
        self.tokens = Check("tokens in the ledger are those of the prompts and texts")
        self._models = set(models)
        self._encoders = encoders
        self._max_tokens = max_tokens
        self._sharing = sharing
        self._greedy = greedy
        self._deterministic = deterministic
        self._counted = 0
        self.continued = 0
        """Calls whose prompt is longer than the step's: they went on from part of an answer, which the router knows."""
        self.other_splits: list[str] = []
        """Where a text's tokens are not those that the tokenizer splits it into."""
        self._fewest = {name: _fewest_tokens(encoder) for name, encoder in encoders.items()}

    def episode(self, episode: Episode, prompts: Sequence[Prompt]) -> None:
        """Check the calls of an episode, whose steps had these prompts."""
        last: str | None = None
        read = Readings.of(self._sharing)
        for number, (step, prompt) in enumerate(zip(episode.steps, prompts, strict=False)):
            where = f"{episode.instance} step {number}"
            self._answer(where, step)
            for call in step.calls:
                self._call(where, call, last)
                last = call.model
                if call.model in self._encoders:
                    self._count(where, call, prompt, read, number)

    def finish(self) -> None:
        """Judge what can be judged only over all calls."""
        if len(self.other_splits) > max(3, SELDOM * self._counted):
            several = f"{len(self.other_splits)} of {self._counted} texts have other tokens than the tokenizer gives"
            self.tokens.problem("", f"{several}, such as {self.other_splits[0]}")

    def _answer(self, where: str, step: StepRecord) -> None:
        """The action's text must come from the calls that are charged."""
        if step.model == NO_MODEL:
            return
        if step.parts:
            self._joined(where, step)
            return
        own = [call.text for call in step.calls if step.model in (call.model, "mixed")]
        if not own or (step.text not in own and not _is_concatenation(step.text, own)):
            self.calls.problem(where, f"the text of '{step.model}' was written by no call")

    def _joined(self, where: str, step: StepRecord) -> None:
        """The text must be that of the calls that the step names, each up to the delimiter."""
        try:
            answer = recorded_answer(step)
        except MixrouteError as error:
            self.calls.problem(where, str(error))
            return
        self.calls.expect(where, "the answer's model", step.model, answer.model)
        if step.text != answer.text:
            self.calls.problem(where, f"the text is not that of calls {step.parts}")

    def _call(self, where: str, call: CallRecord, last: str | None) -> None:
        check = self.calls
        if call.model not in self._models:
            check.problem(where, f"model '{call.model}' has no card")
        lengths = {len(call.logprobs), len(call.entropies), len(call.margins)}
        if lengths != {call.decoded_tokens}:
            check.problem(where, f"{call.decoded_tokens} decoded tokens, but statistics of {sorted(lengths)}")
        if not 0 <= call.content_tokens <= call.decoded_tokens:
            check.problem(where, f"{call.content_tokens} of {call.decoded_tokens} decoded tokens make the text")
        if not 0 <= call.cached_tokens <= call.prompt_tokens or call.prompt_tokens < 1:
            check.problem(where, f"{call.cached_tokens} of {call.prompt_tokens} prompt tokens cached")
        if call.finish not in ("stop", "length"):
            check.problem(where, f"it ends by {call.finish!r}, which is neither 'stop' nor 'length'")
        if self._deterministic and call.finish == "stop" and call.content_tokens == call.decoded_tokens:
            check.problem(where, "it stopped without a token that stops it")
        self._statistics(where, call, greedy=self._greedy)
        try:
            check_read(call)
        except MixrouteError as error:
            check.problem(where, str(error))
        if call.read is not None:
            self._statistics(where, call.read, greedy=False)
        check.expect(where, "switch", call.switch, last not in (None, call.model))

    def _statistics(self, where: str, tokens: CallRecord | ReadRecord, *, greedy: bool) -> None:
        """No distribution has other statistics than these."""
        for values in zip(tokens.logprobs, tokens.entropies, tokens.margins, strict=False):
            if reason := impossible(*values, greedy=greedy):
                self.calls.problem(where, f"log-probability, entropy and margin {values}: {reason}")
                break

    def _count(self, where: str, call: CallRecord, prompt: Prompt, read: Readings, step: int) -> None:
        encoded = self._encoders[call.model].encode(prompt)
        # Which text a call goes on from, the trace does not say; no later prompt has turns that end within it.
        whole = encoded.continued(call.prompt_tokens, unknown=-1 - step, judged=call.read is not None)
        cached = read.call(call.model, whole, only_read=call.decoded_tokens == 0)
        if call.prompt_tokens < len(encoded.ids):
            self.tokens.problem(where, f"{call.prompt_tokens} prompt tokens, but the prompt has {len(encoded.ids)}")
        elif call.read is not None:  # what is cached never reaches into the reply
            self.tokens.expect(
                where,
                "prompt tokens with those of the reply",
                call.prompt_tokens,
                len(encoded.ids) + len(call.read.ends),
            )
            self.tokens.expect(where, f"cached tokens of '{call.model}'", call.cached_tokens, cached)
        elif call.prompt_tokens > len(encoded.ids):  # see RoutingCheck
            self.continued += 1
        else:
            self.tokens.expect(where, f"cached tokens of '{call.model}'", call.cached_tokens, cached)
        fewest = self._fewest[call.model](call.text)
        if call.content_tokens < fewest:
            self.tokens.problem(where, f"{call.content_tokens} tokens cannot spell {call.text!r}: it takes {fewest}")
        elif call.text and "\ufffd" not in call.text:
            self._counted += 1
            ours = self._encoders[call.model].count(call.text)
            ends = self._encoders[call.model].token_ends(call.text) if call.token_ends else ()
            if ours == call.content_tokens and list(ends) != call.token_ends:
                self.other_splits.append(f"{where}: {call.text[:80]!r} in tokens that end elsewhere")
            elif ours != call.content_tokens:
                self.other_splits.append(f"{where}: {call.text[:80]!r} in {call.content_tokens}, not {ours}")
        if call.decoded_tokens > self._max_tokens:
            self.tokens.problem(where, f"{call.decoded_tokens} decoded tokens, of {self._max_tokens} allowed")


def impossible(logprob: float, entropy: float, margin: float, *, greedy: bool) -> str:
    """Why no distribution has these statistics; empty if one may. A ``greedy`` token is the most likely one.

    With p the largest probability, the entropy is at least -ln p (the min-entropy), the margin at most p and at least
    2 p - 1.
    """
    if not -1e4 <= logprob <= 1e-6:  # float32 holds no smaller probability than e**-104
        return "no log-probability"
    if not -1e-5 <= entropy <= _MOST_ENTROPY:
        return "no entropy of a vocabulary"
    if not -1e-6 <= margin <= 1 + 1e-6:
        return "no margin"
    if not greedy:
        return ""
    top = math.exp(min(0.0, logprob))
    if not 2 * top - 1 - _ROUNDED <= margin <= top + _ROUNDED:
        return f"the most likely token has probability {top:.5g}"
    if entropy < -logprob * (1 - _ROUNDED) - _ROUNDED:
        return "the entropy of a greedy token is at least its surprisal"
    return ""


_MOST_ENTROPY = math.log(1 << 24)
_ROUNDED = 1e-3


def _is_concatenation(text: str, parts: Sequence[str]) -> bool:
    """Whether ``text`` is some of the parts in order, joined."""
    reached = {0}
    for part in parts:
        reached |= {place + len(part) for place in reached if text.startswith(part, place)}
    return len(text) in reached


@cache
def _fewest_tokens(encoder: Encoder) -> Callable[[str], int]:
    """A function from a text to the fewest tokens of the vocabulary that spell it."""
    spellings = encoder.token_bytes()
    longest = max(map(len, spellings), default=1)

    @lru_cache(maxsize=1 << 16)
    def fewest(text: str) -> int:
        # An unknown number of undecodable bytes was written as U+FFFD: they count as none.
        return sum(spelled(part) for part in text.split("\ufffd"))

    def spelled(text: str) -> int:
        data = text.encode()
        best = [0] + [len(data) + 1] * len(data)
        for end in range(1, len(data) + 1):
            for start in range(max(0, end - longest), end):
                if best[start] + 1 < best[end] and data[start:end] in spellings:
                    best[end] = best[start] + 1
        return min(best[-1], len(data))

    return fewest
