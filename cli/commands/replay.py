"""`bluetick replay`: a range of the raw topics, once more."""

import sys
from typing import Annotated

import typer

from cli.options import Accounts, Json, Range, spread

group = typer.Typer(
    help="Normalise a range of the raw topics again, and publish what was missing.",
    epilog="How to: docs/replays.md.",
    no_args_is_help=True,
)


@group.command()
@spread
def plan(*, asked: Range, accounts: Accounts = None, json: Json = False) -> None:
    """Count what a replay would bring: facts that are new, changed or known. Writes nothing."""
    from cli import replay
    from cli.commands.preflight import ready

    replay.check(asked)
    sys.exit(replay.plan(ready(), asked, accounts, json=json))


@group.command()
@spread
def run(
    *,
    asked: Range,
    accounts: Accounts = None,
    id_: Annotated[
        str | None, typer.Option("--id", help="The replay to go on with, or a new one's name.")
    ] = None,
    rate: Annotated[
        float, typer.Option(min=0, help="Observations a second; 0: no limit.")
    ] = 2000.0,
    backlog: Annotated[
        int, typer.Option(min=0, help="Wait while the tracker is further behind; 0: do not look.")
    ] = 20_000,
    yes: Annotated[bool, typer.Option("--yes", help="Without a plan, and unasked.")] = False,
) -> None:
    """Publish a range's observations again; killed or stopped, `--id` goes on where it was.

    Facts that are known already change nothing and are not published again.
    """
    from cli import replay
    from cli.commands.preflight import ready
    from processors.replay.run import Limits
    from processors.runtime import failpoints

    if asked.given or not id_:
        replay.check(asked)
    settings = ready()
    failpoints.arm(settings.failpoint)
    limits = Limits(rate, backlog)
    sys.exit(replay.run(settings, asked, accounts, id_, limits, yes=yes))


@group.command()
def report(
    id_: Annotated[str, typer.Argument(help="The replay's id.")],
    *,
    wait: Annotated[
        float, typer.Option(min=0, help="Seconds the tracker may take to catch up.")
    ] = 0.0,
    json: Json = False,
) -> None:
    """Count what came of a replay: new facts by verdict, and the events they caused."""
    from cli import replay
    from cli.commands.preflight import ready

    sys.exit(replay.report(ready(), id_, wait, json=json))


@group.command("list")
def list_(*, json: Json = False) -> None:
    """Show the replays Kafka knows of, and how far each is."""
    from cli import replay
    from cli.commands.preflight import ready

    sys.exit(replay.list_(ready(), json=json))
