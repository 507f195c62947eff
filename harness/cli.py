"""The command ``mixroute``. Errors of the user's input are one line on standard error and exit code 2."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer

# Whatever takes long to import is imported inside the commands, so that ``mixroute --help`` is quick.
from harness.board.commands import board, compare, figure, show, switches, table
from harness.challenge.commands import challenge
from harness.contracts import DataSource
from harness.doctor.commands import doctor
from harness.engine import executors
from harness.errors import MixrouteError
from harness.files import cache_folder
from harness.plugin_commands import add_commands, broken_commands
from harness.quantization.commands import quantize, variants
from harness.serving.commands import serve
from harness.shell_completion import complete_pool, complete_router, complete_scaffold, complete_suite, complete_task
from harness.speed.commands import calibrate
from harness.terminal import Terminal
from harness.text import clean, quoted
from harness.timing.commands import time
from harness.traces.commands import merge, pack
from harness.training.commands import train_agent, train_average
from harness.verify.commands import review, verify

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
train = typer.Typer(no_args_is_help=True, help="Train agents and routers.")
app.add_typer(train, name="train")
out = Terminal()
err = Terminal(stderr=True)

Runs = Annotated[Path, typer.Argument(help="Folder of runs or published entries.")]


def whole_number(text: str) -> int:
    """An integer as it is meant in every language: without leading zeros, which some read as octal."""
    if not re.fullmatch("-?(0|[1-9][0-9]{0,17})", text):
        raise typer.BadParameter(f"{quoted(text)} is no whole number without leading zeros")
    return int(text)


def home_expanded(arguments: list[str]) -> list[str]:
    """Arguments with the home folder for ``~``, also where the shell leaves it: in ``--out=~/runs``."""
    return [re.sub("^(--[a-z-]+=)?~(?=/|$)", lambda found: f"{found[1] or ''}{Path.home()}", one) for one in arguments]


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"mixroute {version('mixroute')}")
        raise typer.Exit


@app.callback()
def prepare(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Benchmark LLM routers on long-horizon agent tasks."""
    from rich.logging import RichHandler

    # Libraries read these when they are imported, which happens only in commands that load a model.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    handler = RichHandler(console=err, show_time=False, show_path=False)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler])
    for package in ("harness", "routers", "tasks"):
        logging.getLogger(package).setLevel(logging.INFO)


