"""One episode, step by step, in a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.rule import Rule
from rich.text import Text

from harness.board.clocks import episode_walls, step_walls
from harness.errors import MixrouteError
from harness.metrics import percentile
from harness.records import CallRecord, Episode, StepRecord
from harness.text import clean, cut, quoted
from harness.traces.clock import Clock, read_clock
from harness.traces.cost import COST_MODELS
from harness.traces.read import EpisodeNumbers, check_shape, episode_numbers, model_cards, timed_episode
from harness.traces.store import EPISODES, find_runs, read_episodes, read_meta, read_timings

_STYLES = {"high": "bold magenta", "low": "bold cyan"}
_MOST_CANDIDATES = 10
_LONGEST_NAME = 120  # characters of a candidate


def find_episode(root: Path, text: str) -> tuple[Path, str]:
    """The run folder and instance that ``text`` names: a whole ``RUN/INSTANCE`` or instance, else any unique part.

    Args:
        root: Folder with run or entry folders at any depth.
        text: What to look for among the planned episodes of all runs.

    Raises:
        MixrouteError: no run, no match, or several (some are listed).
    """
    runs = [(folder, read_meta(folder)) for folder in find_runs(root, nested=True)]
    every = [(f"{meta.id}/{instance}", folder, instance) for folder, meta in runs for instance in meta.instances]
    found = [one for one in every if text in (one[0], one[2])] or [one for one in every if text in one[0]]
    if not found:
        raise MixrouteError(
            f"no episode below {root} matches {quoted(text)}; one of {len(every)}: {_listing(every[:1])}"
        )
    if len(found) > 1:
        raise MixrouteError(f"{quoted(text)} matches {len(found)} episodes; give more of one of: {_listing(found)}")
    return found[0][1], found[0][2]


def _listing(found: list[tuple[str, Path, str]]) -> str:
    names = [cut(clean(name), _LONGEST_NAME) for name, _, _ in found[:_MOST_CANDIDATES]]
    return ", ".join(names) + (", …" if len(found) > _MOST_CANDIDATES else "")


def show_episode(folder: Path, instance: str, console: Console, *, full: bool = False) -> None:
    """Print an episode: per step what the agent saw, every call, the action and its reward; then the totals.

    Text of the trace is printed as it is, save control characters and markup, so it cannot act on the terminal.

    Args:
        folder: Run or entry folder.
        instance: Instance to show.
        console: Where to print.
        full: Print the admissible actions and the text of every call too.

    Raises:
        MixrouteError: not a run folder, a corrupt line, or the episode has not been played.
    """
    meta = read_meta(folder)
    episode = next((one for one in read_episodes(folder) if one.instance == instance), None)
    if episode is None:
        raise MixrouteError(
            f"{folder / EPISODES} has no finished episode of {quoted(instance)}: resume the run to play it"
        )
    timing = None
    for timing_line in read_timings(folder):
        timing = timing_line if timing_line.instance == instance else timing
    # Rule reads markup in its title; everything else is Text, which does not.
    console.print(Rule(escape(clean(f"{meta.id}/{instance}"))))
    console.print(_line(f"{meta.label} on {meta.task} {meta.split}, pool {meta.pool}, seed {meta.seed}", "dim"))
    for index, step in enumerate(episode.steps):
        _show_step(index, step, console, full)
    console.print(Rule("end"))
    console.print(_paragraph(episode.final_observation))
    check_shape(folder, episode, timing)
    clock = read_clock(folder, meta)
    measured = None
    if clock is not None:
        clock.check_shape(episode, folder)
        measured = clock.mean_timing(episode)
    numbers = episode_numbers(folder, episode, model_cards(folder, meta), measured)
    for line in _totals(episode, numbers, outcome_known=meta.outcome_known):
        console.print(line)
    if clock is not None:
        numbers = replace(numbers, timed=timed_episode(episode, clock, timing))
        for line in _latency(numbers, clock):
            console.print(line)


def _show_step(index: int, step: StepRecord, console: Console, full: bool) -> None:
    console.print()
    console.print(_paragraph(step.observation))
    if full and step.admissible:
        console.print(_paragraph(f"admissible: {', '.join(step.admissible)}", "dim"))
    for call in step.calls:
        console.print(_line(_call_summary(call), "dim", indent=2))
        if full:
            console.print(_paragraph(call.forced + call.text, "dim", indent=4))
    if step.thought:
        console.print(_paragraph(f"thinks: {step.thought}", "italic", indent=4))
    head = Text(f"{index + 1:>3} ")
    head.append(clean(f"[{step.model}]"), _STYLES.get(step.model, "bold yellow"))
    head.append(clean(f" > {step.action}"), "bold")
    for name, value in step.scores.items():
        head.append(clean(f"  {name} {value:g}"), "dim")
    if step.valid is False:
        head.append("  INVALID", "bold red")
    if step.reward:
        head.append(f"  reward {step.reward:+g}", "bold green" if step.reward > 0 else "bold red")
    console.print(head, soft_wrap=True)


def _call_summary(call: CallRecord) -> str:
    entropy = "-" if call.mean_entropy is None else f"{call.mean_entropy:.3f} nats"
    untold = "" if call.usage_known else ", tokens not all known"
    read = "" if call.read is None else f", reads a reply of {len(call.read.ends)} tokens"
    return (
        f"call {call.model}{' (switch)' if call.switch else ''}: prompt {call.prompt_tokens} "
        f"({call.cached_tokens} cached){read}, decoded {call.decoded_tokens}{untold}, {call.finish}, "
        f"mean entropy {entropy}"
    )


def _totals(episode: Episode, numbers: EpisodeNumbers, *, outcome_known: bool) -> Iterable[Text]:
    outcome, style = ("success", "bold green") if numbers.success else ("failure", "bold red")
    if outcome_known:
        yield _line(f"{outcome}: score {episode.score:g}, end {episode.end}", style)
    else:
        yield _line(f"outcome not known, end {episode.end}", "bold yellow")
    if episode.error is not None:
        yield _line(f"error: {episode.error}", "red")
    share = f", high share {numbers.high / numbers.steps:.1%}" if numbers.steps else ""
    yield _line(f"steps {numbers.steps}, of which invalid {numbers.invalid}{share}")
    acted = Counter(step.model for step in episode.steps)
    called = Counter(call.model for step in episode.steps for call in step.calls)
    for model in sorted({*acted, *called}):
        read, cached, written = numbers.tokens.get(model, (0, 0, 0))
        yield _line(
            f"{model}: acted in {acted[model]} steps, {called[model]} calls, prompt tokens {read + cached} "
            f"({cached} cached), decoded {written}{', not all known' if model in numbers.untold else ''}"
        )
    amounts = [
        f"{model.title} {amount / model.scale:,.3f} {model.unit}"
        for name, model in COST_MODELS.items()
        if (amount := numbers.cost[name]) is not None
    ]
    yield _line(f"cost: {', '.join(amounts)}")


def _latency(numbers: EpisodeNumbers, clock: Clock) -> Iterable[Text]:
    if numbers.timed is None:
        return
    steps = step_walls(numbers)
    p50, p95, p99 = (percentile(steps, share) for share in (0.5, 0.95, 0.99))
    router = "" if numbers.timed.router is None else ", with the router's own code"
    yield _line(
        f"latency at {clock.meta.concurrency} episodes at once{router}: episode {fmean(episode_walls(numbers)):.3f} s, "
        f"step p50 {p50:.3f} s, p95 {p95:.3f} s, p99 {p99:.3f} s"
    )


def _line(text: str, style: str = "", indent: int = 0) -> Text:
    return Text(" " * indent + clean(text), style=style)


def _paragraph(text: str, style: str = "", indent: int = 4) -> Padding:
    return Padding(Text(clean(text, keep="\n"), style=style), (0, 0, 0, indent), expand=False)
