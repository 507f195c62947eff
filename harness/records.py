"""Records: the lines of a trace, and ``run.json``; ``harness.traces.store`` writes and reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec.structs import replace

from harness.data import HIGH, Observation, RouterRole, Turn
from harness.files import Record
from harness.text import quoted
from harness.token_statistics import TokenStatistics

Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 40)]
"""A number of tokens; what is summed from any trace stays a finite number."""
MOST = 1e15
"""The largest amount."""
Amount = Annotated[float, msgspec.Meta(ge=-MOST, le=MOST)]
"""A reward, a score, or seconds."""


class ReadRecord(Record, frozen=True):
    """What a model said of a reply that it was given to read; lists run over the reply's tokens."""

    logprobs: list[float]
    entropies: list[float]
    margins: list[float]
    ends: list[Count]
    """Where each token ends in the reply, in characters."""


class CallRecord(Record, frozen=True, omit_defaults=True):
    """One call to a model, as charged. Lists run over the decoded tokens, stop token included; they are empty where
    an endpoint's statistics cannot be told apart from those of other text.
    """

    model: str
    prompt_tokens: Count
    cached_tokens: Count
    """Leading prompt tokens that this model has read in this episode before; only the others are charged."""
    decoded_tokens: Count
    content_tokens: Count
    finish: str
    switch: bool
    """Whether the episode's call before this one went to another model."""
    text: str
    logprobs: list[float]
    entropies: list[float]
    margins: list[float]
    usage_known: bool = True
    """Whether the numbers of tokens are known; else they are what is known of them, and the cost is unknown."""
    forced: str = ""
    """Text of the scaffold before ``text`` in the reply, which no model wrote: it closes a thought that was cut."""
    thought_tokens: list[Count] = msgspec.field(default_factory=list)
    """Start and end of the thought among the tokens, where replies have thoughts and it is known; among those of
    ``read`` where there is a reply that was read."""
    action_tokens: list[Count] = msgspec.field(default_factory=list)
    """Start and end of the action, likewise."""
    read: ReadRecord | None = None
    """Of a call that read a reply and wrote nothing: what the model said of it."""
    token_ends: list[Count] = msgspec.field(default_factory=list)
    """Where each token of the text ends in it, in characters; in steps in which a model read a reply, or of a text only
    a beginning counts (``StepRecord.kept``)."""

    @property
    def statistics(self) -> TokenStatistics:
        """Statistics of all decoded tokens; ``.content`` and ``.content_and_end`` narrow them to the text.

        Raises:
            ValueError: they are not known.
        """
        if self.decoded_tokens and not self.logprobs:
            raise ValueError(f"statistics of the tokens of model {quoted(self.model)} are not known (docs/backends.md)")
        return TokenStatistics(
            tuple(self.logprobs), tuple(self.entropies), tuple(self.margins), content_tokens=self.content_tokens
        )

    @property
    def mean_entropy(self) -> float | None:
        """Mean entropy of the tokens that make the text, in nats; None without any."""
        return self.statistics.content.mean_entropy if self.content_tokens and self.entropies else None


class StepRecord(Record, frozen=True, omit_defaults=True):
    """One step: what the agent saw, every call that the router made, and what was done."""

    observation: str
    admissible: list[str]
    calls: list[CallRecord]
    text: str
    action: str
    valid: bool | None
    """Whether the action was admissible; null where the task lists none."""
    reward: Amount
    model: str
    """The model whose completion became the action; ``mixed`` where several made it, ``none`` after an error."""
    scores: dict[str, float] = msgspec.field(default_factory=dict)
    """What the router logged of its decision, by name."""
    parts: list[int] = msgspec.field(default_factory=list)
    """Indices of the calls whose texts make ``text``, where the router joined several (or cut one at ``delimiter``)."""
    delimiter: str = msgspec.field(default="", name="until")
    """Text after it in one of these calls is no part of the answer; see ``harness.joining``."""
    kept: list[Count] = msgspec.field(default_factory=list)
    """How many tokens of each of these calls count, where of one only a beginning does."""
    thought: str = ""
    """What ``text`` says before its action, where the scaffold has the agent think."""

    @property
    def made_of(self) -> list[CallRecord]:
        """The calls whose texts make ``text``, a call of which only a beginning counts with the tokens of that; the
        last call after an error; none of a step without a call.
        """
        if self.parts:
            calls = [self.calls[part] for part in self.parts]
            counts = self.kept if len(self.kept) == len(calls) else [call.content_tokens for call in calls]
            return [
                call if count >= call.content_tokens else replace(call, content_tokens=count, decoded_tokens=count)
                for call, count in zip(calls, counts, strict=True)
            ]
        wrote = [call for call in self.calls if (call.model, call.text) == (self.model, self.text)]
        return (wrote or self.calls)[-1:]

    @property
    def high_share(self) -> float:
        """The high-precision model's share of the answer; see ``share_of``."""
        return self.share_of(HIGH)

    def share_of(self, model: str) -> float:
        """1 if the model answered, 0 if not; of a joined answer, the share of its tokens that the model wrote."""
        if self.model == model or not self.parts:
            return float(self.model == model)
        written = [(call.model == model, call.content_tokens) for call in self.made_of]
        return sum(count for own, count in written if own) / max(1, sum(count for _, count in written))