@app.command()
def run(
    suite_name: Annotated[
        str,
        typer.Argument(
            metavar="SUITE", help="Name of a shipped suite, or a .yaml file.", autocompletion=complete_suite
        ),
    ],
    to: Annotated[Path | None, typer.Option("--out", help="Folder of the runs; runs/SUITE if not given.")] = None,
    router: Annotated[
        list[str] | None,
        typer.Option(
            help="Play this router instead of the suite's: NAME or file.py:Class, then ,key=value …",
            autocompletion=complete_router,
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Play only this task or router (by its label) of the suite; may be repeated."),
    ] = None,
    pool: Annotated[
        str | None,
        typer.Option(help="Pool instead of the suite's: a name or a .yaml file.", autocompletion=complete_pool),
    ] = None,
    scaffold: Annotated[
        str | None,
        typer.Option(
            help="Scaffold of the tasks instead of theirs: a name or a .yaml file.", autocompletion=complete_scaffold
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(parser=whole_number, help="Play so many instances of each task.")] = None,
    seed: Annotated[
        list[int] | None,
        typer.Option(parser=whole_number, help="Root seed instead of the suite's; may be repeated."),
    ] = None,
    concurrency: Annotated[int | None, typer.Option(parser=whole_number, help="Episodes at once.")] = None,
    mode: Annotated[
        Literal["deterministic", "throughput"] | None,
        typer.Option(help="Mode instead of the suite's; throughput batches more and may round differently."),
    ] = None,
    reuse: Annotated[bool, typer.Option(help="Take greedy answers that were computed before from the cache.")] = True,
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast", help="Stop at the first episode that ends in an error.")
    ] = False,
    shard: Annotated[
        str | None, typer.Option(metavar="K/N", help="Play the K-th of N shares of each run; then mixroute merge.")
    ] = None,
    executor: executors.Name = "local",
    workers: executors.Workers = None,
    ray_address: executors.RayAddress = None,
    cpus_per_worker: executors.CpusPerWorker = None,
    gpus_per_worker: executors.GpusPerWorker = 0.0,
    plan: Annotated[bool, typer.Option("--plan", help="Print what it will take, and play nothing.")] = False,
    card: Annotated[Path | None, typer.Option("--card", help="Plan seconds by this speed card.")] = None,
    prices: Annotated[Path | None, typer.Option("--prices", help="Plan dollars by this table (docs/cost.md).")] = None,
) -> None:
    """Play a suite. The same command again plays only what is missing."""
    try:
        from harness.engine.runner import SuiteRunner
        from harness.engine.shard import parse_shard
        from harness.plan.plan import plan_suite, settle
        from harness.plan.show import print_plan, print_settled
        from harness.plan.usage import Prices, load_prices
        from harness.speed.rates import open_rates
        from harness.suite import load_suite, with_changes

        chosen = with_changes(
            load_suite(suite_name),
            routers=router or (),
            only=only or (),
            pool=pool,
            scaffold=scaffold,
            limit=limit,
            seeds=seed or (),
            concurrency=concurrency,
            mode=mode,
        )
        share = None if shard is None else parse_shard(shard)
        folder = to or (chosen.folder if share is None else share.folder(chosen.folder))
        if plan:
            rates = None if card is None else open_rates(card, chosen.concurrency)
            table = Prices() if prices is None else load_prices(prices)
            past = (Path("runs"), Path("results/entries"))
            print_plan(plan_suite(chosen, folder, past, rates, table, share), out, workers or 1)
            return
        player = executors.executor_for(executor, workers, ray_address, cpus_per_worker, gpus_per_worker)
        runner = SuiteRunner(chosen, folder, err, reuse=reuse, shard=share, executor=player, fail_fast=fail_fast)
        played = runner.run()
    except KeyboardInterrupt:
        err.print("interrupted: finished episodes are kept; the same command goes on from here")
        raise typer.Exit(130) from None
    settled = settle(folder)
    if settled is not None:
        print_settled(settled, out)
    following = f"mixroute board {folder}" if share is None else f"mixroute merge {folder} … --out {chosen.folder}"
    out.print(f"runs are in {folder}; next: {following}", highlight=False, markup=False)
    failed = [one for one in played if one.failed]
    for one in failed:
        err.print(
            f"error: every episode of {one.meta.id} ended in an error, such as {one.episodes()[0].error}",
            highlight=False,
            markup=False,
        )
    if failed:
        raise typer.Exit(1)


@app.command()
def export(
    runs: Runs,
    to: Annotated[Path, typer.Option("--out", help="Folder of the logs.")] = Path("logs"),
) -> None:
    """Write runs as logs of inspect_ai, a file a run: inspect view --log-dir logs."""
    from harness.integrations.inspect_log import export_run
    from harness.traces.store import find_runs

    for folder in find_runs(runs):
        out.print(str(export_run(folder, to)), highlight=False, markup=False)


@app.command("list")
def list_() -> None:
    """List routers, tasks, backends, pools, scaffolds and suites."""
    from harness import pool, registry, scaffolds, suite
    from harness.config import shipped_names

    for kind in (registry.routers, registry.tasks, registry.backends):
        _print_names(f"{kind.kind}s", [(name, kind.about(name)) for name in kind.names()])
    pools = [(name, pool.load_pool(name).description) for name in shipped_names(pool.SHIPPED)]
    known = [(name, scaffolds.load_scaffold(name).description) for name in shipped_names(scaffolds.SHIPPED)]
    suites = [(name, suite.load_suite(name).description) for name in shipped_names(suite.SHIPPED)]
    _print_names("pools", pools)
    _print_names("scaffolds", known)
    _print_names("suites", suites)
    if broken := broken_commands():
        _print_names("commands", [(name, f"broken: {why}") for name, why in sorted(broken.items())])


@app.command()
def data(
    task: Annotated[
        str,
        typer.Argument(metavar="TASK", help="Name of a task, such as alfworld.", autocompletion=complete_task),
    ],
    to: Annotated[Path | None, typer.Option("--out", help="Folder; the cache if not given.")] = None,
) -> None:
    """Fetch or write a task's data."""
    from harness import registry

    source = registry.tasks.get(task)
    if not isinstance(source, DataSource):
        raise MixrouteError(f"task '{task}' has no data to fetch")
    out.print(str(source.prepare_data(to or cache_folder(task))), highlight=False, markup=False)


train.command("agent")(train_agent)
train.command("average")(train_average)
for command in (
    board,
    compare,
    show,
    serve,
    merge,
    pack,
    verify,
    review,
    challenge,
    switches,
    table,
    figure,
    calibrate,
    time,
    doctor,
    quantize,
    variants,
):
    app.command()(command)
app.command("twins", hidden=True)(variants)  # its name before 0.2


def _print_names(title: str, rows: list[tuple[str, str]]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=title, title_justify="left", show_header=False, box=None, padding=(0, 2))
    for name, description in rows:
        table.add_row(escape(name), escape(description))
    out.print(table)


def main(ready: Callable[[], None] = lambda: None) -> None:
    """Entry point of the command.

    Args:
        ready: Called when the command begins, which takes about a second of imports.
    """
    add_commands(app, train)
    ready()
    try:
        app(home_expanded(sys.argv[1:]), prog_name="mixroute")
    except MixrouteError as error:
        _end(str(error))
    except OSError as error:  # a folder that cannot be written, a disk that is full
        _end(f"{error.filename or ''}: {error.strerror or error}".removeprefix(": "))


def _end(message: str) -> NoReturn:
    err.print(clean(f"error: {message}"), highlight=False, markup=False, soft_wrap=True)
    sys.exit(2)
