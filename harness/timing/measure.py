"""A session of ``mixroute time``: rows are replayed in turn, block by block, and each block is kept at once."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from math import fsum
from pathlib import Path

import msgspec

from harness.engine.opening import open_models
from harness.errors import MixrouteError
from harness.files import Record, locked_folder, write_atomically
from harness.json_files import read_json
from harness.lines import read_lines, repair
from harness.pool import load_pool
from harness.provenance import provenance
from harness.seeding import seed_for
from harness.timing.replay import Replayed, Replayer
from harness.timing.session import SCHEMA, Session, Settings, TimedRow, draw_session, machine_of
from harness.traces.appending import GrowingFile
from harness.traces.clock import SCHEMA as CLOCK_SCHEMA
from harness.traces.clock import ClockMeta, EpisodeClock, ReferenceClock, remove_clock, write_clock

SESSION = "time.json"
BLOCKS = "time.jsonl"
"""Files of a session that is not over; then each run has its own."""


class Block(Record, frozen=True):
    """A block of instances of one row, replayed: a line of ``time.jsonl``."""

    section: int
    number: int
    """Of the pass."""
    block: int
    row: int
    measured: Replayed

    @property
    def place(self) -> tuple[int, int, int, int]:
        """Which of the session's blocks it is."""
        return self.section, self.number, self.block, self.row


def time_runs(folder: Path, settings: Settings, shown: Callable[[str], None]) -> Session:
    """Measure seconds of the runs in ``folder``, or go on with the session that was stopped there.

    Args:
        folder: Folder of finished runs.
        settings: What to measure.
        shown: Called with a line for each block.

    Raises:
        MixrouteError: a run cannot be replayed, or the folder holds a session of other settings or another machine.
    """
    with locked_folder(folder):
        session = _resumed(folder, settings)
        if session is None:
            (folder / BLOCKS).unlink(missing_ok=True)
            session = draw_session(folder, settings)
            write_atomically(folder / SESSION, msgspec.json.format(msgspec.json.encode(session), indent=1) + b"\n")
        repair(folder / BLOCKS)
        done = {block.place for block in read_lines(folder / BLOCKS, Block)}
        for number, _ in enumerate(session.sections):
            _measure(folder, session, number, done, shown)
        _write_clocks(folder, session)
        for name in (SESSION, BLOCKS):
            (folder / name).unlink()
    return session


def _resumed(folder: Path, settings: Settings) -> Session | None:
    path = folder / SESSION
    if not path.exists():
        return None
    fix = "delete it to begin another session"
    session: Session = read_json(path, Session, fix)
    if session.schema != SCHEMA:
        raise MixrouteError(f"{path} has schema {session.schema}, not {SCHEMA}: {fix}")
    if session.settings != settings:
        raise MixrouteError(f"{path} is of a session with other options that was not finished: give these, or {fix}")
    if session.machine != machine_of(provenance()):
        raise MixrouteError(f"{path} is of a session on another machine, or with other threads or versions: {fix}")
    return session


def _measure(
    folder: Path, session: Session, number: int, done: set[tuple[int, int, int, int]], shown: Callable[[str], None]
) -> None:
    """Replay the blocks of a section that are not done."""
    section = session.sections[number]
    left = [place for place in _places(session, number) if place not in done]
    if not left:
        return
    with ExitStack() as stack:
        pool = load_pool(section.pool)
        models = stack.enter_context(open_models(pool, section.mode, None))
        replayer = Replayer(folder, section, pool, models)
        replayer.warm_up(section.blocks)
        blocks = GrowingFile(folder / BLOCKS)
        stack.callback(blocks.close)
        for place in left:
            _, which, block, row = place
            replayed = replayer.replay(row, section.blocks[block], which)
            blocks.append(msgspec.json.encode(Block(number, which, block, row, replayed)) + b"\n")
            shown(
                f"{section.name}: pass {which + 1} of {session.settings.passes}, block {block + 1} of "
                f"{len(section.blocks)}, {section.rows[row].label}: {replayed.wall:.1f} s"
            )


def _places(session: Session, number: int) -> Iterator[tuple[int, int, int, int]]:
    """The blocks of a section in the order in which they are replayed: by pass and block, the rows in an order that is
    drawn anew for each.
    """
    section, settings = session.sections[number], session.settings
    for which in range(settings.passes):
        for block in range(len(section.blocks)):
            rows = list(range(len(section.rows)))
            seed = seed_for("time", settings.seed, section.name, which, block)
            random.Random(seed).shuffle(rows)  # noqa: S311 - reproducible on purpose
            yield from ((number, which, block, row) for row in rows)


def _write_clocks(folder: Path, session: Session) -> None:
    """Write the clock of each run; runs of timed rows in which nothing was replayed have none."""
    measured: defaultdict[tuple[int, int], list[Replayed]] = defaultdict(list)
    for block in read_lines(folder / BLOCKS, Block):
        measured[block.section, block.row].append(block.measured)
    for number, section in enumerate(session.sections):
        place = next((at for at, row in enumerate(section.rows) if row.reference), None)
        runs = [] if place is None else [run.hash for run in section.rows[place].runs if run.instances]
        reference = {} if place is None else _reference(measured[number, place])
        for at, row in enumerate(section.rows):
            if row.kept:
                _write_row(folder, session, row, measured[number, at], runs, reference)


def _reference(blocks: Sequence[Replayed]) -> dict[str, ReferenceClock]:
    found: defaultdict[str, list[EpisodeClock]] = defaultdict(list)
    for episode in (one for block in blocks for one in block.episodes):
        found[episode.instance].append(episode)
    return {
        instance: ReferenceClock(
            len(several[0].steps), [one.seconds for one in sorted(several, key=lambda one: one.number)]
        )
        for instance, several in sorted(found.items())
    }


def _write_row(
    folder: Path,
    session: Session,
    row: TimedRow,
    blocks: Sequence[Replayed],
    reference_runs: list[str],
    reference: dict[str, ReferenceClock],
) -> None:
    episodes = [one for block in blocks for one in block.episodes]
    load = fsum(one.wall for one in episodes) / fsum(block.wall for block in blocks)
    missing = sum(block.missing for block in blocks)
    recorded = missing + sum(block.decoded for block in blocks)
    for run in row.runs:
        own = run.below(folder)
        if not run.instances:
            remove_clock(own)
            continue
        instances = sorted(run.instances)
        meta = ClockMeta(
            schema=CLOCK_SCHEMA,
            run=run.hash,
            session=session.session,
            provenance={key: session.provenance[key] for key in ("time", "python", "packages", "git", "hardware")},
            concurrency=session.settings.concurrency,
            load=round(load, 3),
            cpu=round(fsum(block.cpu for block in blocks) / fsum(block.wall for block in blocks), 3),
            missing=round(missing / max(1, recorded), 6),
            passes=session.settings.passes,
            seed=session.settings.seed,
            instances=instances,
            reference_runs=reference_runs,
            reference={instance: reference[instance] for instance in instances if reference},
        )
        write_clock(own, meta, [one for one in episodes if one.instance in set(instances)])
