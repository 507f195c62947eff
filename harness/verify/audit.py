"""``mixroute verify --audit``: episodes that nobody could foresee are scored by the real models.

For each recorded call the model gets the prompt and the tokens of the recorded text, and says of each token how likely
it is and whether it is its first choice. What routers share is scored once: entries of one task are audited together,
instance by instance, and scores are kept in the cache folder.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any

from harness.backends.completion_cache import CompletionCache
from harness.config import check
from harness.contracts import Backend, SupportsScoring, Task
from harness.data import GivenAnswer, Request
from harness.engine.asked import Asked, questions_of
from harness.engine.opening import open_models
from harness.errors import MixrouteError
from harness.plugins import open_router
from harness.pool import Pool
from harness.records import RunMeta
from harness.seeding import seed_for
from harness.sharing import stated_sharing
from harness.suite import Mode, RunConfig
from harness.text import one_line
from harness.traces.evidence import AuditRecord, entry_digest
from harness.traces.store import read_episodes, read_meta
from harness.verify.entry import Opener, open_from_json
from harness.verify.judging import AUDIT, Judgement
from harness.verify.pools import Pools, pool_of
from harness.verify.report import Check, CheckResult
from harness.verify.scores import ScoreStore, score_key

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Audit:
    """The audit of one entry."""

    folder: Path
    result: CheckResult
    record: AuditRecord | None = None
    """What was found; None where the entry could not be audited."""


@dataclass(slots=True)
class _Entry:
    """An entry that is being audited."""

    folder: Path
    meta: RunMeta
    asked: dict[str, list[Asked]] = field(default_factory=dict)
    """The calls of the audited episodes, by instance."""

    @property
    def shares(self) -> bool:
        """Whether models shared a cache: its answers rest on who read what, and are asked for again in their order."""
        return bool(stated_sharing(self.meta.config))


Models = Mapping[str, Backend]


def audit_entries(
    folders: Sequence[Path],
    count: int,
    seed: str,
    *,
    pools: Pools = MappingProxyType({}),
    known: Mapping[str, AuditRecord] = MappingProxyType({}),
    done: Callable[[Audit], None] = lambda audit: None,
    opener: Opener = open_from_json,
) -> list[Audit]:
    """Audit entries whose names were verified: their tasks and routers are opened.

    Args:
        folders: Runs or entries.
        count: Episodes of each, or all where it has fewer.
        seed: What the episodes are drawn from. It must not have existed when the entries were made.
        pools: Pools that are not shipped.
        known: Records by digest of the entry; those of this seed and as many episodes are taken over.
        done: Called with each audit as soon as it is made.
        opener: Opens a task.
    """
    opener = cache(opener)
    found: dict[Path, Audit] = {}

    def finish(audit: Audit) -> None:
        found[audit.folder] = audit
        done(audit)

    # By pool, since models take long to load, and by task, whose entries share questions.
    groups: dict[tuple[str, Mode, str], dict[tuple[str, str], list[_Entry]]] = defaultdict(lambda: defaultdict(list))
    for folder in folders:
        meta = read_meta(folder)
        record = known.get(entry_digest(folder))
        if record and record.seed == seed and record.episodes >= min(count, len(meta.instances)):
            found[folder] = Audit(folder, _known(record), record)
        elif (meta.provenance.get("git") or {}).get("commit") == seed:
            finish(not_audited(folder, "it was made at the commit that is the seed, and could know it: give --seed"))
        else:
            mode: Mode = "throughput" if meta.config.get("mode") == "throughput" else "deterministic"
            sharing = json.dumps(stated_sharing(meta.config), sort_keys=True)
            groups[meta.pool, mode, sharing][meta.task, meta.split].append(_Entry(folder, meta))
    with closing(ScoreStore()) as store:
        for (pool, mode, sharing), tasks in groups.items():
            try:
                playing = _as_played(pool_of(pool, pools), json.loads(sharing))
                with open_models(playing, mode, CompletionCache()) as models:
                    for entries in tasks.values():
                        _audit_together(entries, count, seed, models, opener, store, finish)
            except MixrouteError as error:
                for one in chain.from_iterable(tasks.values()):
                    if one.folder not in found:
                        finish(not_audited(one.folder, str(error)))
    return [found[folder] for folder in folders]


def _as_played(pool: Pool, sharing: Mapping[str, Any]) -> Pool:
    """The pool, whose models share caches as an entry states it, whatever the pool's file says.

    Raises:
        MixrouteError: the entry names other models.
    """
    return check({**pool.model_dump(by_alias=True), "kv_cache": None, **sharing}, Pool, f"pool '{pool.name}'")


def drawn(instances: Sequence[str], count: int, seed: str) -> list[str]:
    """The instances to audit; of the same instances a seed draws the same, whichever entry has them."""
    return sorted(sorted(instances, key=lambda one: seed_for("audit", seed, one))[:count])


def not_audited(folder: Path, reason: str) -> Audit:
    """The audit of an entry that cannot be audited."""
    check = Check(AUDIT)
    check.reason = f"not audited: {one_line(reason)}"
    return Audit(folder, check.result())


def _known(record: AuditRecord) -> CheckResult:
    check = Check(AUDIT)
    if record.status == "failed":
        check.problem("", f"an audit of {record.episodes} episodes with this seed has failed: delete its record")
    return check.result()


def _audit_together(
    entries: Sequence[_Entry],
    count: int,
    seed: str,
    models: Models,
    opener: Opener,
    store: ScoreStore,
    finish: Callable[[Audit], None],
) -> None:
    """Audit entries of one task and pool: their answers are scored by instance, then each entry is judged."""
    ready: list[_Entry] = []
    for one in entries:
        try:
            _ask(one, drawn(one.meta.instances, count, seed), opener)
            _check_models(one, models)
        except (MixrouteError, ValueError, OSError) as error:
            finish(not_audited(one.folder, str(error)))
            continue
        ready.append(one)
    for instance in sorted({instance for one in ready for instance in one.asked}):
        _score([asked for one in ready for asked in one.asked.get(instance, []) if not one.shares], models, store)
    for one in ready:
        audit = asyncio.run(_judge(one, seed, models, store))
        if audit.record:
            log.info(
                "audited %s: %s, %d episodes, %d calls, largest gap %.2g, asked again %d",
                one.folder.name,
                audit.record.status,
                audit.record.episodes,
                audit.record.calls,
                audit.record.largest_gap,
                audit.record.asked_again,
            )
        finish(audit)


def _check_models(one: _Entry, models: Models) -> None:
    """Check that the models which the audited episodes call are those of the entry.

    Raises:
        MixrouteError: one is not, or cannot score.
    """
    meta = one.meta
    for name in sorted({asked.call.model for several in one.asked.values() for asked in several}):
        model = models.get(name)
        if one.shares and meta.config.get("mode") == "throughput":
            raise MixrouteError("its models shared a cache in mode throughput, whose answers may differ in any play")
        if model is None:
            raise MixrouteError(f"pool '{meta.pool}' has no model '{name}' here")
        if not isinstance(model, SupportsScoring):
            raise MixrouteError(f"the backend of model '{name}' cannot score answers")
        ours, theirs = model.card().fingerprint, str(meta.models.get(name, {}).get("fingerprint"))
        if ours != theirs:
            raise MixrouteError(f"model '{name}' has fingerprint {ours[:12]}… here, {theirs[:12]}… in the entry")


def _ask(one: _Entry, chosen: Sequence[str], opener: Opener) -> None:
    """Find out what the calls of the chosen episodes asked."""
    config = RunConfig.model_validate(one.meta.config)
    task: Task = opener(config.task, config.split, json.dumps(config.task_args, sort_keys=True))
    try:
        router = open_router(config.router, **{**config.router_args, **one.meta.fitted})
    except MixrouteError:
        router = None  # its calls are then taken for plain ones
    for episode in read_episodes(one.folder):
        if episode.instance in chosen:
            steps = questions_of(
                episode,
                task,
                router,
                list(one.meta.models),
                config.temperature,
                sharing=config.kv_cache,
                in_order=one.shares,
            )
            # Where models share a cache, calls that only read count, too: what they read is cached afterwards.
            one.asked[episode.instance] = [
                asked
                for step in steps
                for asked in step
                if one.shares or asked.call.decoded_tokens or asked.call.read is not None
            ]
    if missing := set(chosen) - set(one.asked):
        raise MixrouteError(f"it has no episode of {min(missing)}")


def _score(several: Sequence[Asked], models: Models, store: ScoreStore) -> None:
    """Score the answers that were not scored yet."""
    new: dict[str, dict[bytes, tuple[Request, GivenAnswer]]] = defaultdict(dict)
    for key, asked in _keyed(several, models):
        if key not in new[asked.call.model] and key not in store:
            new[asked.call.model][key] = (asked.request, asked.answer)
    for name, answers in new.items():
        model = models[name]
        assert isinstance(model, SupportsScoring)  # noqa: S101 - see ``_check_models``
        scored = asyncio.run(model.score(list(answers.values())))
        store.write(dict(zip(answers, scored, strict=True)))


def _keyed(several: Sequence[Asked], models: Models) -> Iterator[tuple[bytes, Asked]]:
    prints = {name: model.card().fingerprint for name, model in models.items()}
    for asked in several:
        if asked.call.read is None:
            yield score_key(prints[asked.call.model], asked.request, asked.answer), asked


async def _judge(one: _Entry, seed: str, models: Models, store: ScoreStore) -> Audit:
    judgement = Judgement(Check(AUDIT))
    for instance in sorted(one.asked):
        if one.shares:
            await judgement.calls_in_order(one.asked[instance], models)
            continue
        for key, asked in _keyed(one.asked[instance], models):
            await judgement.call(asked, store.read(key), models[asked.call.model])
        for asked in one.asked[instance]:
            if asked.call.read is not None:
                await judgement.reading(asked, models[asked.call.model])
    one.asked = {instance: [] for instance in one.asked}  # prompts are large
    if judgement.left_out and not judgement.wrong:
        return not_audited(one.folder, f"{judgement.left_out} calls go on from text that the trace does not hold")
    record = AuditRecord(
        entry=one.folder.name,
        digest=entry_digest(one.folder),
        seed=seed,
        episodes=len(one.asked),
        calls=judgement.calls,
        largest_gap=judgement.largest_gap,
        asked_again=judgement.asked_again,
        status="failed" if judgement.wrong else "ok",
    )
    return Audit(one.folder, judgement.check.result(), record)
