"""Labelled steps as a data set: a Parquet file with a card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from harness.files import write_atomically
from harness.records import RunMeta
from harness.traces.store import read_meta
from mixroute import MixrouteError
from routers.dmr.table import COLUMNS, label_table

TABLE, CARD = "labels.parquet", "README.md"


def export_labels(runs: Sequence[Path], folder: Path) -> pd.DataFrame:
    """Write the labelled steps of runs as ``labels.parquet``, and what they are as ``README.md`` beside it.

    Args:
        runs: Run folders of ``mixroute label``.
        folder: Where to; made if it is missing.

    Returns:
        The table.

    Raises:
        MixrouteError: a run cannot be read, or the package that writes Parquet is not installed.
    """
    table = label_table(runs)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        table.to_parquet(folder / TABLE, index=False)
    except ImportError as error:
        raise MixrouteError("Parquet needs the package pyarrow: pip install 'mixroute[labels]'") from error
    write_atomically(folder / CARD, _card(table, [read_meta(run) for run in runs]).encode())
    return table


def _card(table: pd.DataFrame, metas: Sequence[RunMeta]) -> str:
    first = metas[0]
    lines = [
        "# Steps labelled with what precision is worth",
        "",
        "Each row is a step of an episode at which two precisions of one model were asked. One of their answers was",
        "taken, drawn at random, and the row says how far the two differ there. The episodes are of training splits;",
        "nothing of a test split is among them. Made by `mixroute label` and `mixroute export-labels`.",
        "",
        "| task | split | pool | episodes | won | steps | actions differ at | run | command |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        *(_of_run(table[table["run"] == meta.hash], meta) for meta in metas),
        "",
        "| column | type | meaning |",
        "| --- | --- | --- |",
        *(f"| `{name}` | {table[name].dtype} | {meaning} |" for name, meaning in COLUMNS.items()),
        "",
        f"Models: {_models(first.models)}. mixroute {_version(first)}, code {str(first.provenance.get('code'))[:12]}.",
        "",
        "Texts of observations come from the environments (ALFWorld, WebShop), under their licences.",
        "",
    ]
    return "\n".join(lines)


def _of_run(rows: pd.DataFrame, meta: RunMeta) -> str:
    episodes = rows.drop_duplicates("instance")
    apart = 1 - rows["agree"].mean() if len(rows) else 0.0
    cells = (
        meta.task,
        meta.split,
        meta.pool,
        len(episodes),
        int(episodes["success"].sum()),
        len(rows),
        f"{apart:.1%}",
        meta.hash[:12],
        f"`{meta.provenance.get('command', '')}`",
    )
    return f"| {' | '.join(map(str, cells))} |"


def _models(cards: Mapping[str, Mapping[str, Any]]) -> str:
    return ", ".join(f"`{name}` with fingerprint {str(card.get('fingerprint'))[:12]}" for name, card in cards.items())


def _version(meta: RunMeta) -> str:
    return str((meta.provenance.get("packages") or {}).get("mixroute"))
