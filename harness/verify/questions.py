"""One question, one answer: entries that ask a model the same thing must have been told the same.

At temperature 0 in deterministic mode an answer depends on the model, its prompt and where decoding stops, and where
models share a key-value cache on who read which turn. No model and no task is needed to compare the answers of two
entries: a prompt follows from the protocol and from what was observed and answered before. Where two calls may stop
at different places (another limit, another stop string, which traces do not hold), one answer must begin as the other
does.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import msgspec
import numpy as np

from harness.errors import MixrouteError
from harness.records import CallRecord, RunMeta, StepRecord
from harness.sharing import sharing_of
from harness.traces.store import read_episodes, read_meta
from harness.verify.answers import Answer, contradiction
from harness.verify.pools import Pools, pool_of, with_its_tokenizers
from harness.verify.readers import OtherReaders
from harness.verify.report import FAILED, SOUND, TRUSTED, Check, Standing

NAME = "the same question has the same answer in all entries"
_PREFIX = 8
"""Bytes of a question's hash, a 64-bit number, that tell repeated questions; enough for 10^8 of them."""
_NAMED = 3
"""Most entries that a problem names."""


@dataclass(slots=True)
class _Told:
    """An answer to a question, and where it stands: a place in each entry that has it."""

    answer: Answer
    places: dict[int, str] = field(default_factory=dict)


@dataclass(slots=True)
class Comparison:
    """How much there was to compare."""

    calls: int = 0
    """Calls with an answer."""
    left_out: int = 0
    """Calls whose question is not known: they went on from part of an answer, or may have."""
    shared: int = 0
    """Questions that several entries ask."""
    contradicted: int = 0
    """Questions with answers that contradict one another."""


def compare_answers(
    folders: Sequence[Path], standing: Standing = MappingProxyType({}), pools: Pools = MappingProxyType({})
) -> tuple[dict[Path, Check], Comparison]:
    """Compare the answers of entries, by folder; entries that cannot be read are passed over.

    Args:
        folders: The entries.
        standing: How far each is believed: no number of entries outvotes one of higher standing.
        pools: Pools that are not shipped.
    """
    checks = {folder: Check(NAME) for folder in folders}
    counts = Comparison()
    told: dict[bytes, dict[bytes, _Told]] = defaultdict(dict)
    repeated = _repeated(folders, pools)
    believed = [standing.get(folder, SOUND) for folder in folders]
    for number, folder in enumerate(folders):
        try:
            meta = read_meta(folder)
            machine = _machine(meta)
            own: dict[bytes, Answer] = {}
            for question, where, call in _questions(folder, meta, pools, counts):
                if question[:_PREFIX] not in repeated:
                    continue
                known = told[question]
                content = hashlib.blake2b(msgspec.msgpack.encode((machine, _content(call))), digest_size=16).digest()
                one = known.get(content)
                answer = Answer.of(call, machine) if one is None else one.answer
                if (before := own.setdefault(question, answer)) is not answer:
                    if what := contradiction(before, answer):
                        checks[folder].problem(where, f"the same question is answered otherwise before: {what}")
                    continue  # an entry has one voice, however often it asks
                if one is None:
                    one = known[content] = _Told(answer)
                one.places.setdefault(number, where)
        except MixrouteError:  # said by another check
            continue
    for known in told.values():
        asked_by = {number for one in known.values() for number in one.places}
        counts.shared += len(asked_by) > 1
        if len(known) > 1 and _judge(list(known.values()), folders, believed, checks):
            counts.contradicted += 1
    return checks, counts


def _repeated(folders: Sequence[Path], pools: Pools) -> frozenset[bytes]:
    """Beginnings of the hashes of questions that are asked more than once. Only their answers need to be kept, which
    are few in a long trace.
    """
    found = bytearray()
    for folder in folders:
        try:
            for question, _, _ in _questions(folder, read_meta(folder), pools, Comparison()):
                found += question[:_PREFIX]
        except MixrouteError:
            continue
    values, times = np.unique(np.frombuffer(found, dtype="u8"), return_counts=True)
    return frozenset(value.tobytes() for value in values[times > 1])


