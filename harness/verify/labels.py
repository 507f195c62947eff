"""Checks of labels against one another: each is plain text, and none can be taken for another row's."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from operator import itemgetter
from pathlib import Path
from types import MappingProxyType

from harness.board.runs import router_key
from harness.board.suites import entries_of
from harness.errors import MixrouteError
from harness.records import RunMeta
from harness.registry import routers
from harness.traces.store import read_meta
from harness.verify.report import TRUSTED, Check, Standing

LABELS = "its label is plain and no other row's"
MOST_CHARACTERS = 60
_Row = tuple[str, str, str]
_LOOK_ALIKE = str.maketrans("01234589|!$@i", "olzeasbgllsal")


def skeleton(label: str) -> str:
    """What remains of a printable ASCII label for a quick reader: equal for labels that look alike.

    Case, spaces and punctuation go, but for a point before a digit; digits and signs become the letters that they
    resemble, ``i`` becomes ``l``, ``rn`` ``m`` and ``vv`` ``w``.
    """
    kept = re.sub(r"\.(?![0-9])|[^a-z0-9.|!$@]", "", label.lower())
    return kept.translate(_LOOK_ALIKE).replace("rn", "m").replace("vv", "w")


def check_labels(folders: Sequence[Path], standing: Standing = MappingProxyType({})) -> dict[Path, Check]:
    """The check of each folder that its label is plain, and neither another row's of its group nor another router's.

    Of two rows whose labels look alike both fail, but for one whose label is the name of its own router, and one that
    a shipped suite names so, or that is ``TRUSTED``, beside one of which neither is true.
    """
    checks = {folder: Check(LABELS) for folder in folders}
    metas: dict[Path, RunMeta] = {}
    rows: defaultdict[tuple[str, str], dict[_Row, str]] = defaultdict(dict)
    firm: set[_Row] = set()
    for folder in folders:
        try:
            meta = metas[folder] = read_meta(folder)
        except MixrouteError:
            continue  # another check says so
        rows[meta.group, skeleton(meta.label)][_row(meta)] = folder.name
        if standing.get(folder) == TRUSTED or any(entry.name == meta.label for _, entry in entries_of(meta)):
            firm.add(_row(meta))
    names = {skeleton(name): name for name in routers.names()}
    for folder, meta in metas.items():
        check, alike = checks[folder], skeleton(meta.label)
        _check_text(meta.label, check)
        shown = ascii(meta.label)[:100]
        if names.get(alike, meta.router) != meta.router:
            check.problem("run.json", f"label {shown} looks like the name of router '{names[alike]}'")
        for row, other in sorted(rows[meta.group, alike].items(), key=itemgetter(1)):
            if _row(meta) in firm and row not in firm:
                continue
            if row != _row(meta) and (meta.label != meta.router or row[0] == meta.router):
                check.problem("run.json", f"label {shown} looks like that of {other}: choose another")
    return checks


def _row(meta: RunMeta) -> _Row:
    return router_key(meta, without=("seed", "limit"))


def _check_text(label: str, check: Check) -> None:
    if not (label.isascii() and label.isprintable()):
        check.problem("run.json", f"label {ascii(label)[:100]} has characters that are not printable ASCII")
    if not label.strip():
        check.problem("run.json", "label is empty: give the router a 'label' in the suite")
    elif label != label.strip():
        check.problem("run.json", f"label {ascii(label)[:100]} begins or ends with a blank")
    elif not skeleton(label):
        check.problem("run.json", f"label {ascii(label)[:100]} has no letter or digit")
    if len(label) > MOST_CHARACTERS:
        check.problem(
            "run.json",
            f"label {ascii(label)[:40]}... has {len(label)} characters, more than {MOST_CHARACTERS}: give the router a "
            "shorter 'label' in the suite",
        )
