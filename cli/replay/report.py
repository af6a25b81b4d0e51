"""`bluetick replay report` and `list`: the results of a replay, and all replays."""

import asyncio
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from cli.output.jsonl import print_json
from cli.output.tables import PlainTable, name, number, text
from cli.problem_sentences import CommandProblem
from cli.replay.replay_as_text import command, described, replay_fields, rows
from processors.replay import plan as planning
from processors.replay import progress as ledger
from processors.replay import report as reporting
from processors.replay.progress import Replay
from processors.replay.report import Report
from schemas.webhook import to_iso
from service.settings import Settings


def report(settings: Settings, id_: str, wait: float, *, json: bool) -> int:
    """Print the results of a replay."""

    async def work() -> Report:
        return await reporting.report(settings, await _find(settings, id_), wait)

    made = asyncio.run(work())
    if json:
        print_json(_fields(made))
    else:
        _show(made)
    return 0


def list_(settings: Settings, *, json: bool) -> int:
    """Print the replays that Kafka stores."""
    replays = asyncio.run(ledger.known(settings))
    if json:
        print_json([replay_fields(one) for one in replays])
    else:
        _show_all(replays)
    return 0


async def _find(settings: Settings, id_: str) -> Replay:
    replay = await ledger.find(settings, ledger.checked(id_))
    if replay is None:
        raise CommandProblem(
            "unknown_replay",
            (
                "there is no replay {id}, or Kafka has deleted it, a week after its last use "
                "(offsets.retention.minutes); see: bluetick replay list"
            ),
            id=id_,
        )
    return replay


def _show(made: Report) -> None:
    console = Console(highlight=False)
    replay = made.replay
    console.print(f"\nreplay {replay.id}, begun {to_iso(replay.started_at)}")
    console.print(described(replay.spec))
    table = PlainTable("", name("provider"), name("status"), name("verdict"), number("new"))
    for row, count in sorted(made.facts.items()):
        table.add_row(*row, f"{count:,}")
    console.print(table)
    events = ", ".join(f"{event} {count:,}" for event, count in sorted(made.events.items()))
    console.print(f"new facts: {made.facts.total():,}; events: {events or 'none'}")
    if replay.left:
        left = planning.size(replay.left)
        console.print(f"[yellow]not finished: {left:,} records to go; {command(replay)}[/yellow]")
    if made.behind:
        console.print(
            f"[yellow]the tracker is {made.behind:,} observations behind, so the report is not "
            "complete; run it again later, or with --wait SECONDS[/yellow]"
        )


def _fields(made: Report) -> dict[str, Any]:
    return {
        **replay_fields(made.replay),
        "facts": rows(("provider", "status", "verdict"), made.facts),
        "events": dict(sorted(made.events.items())),
        "tracker_behind": made.behind,
    }


def _show_all(replays: Sequence[Replay]) -> None:
    table = PlainTable("", name("id"), name("begun"), text("range"), number("done"))
    for one in replays:
        total, left = planning.size(one.spec.spans), planning.size(one.left)
        done = f"{total - left:,} of {total:,}" if left else "all"
        table.add_row(one.id, to_iso(one.started_at), described(one.spec), done)
    Console(highlight=False).print(table if replays else "there are no replays")