def _judge(
    answers: Sequence[_Told], folders: Sequence[Path], believed: Sequence[int], checks: dict[Path, Check]
) -> bool:
    """Note the problems of one question; returns whether there are any.

    Answers that do not contradict are one party. Where one party has an entry of higher standing than any other,
    or more of that standing, those outside are the odd ones; else nobody can tell, and all are named.
    """
    parties: list[tuple[Answer, dict[int, str]]] = []
    for one in sorted(answers, key=lambda told: (-len(told.places), min(told.places))):
        places = next((places for answer, places in parties if not contradiction(answer, one.answer)), None)
        if places is None:
            parties.append((one.answer, dict(one.places)))
        else:
            places.update(one.places)
    if len(parties) == 1:
        return False
    parties.sort(key=lambda party: _weight(party[1], believed), reverse=True)
    (first, most), (second, others) = parties[:2]
    names = [_names(places, folders) for _, places in parties[:2]]
    for at, (answer, places) in enumerate(parties):
        what = contradiction(second if at == 0 else first, answer)
        for number, where in places.items():
            check = checks[folders[number]]
            if _weight(most, believed) == _weight(others, believed):
                check.problem(where, f"the same question is answered otherwise in {names[at == 0]}: {what}")
            elif at > 0:
                check.problem(where, f"{len(most)} entries agree on another answer, {names[0]}: {what}")
    return True


def _weight(places: Mapping[int, str], believed: Sequence[int]) -> tuple[int, ...]:
    """What decides between parties: how many of its entries have each standing, the highest first."""
    counts = Counter(believed[number] for number in places)
    return tuple(counts[level] for level in (TRUSTED, SOUND, FAILED))


def _names(places: Iterable[int], folders: Sequence[Path]) -> str:
    names = sorted(folders[number].name for number in places)
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def _questions(
    folder: Path, meta: RunMeta, pools: Pools, counts: Comparison
) -> Iterator[tuple[bytes, str, CallRecord]]:
    """The calls of an entry whose questions are known, each with the question's hash and its place."""
    if meta.config.get("mode") != "deterministic" or meta.config.get("temperature") != 0:
        return
    weights = _weights(meta, pools)
    sharing = sharing_of(meta.config, folder.name)
    fingerprints = {model: str(card.get("fingerprint")) for model, card in meta.models.items()}
    protocol = json.dumps(meta.protocol, sort_keys=True).encode()
    for episode in read_episodes(folder):
        history = hashlib.blake2b(protocol, digest_size=16)
        read = OtherReaders(sharing, fingerprints)
        for number, step in enumerate(episode.steps):
            history.update(msgspec.msgpack.encode((step.observation, step.admissible)))
            asked = history.digest()
            for at, call in enumerate(step.calls):
                plain = _is_plain(step, at, weights) or read.same_prompt(call, step.calls[0])
                # A call that reads a reply reads the turn before it itself, as a plain one does.
                others = read.call(number, call, plain=plain or call.read is not None)
                if call.decoded_tokens == 0:  # it only read: there is no answer
                    continue
                counts.calls += 1
                if not plain:
                    counts.left_out += 1
                    continue
                whole = msgspec.msgpack.encode((asked, str(fingerprints.get(call.model)), *others))
                where = f"{episode.instance} step {number}, '{call.model}'"
                yield hashlib.blake2b(whole, digest_size=16).digest(), where, call
            history.update(msgspec.msgpack.encode((step.text, step.action)))


def _is_plain(step: StepRecord, at: int, weights: Mapping[str, object]) -> bool:
    """Whether a call read the prompt and nothing after it: the first of its step, which has nothing to go on from, or
    one of as many tokens to a model with the same tokenizer.
    """
    call, first = step.calls[at], step.calls[0]
    same_tokenizer = weights.get(call.model) == weights.get(first.model)
    return at == 0 or (same_tokenizer and call.prompt_tokens == first.prompt_tokens)


def _weights(meta: RunMeta, pools: Pools) -> Mapping[str, object]:
    """The weights that each model was made of, and so its tokenizer: as its pool says, else as the entry does."""
    for name in with_its_tokenizers(meta.pool):
        try:
            return {model: spec.weights for model, spec in pool_of(name, pools).models.items()}
        except (MixrouteError, OSError):
            continue
    return {model: (card.get("details") or {}).get("weights") for model, card in meta.models.items()}


def _content(call: CallRecord) -> tuple[object, ...]:
    return call.text, call.finish, call.content_tokens, call.prompt_tokens, call.logprobs, call.entropies, call.margins


def _machine(meta: RunMeta) -> str:
    """What the last digits depend on, as text: machine, threads, versions and code."""
    recorded = [meta.provenance.get(key) or {} for key in ("hardware", "packages", "git")]
    return json.dumps(recorded, sort_keys=True)
