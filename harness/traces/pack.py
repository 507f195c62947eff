"""Published entries: a finished run, compressed beside entries of its group, whose tables it uses."""

from __future__ import annotations

import hashlib
import re
from contextlib import closing
from io import BytesIO
from itertools import count
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import msgspec

from harness.errors import MixrouteError
from harness.files import write_atomically
from harness.lines import read_xz, write_xz
from harness.records import RunMeta
from harness.text import quoted
from harness.traces.clock import CLOCK, read_clock, remove_clock, write_clock
from harness.traces.completions import CompletionIndex
from harness.traces.contamination import SEEN, read_seen, seen_file
from harness.traces.read import read_run
from harness.traces.rounding import rounded_episode, rounded_timing
from harness.traces.siblings import COMPLETIONS, PACK, PACK_SCHEMA, Pack, Shared, read_pack, read_table, sha256
from harness.traces.store import EPISODES, RUN, TIMINGS, plain_or_xz, read_episodes, read_meta, read_timings

_STATISTICS = re.compile(rb'"logprobs":\[[^]]*\],"entropies":\[[^]]*\],"margins":\[[^]]*\]')
"""The fields of a call that its completion's line in a table holds; no text of an episode, as quotes are escaped."""


def pack_run(folder: Path, entries: Path) -> Path:
    """Write the run or entry in ``folder`` as an entry below ``entries``; returns the entry's folder.

    Statistics of tokens and seconds are rounded to 5 significant digits. Those of completions that an entry of the same
    group holds there are not written again; no other entry is changed.

    Raises:
        MixrouteError: the run is not finished, or is corrupt; or an entry of this name exists, whose files others use,
            and would change.
    """
    run = read_run(folder)  # what the board refuses is not packed
    meta = run.meta
    missing = len(set(meta.instances)) - len(run.played)
    if missing:
        raise MixrouteError(f"{folder} lacks {missing} of {len(meta.instances)} episodes: finish the run first")
    entry = entries / meta.id
    if entry.resolve() == folder.resolve():
        raise MixrouteError(f"{folder} is already an entry")
    seen = seen_file(folder)
    for path in (plain_or_xz(folder / EPISODES), plain_or_xz(folder / TIMINGS), seen or folder / SEEN):
        if not path.exists():
            raise MixrouteError(f"{path} does not exist: only a whole run can be packed")
    assert seen is not None  # noqa: S101 - otherwise it is missing, above
    siblings = _siblings(entries, meta)
    trained_on, own_list = _trained_on(entry, siblings, read_xz(seen))
    entries.mkdir(parents=True, exist_ok=True)
    with TemporaryFile(dir=entries) as episodes, TemporaryFile(dir=entries) as own:
        pack = Pack(PACK_SCHEMA, _write_episodes(folder, entry, siblings, episodes, own), trained_on)
        _refuse_change(entry, pack, siblings)
        (entry / RUN).unlink(missing_ok=True)  # until all is replaced, the folder is no entry
        write_xz(entry / COMPLETIONS, own)
        write_xz(entry / f"{EPISODES}.xz", episodes)
    with TemporaryFile(dir=entries) as timings:
        timings.writelines(msgspec.json.encode(rounded_timing(timing)) + b"\n" for timing in read_timings(folder))
        write_xz(entry / f"{TIMINGS}.xz", timings)
    _write_clock(folder, entry)
    if own_list is None:
        (entry / SEEN).unlink(missing_ok=True)
    else:
        write_xz(entry / SEEN, BytesIO(own_list))
    write_atomically(entry / PACK, msgspec.json.format(msgspec.json.encode(pack), indent=1) + b"\n")
    _read_back(folder, entry, meta)
    write_atomically(entry / RUN, (folder / RUN).read_bytes())  # last: without it, the folder is no entry
    return entry


