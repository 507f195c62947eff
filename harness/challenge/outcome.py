"""The comparison of a claim with fresh games, as a record and as a table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from statistics import fmean

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness.board.runs import RunsAcrossSeeds
from harness.challenge.claim import Claim
from harness.challenge.play import FreshRows
from harness.errors import MixrouteError
from harness.metrics import Estimate, excess_cost, excess_test, lower_test, paired_difference
from harness.metrics.comparison import Key, pairs
from harness.text import clean
from harness.traces.cost import MAIN_COST
from harness.traces.evidence import ChallengeRecord, entry_digest
from harness.traces.read import EpisodeNumbers

LEVEL = 0.01
"""P-value below which a claim is refuted."""

MOST_EXCESS = 1.1
"""How many times the claimed cost ratio the fresh one may be, at the lower end of its interval."""


def judge(claim: Claim, fresh: FreshRows, seed: str) -> ChallengeRecord:
    """Compare what the row claims with what it did on fresh games."""
    then, now = (claim.row, claim.reference), (fresh.router, fresh.reference)
    p = lower_test(_differences(*now), _differences(*then))
    costs = _costs(*now), _costs(*then)
    excess, cost_p = excess_cost(*costs), excess_test(*costs)
    dearer = excess.low is not None and excess.low > MOST_EXCESS and cost_p is not None and cost_p < LEVEL
    return ChallengeRecord(
        entry=claim.folder.name,
        digest=entry_digest(claim.folder),
        seed=seed,
        games=len({played.instance for played in fresh.router.played}),
        success=fmean(played.success for played in fresh.router.played),
        difference=_difference(*now),
        claimed=_difference(*then),
        cost=_ratio(_costs(*now)),
        claimed_cost=_ratio(_costs(*then)),
        p=p,
        status="refuted" if dearer or (p is not None and p < LEVEL) else "holds",
        excess=excess,
        cost_p=cost_p,
    )


def _successes(row: RunsAcrossSeeds) -> dict[Key, float]:
    return {(played.instance, played.seed): float(played.success) for played in row.played}


def _difference(row: RunsAcrossSeeds, reference: RunsAcrossSeeds) -> Estimate:
    return paired_difference(_successes(row), _successes(reference)).difference


def _differences(row: RunsAcrossSeeds, reference: RunsAcrossSeeds) -> list[float]:
    """The mean difference of each instance."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    for instance, difference in pairs(_successes(row), _successes(reference)):
        found[instance].append(difference)
    return [fmean(differences) for differences in found.values()]


def _costs(row: RunsAcrossSeeds, reference: RunsAcrossSeeds) -> list[tuple[float, float]]:
    """Mean cost of the row and of the reference on each instance that both have played."""
    own, other = (_by_instance(one, _main_cost) for one in (row, reference))
    return [(fmean(own[instance]), fmean(other[instance])) for instance in sorted(own.keys() & other.keys())]


def _main_cost(played: EpisodeNumbers) -> float:
    amount = played.cost[MAIN_COST]
    if amount is None:
        raise MixrouteError(f"{played.instance}: an endpoint did not tell its tokens, so that its cost is not known")
    return amount


def _by_instance(row: RunsAcrossSeeds, figure: Callable[[EpisodeNumbers], float]) -> dict[str, list[float]]:
    found: defaultdict[str, list[float]] = defaultdict(list)
    for played in row.played:
        found[played.instance].append(figure(played))
    return dict(found)


def _ratio(costs: Sequence[tuple[float, float]]) -> float | None:
    own, other = (sum(pair[place] for pair in costs) for place in range(2))
    return own / other if other else None


def print_outcome(claim: Claim, fresh: FreshRows, record: ChallengeRecord, console: Console) -> None:
    """Print the rows on the fresh games, and the verdict."""
    table = Table(
        title=f"{clean(claim.meta.label)}: {record.games} fresh games of {claim.config.task} from seed {record.seed}",
        title_justify="left",
    )
    for heading in ("row", "games", "success %", "less always-high [95%]", "bytes"):
        table.add_column(heading, justify="left" if heading == "row" else "right")
    published = [(claim.row, claim.reference, "published")]
    for row, reference, where in (*published, *((r, fresh.reference, "fresh") for r in _fresh_rows(fresh))):
        costs = _ratio(_costs(row, reference))
        table.add_row(
            escape(f"{clean(row.meta.label)}, {where}"),
            str(len({played.instance for played in row.played})),
            f"{100 * fmean(played.success for played in row.played):.1f}",
            _points(_difference(row, reference)),
            "" if costs is None else f"{costs:.3f}",
        )
    console.print(table)
    console.print(f"success no lower than claimed: p = {_p(record.p)}, refuted below {LEVEL}", highlight=False)
    excess = "unknown" if record.excess is None or record.excess.mean is None else _interval(record.excess)
    console.print(
        f"bytes over the claimed: {excess}, p = {_p(record.cost_p)}, "
        f"refuted if all above {MOST_EXCESS} and p below {LEVEL}",
        highlight=False,
        markup=False,
    )
    style = "green" if record.status == "holds" else "bold red"
    console.print(f"[{style}]{record.status}[/{style}]  {escape(clean(record.entry))}", highlight=False)


def _fresh_rows(fresh: FreshRows) -> tuple[RunsAcrossSeeds, ...]:
    return fresh.router, fresh.reference, *fresh.others


def _points(found: Estimate) -> str:
    if found.mean is None or found.low is None or found.high is None:
        return "" if found.mean is None else f"{100 * found.mean:+.1f}"
    return f"{100 * found.mean:+.1f} [{100 * found.low:+.1f}, {100 * found.high:+.1f}]"


def _p(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4f}"


def _interval(found: Estimate) -> str:
    return f"{found.mean:.2f} [{found.low:.2f}, {found.high:.2f}]"
