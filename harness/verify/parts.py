"""Check of which tokens of a call are said to be its thought, and which its action."""

from __future__ import annotations

from collections.abc import Mapping

from harness.backends.encoding import Encoder
from harness.errors import MixrouteError
from harness.records import CallRecord, Episode, StepRecord
from harness.scaffolds import Scaffold, in_tokens
from harness.traces.recording import token_span
from harness.verify.ledger import SELDOM
from harness.verify.report import Check


class PartsCheck:
    """Finds thought and action of recorded calls anew, in the tokens that the tokenizer splits their texts into.

    Args:
        scaffold: The task's, if it has one.
        encoders: The tokenizers of the models, as far as they are installed.
    """

    def __init__(self, scaffold: Scaffold | None, encoders: Mapping[str, Encoder]) -> None:
        self.parts = Check("thoughts and actions have the tokens that the texts say")
        self._scaffold = scaffold
        self._thinks = scaffold is not None and scaffold.thinks
        self._encoders = encoders
        self._counted = 0
        self._others: list[str] = []

    @property
    def applies(self) -> bool:
        """Whether replies have thoughts, or a call has parts although they have none."""
        return self._thinks or self.parts.failed

    def episode(self, episode: Episode) -> None:
        """Check the calls of an episode."""
        for number, step in enumerate(episode.steps):
            where = f"{episode.instance} step {number}"
            for place, call in enumerate(step.calls):
                if self._scaffold is not None and self._thinks:
                    self._call(where, call, _begun(step, place), self._scaffold)
                elif call.thought_tokens or call.action_tokens or call.forced:
                    self.parts.problem(where, "a call has parts, and the scaffold has no thoughts")

    def finish(self) -> None:
        """Judge what can be judged only over all calls: models seldom write a text in other tokens."""
        if len(self._others) > max(3, SELDOM * self._counted):
            several = f"{len(self._others)} of {self._counted} calls have their parts elsewhere"
            self.parts.problem("", f"{several}, such as {self._others[0]}")

    def _call(self, where: str, call: CallRecord, begun: str | None, scaffold: Scaffold) -> None:
        for span in (call.thought_tokens, call.action_tokens):
            try:
                token_span(span, call)
            except MixrouteError as error:
                self.parts.problem(where, str(error))
                return
        encoder = self._encoders.get(call.model)
        if call.read is not None:  # of which reply, RoutingCheck finds out
            return
        if encoder is None or begun is None or not call.action_tokens or "\ufffd" in call.text:
            return
        ends = encoder.token_ends(call.text)
        if len(ends) != call.content_tokens:
            return
        self._counted += 1
        read = scaffold.read(begun + call.text)
        ours = [list(in_tokens(span, ends, len(begun))) for span in (read.thought_span, read.action_span)]
        theirs = [call.thought_tokens, call.action_tokens]
        if ours != theirs:
            self._others.append(f"{where}: thought and action in tokens {theirs}, not {ours}")


def _begun(step: StepRecord, place: int) -> str | None:
    """The part of the reply that was there when a call was made; None where the trace does not say."""
    call = step.calls[place]
    if place in step.parts:
        earlier = [one for one in step.parts if one < place]
        return "".join(step.calls[one].forced + _counted(step, one) for one in earlier) + call.forced
    own = [one for one in step.calls[:place] if one.model == call.model and one.decoded_tokens]
    return None if own or call.forced else ""


def _counted(step: StepRecord, place: int) -> str:
    """The text of a call as far as it is part of the answer."""
    call = step.calls[place]
    kept = dict(zip(step.parts, step.kept, strict=False)).get(place, call.content_tokens)
    return call.text[: call.token_ends[kept - 1]] if 0 < kept <= len(call.token_ends) else call.text