def _write_clock(folder: Path, entry: Path) -> None:
    """Write the clock of a run, if it has one; that of an older entry of this name goes."""
    clock = read_clock(folder)
    if clock is None:
        remove_clock(entry)
    else:
        write_clock(entry, clock.meta, [line for lines in clock.lines.values() for line in lines])


def _read_back(folder: Path, entry: Path, meta: RunMeta) -> None:
    """Read what was written, and compare it with what it was made from; an entry that differs is none."""
    try:
        for original, read in zip(read_episodes(folder), read_episodes(entry), strict=True):
            if rounded_episode(original) != read:
                raise MixrouteError(f"instance {quoted(read.instance)} differs")
        for measured, timing in zip(read_timings(folder), read_timings(entry), strict=True):
            if rounded_timing(measured) != timing:
                raise MixrouteError(f"the times of instance {quoted(timing.instance)} differ")
        if read_clock(folder, meta) != read_clock(entry, meta):
            raise MixrouteError(f"{CLOCK} differs")
        if read_seen(folder) != read_seen(entry):
            raise MixrouteError(f"{SEEN} differs")
    except (MixrouteError, ValueError) as error:  # zip's, where the two are of different lengths
        (entry / RUN).unlink(missing_ok=True)
        raise MixrouteError(f"{entry} does not read like {folder} ({error}): pack it again, on a sound disk") from error


def _siblings(entries: Path, meta: RunMeta) -> dict[str, Pack]:
    """The packed entries of the same group, by name."""
    found: dict[str, Pack] = {}
    for folder in sorted(path.parent for path in entries.glob(f"*/{RUN}")):
        if folder.name != meta.id and (pack := read_pack(folder)) and read_meta(folder).group == meta.group:
            found[folder.name] = pack
    return found


def _write_episodes(
    folder: Path, entry: Path, siblings: dict[str, Pack], episodes: IO[bytes], own: IO[bytes]
) -> list[Shared]:
    """Write the lines of the packed episodes and of the entry's own table; returns the tables that they refer to."""
    names = [entry.name, *siblings]
    used = {0: 0}
    digest = hashlib.sha256()
    with closing(CompletionIndex()) as known:
        for at, (name, pack) in enumerate(siblings.items(), start=1):
            table = read_table(entry.parent / name, pack, 0)
            for number in range(len(table)):
                known.add(table[number], at, number)
        new = count()

        def refer(statistics: re.Match[bytes]) -> bytes:
            line = statistics[0]
            place = known.find(line)
            if place is None:
                place = 0, next(new)
                known.add(line, *place)
                own.write(b"{" + line + b"}\n")
                digest.update(b"{" + line + b"}\n")
            return b'"completion":[%d,%d]' % (used.setdefault(place[0], len(used)), place[1])

        for episode in read_episodes(folder):
            episodes.write(_STATISTICS.sub(refer, msgspec.json.encode(rounded_episode(episode))) + b"\n")
    hashes = [digest.hexdigest(), *(pack.tables[0].sha256 for pack in siblings.values())]
    return [Shared(names[at], hashes[at]) for at in used]


def _trained_on(entry: Path, siblings: dict[str, Pack], content: bytes) -> tuple[Shared, bytes | None]:
    """Where the list of instances lies, and the list if it must be written."""
    for name, pack in siblings.items():
        if pack.trained_on == (shared := Shared(name, sha256(content))):
            return shared, None
    return Shared(entry.name, sha256(content)), content


def _refuse_change(entry: Path, pack: Pack, siblings: dict[str, Pack]) -> None:
    """Siblings' references would lead to other completions."""
    before = read_pack(entry)
    if before is None:
        return
    for name, other in siblings.items():
        lost = before.tables[0] in other.tables and pack.tables[0] != before.tables[0]
        if lost or (other.trained_on.entry == entry.name and pack.trained_on != other.trained_on):
            raise MixrouteError(
                f"{entry} exists with other content, which {name} refers to: pack all entries into another folder"
            )
