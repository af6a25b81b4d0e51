"""`bluetick replay plan`: the facts of a range, compared with the states."""

import asyncio
from pathlib import Path
from typing import Any

from rich.console import Console

from cli.output import progress
from cli.output.jsonl import print_json
from cli.output.tables import PlainTable, name, number
from cli.replay.range_options import Wanted, corrections_of, resolve
from cli.replay.replay_as_text import described, rows, spec_fields
from processors.normalising.accounts import Corrections
from processors.replay import plan as planning
from processors.replay.plan import Plan
from processors.replay.plan_counts import STANDINGS
from processors.replay.progress import Spec
from service.garbage_collection import stop_collecting
from service.settings import Settings

# A running tracker catches up in a moment; a plan does not wait longer.
_CATCH_UP_SECONDS = 5.0


def plan(settings: Settings, asked: Wanted, sources: Path | None, *, json: bool) -> int:
    """Print the plan of a range; writes nothing."""
    corrections = corrections_of(sources)

    async def work() -> tuple[Plan, int]:
        spec, left = await resolve(settings, asked, corrections)
        return await planned(settings, spec, corrections), left

    stop_collecting()
    made, left = asyncio.run(work())
    if json:
        print_json(_fields(made, left))
    else:
        show(made, left)
    return 0


async def planned(settings: Settings, spec: Spec, corrections: Corrections) -> Plan:
    """Return the plan of a range, and show progress meanwhile."""
    with progress.shown() as shown:
        counts: dict[str, progress.Count] = {}

        def show_progress(what: str, done: int, total: int) -> None:
            if what not in counts:
                counts[what] = shown.count(what, total)
            counts[what].show(done, total)

        return await planning.plan(settings, spec, _CATCH_UP_SECONDS, show_progress, corrections)


def show(made: Plan, left: int) -> None:
    """Print a plan; `left` records are not normalised yet."""
    console = Console(highlight=False)
    counts = made.counts
    console.print(f"\n{described(made.spec)}")
    rate = counts.observations / max(0.001, made.seconds)
    console.print(
        f"{counts.bodies:,} bodies, {counts.observations:,} observations, compared with "
        f"{made.states:,} records of states in {made.seconds:.1f} s ({rate:,.0f} observations/s)"
    )
    table = PlainTable("", name("provider"), name("status"), *map(number, STANDINGS))
    for kind, facts in made.facts.items():
        cells = (f"{facts[standing]:,}" for standing in STANDINGS)
        table.add_row(kind.provider, kind.status, *cells, style="" if facts["new"] else "dim")
    console.print(table)
    for (provider, code), count in sorted(counts.dead_letters.items()):
        console.print(f"{provider}: {count:,} dead letters {code}, which stay unchanged")
    if left:
        console.print(f"{left:,} records are left to the normaliser, which has not read them yet")
    if made.behind:
        console.print(
            f"[yellow]the tracker is {made.behind:,} observations behind: some facts count as new "
            "that it has not read yet[/yellow]"
        )


def question(made: Plan) -> str:
    """Return the question before a replay: how many observations, and how many facts are new."""
    new = sum(facts["new"] for facts in made.facts.values())
    return f"{new:,} facts are new. Publish all {made.counts.observations:,} observations again?"


def _fields(made: Plan, left: int) -> dict[str, Any]:
    facts = [
        {**kind._asdict(), **{standing: count[standing] for standing in STANDINGS}}
        for kind, count in made.facts.items()
    ]
    return {
        **spec_fields(made.spec),
        "bodies": made.counts.bodies,
        "observations": made.counts.observations,
        "facts": facts,
        "dead_letters": rows(("provider", "code"), made.counts.dead_letters),
        "ignored": rows(("provider", "event"), made.counts.ignored),
        "left_to_normalise": left,
        "tracker_behind": made.behind,
        "seconds": round(made.seconds, 3),
    }