class Episode(Record, frozen=True):
    """One play of an instance. ``end`` is ``done``, ``step_cap`` or ``error``."""

    schema: int
    run: str
    instance: str
    kind: str
    seed: int
    score: Amount
    success: bool
    end: str
    error: str | None
    steps: list[StepRecord]
    final_observation: str

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The steps as the agent saw them."""
        return tuple(
            Turn(Observation(step.observation, tuple(step.admissible)), step.text, step.action, step.thought)
            for step in self.steps
        )

    @property
    def high_share(self) -> float:
        """Share of the steps that the pool's high-precision model answered, see ``StepRecord``; 0 without steps."""
        return sum(step.high_share for step in self.steps) / max(1, len(self.steps))


class CallTiming(Record, frozen=True):
    """Seconds of one call; see ``harness.data.Timing``. The engine rounds all seconds to 5 significant digits."""

    queue: Amount
    prefill: Amount
    decode: Amount
    latency: Amount
    reused: bool = False
    """Whether the completion comes from the completion cache; the seconds are then those of its first computation."""


class StepTiming(Record, frozen=True):
    """Seconds of one step spent in the environment, in the router's own code, and in each call."""

    environment: Amount
    router: Amount
    calls: list[CallTiming]


class EpisodeTiming(Record, frozen=True):
    """Measured seconds of one episode, keyed as the episode."""

    instance: str
    seed: int
    reset: Amount
    steps: list[StepTiming]


CHAT_TEMPLATE = "chat_template"
"""Key of the protocol under which the engine records, by model, what is done to conversations beside rendering them. It
is there only where something is."""

OUTCOME, UNKNOWN = "outcome", "unknown"
"""Key of the protocol of served sessions that says who told how they ended, and its value where nobody did."""


def by_content(config: Mapping[str, Any], content: Mapping[str, str]) -> dict[str, Any]:
    """The settings of a run with hashes in place of the names of files; see ``RunMeta.content``."""
    settings = {key: dict(value) if isinstance(value, Mapping) else value for key, value in config.items()}
    for place, digest in content.items():
        setting, _, argument = place.partition(".")
        if argument:
            named = settings.get(setting)
            settings[setting] = {**(named if isinstance(named, dict) else {}), argument: {"sha256": digest}}
        else:
            settings[setting] = {"class": str(settings.get(setting)).rpartition(":")[2], "sha256": digest}
    return settings


class RunMeta(Record, frozen=True):
    """What was run.

    ``hash`` covers ``config`` (with ``content`` in place of the names of files), ``protocol``, the model fingerprints
    and ``fitted``; ``group`` the same without limit, router and seed: two runs may be compared if and only if their
    groups are equal, on the instances that both have. Label, curve and role are in neither.
    """

    schema: int
    id: str
    hash: str
    group: str
    label: str
    task: str
    split: str
    pool: str
    router: str
    seed: int
    config: dict[str, Any]
    """A ``harness.suite.RunConfig``."""
    content: dict[str, str]
    """SHA-256 of the files that settings name, by setting: ``router`` and ``task`` for the source of a plug-in that is
    given by its file, ``router_args.NAME`` and ``task_args.NAME`` for an argument."""
    protocol: dict[str, Any]
    models: dict[str, dict[str, Any]]
    """Per model of the pool, the fields of its ``ModelCard``."""
    fitted: dict[str, Any]
    """Router arguments chosen on development episodes; the run they were chosen on lies in ``calibration``."""
    instances: list[str]
    provenance: dict[str, Any]
    role: RouterRole
    """What the router is to others on the board."""
    curve: str = ""
    """Name that the suite gives to all points of one method."""

    @property
    def outcome_known(self) -> bool:
        """Whether it is known which episodes succeeded; else ``score`` and ``success`` say nothing."""
        return bool(self.protocol.get(OUTCOME) != UNKNOWN)

    @property
    def settings(self) -> dict[str, Any]:
        """``config`` with hashes in place of the names of files: equal for runs of the same content."""
        return by_content(self.config, self.content)

    @property
    def limit(self) -> int | None:
        """Size of the sample of the split's instances; None for all of them."""
        limit: int | None = self.config.get("limit")
        return limit
