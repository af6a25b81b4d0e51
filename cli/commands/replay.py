"""`bluetick replay`: process a range of the raw topics again."""

import sys
from typing import Annotated

import typer

from cli.options import Accounts, Json, Range, ReplayRun, spread

group = typer.Typer(
    help="Normalise a range of the raw topics again, and publish missing facts.",
    epilog="How to: docs/replays.md.",
    no_args_is_help=True,
)


@group.command()
@spread
def plan(*, asked: Range, accounts: Accounts = None, json: Json = False) -> None:
    """Count the new, changed and known facts of a range. Writes nothing."""
    from cli.commands.preflight import ready
    from cli.replay import plan as planning
    from cli.replay.range_options import wanted

    given = wanted(asked)
    sys.exit(planning.plan(ready(), given, accounts, json=json))


@group.command()
@spread
def run(*, asked: Range, how: ReplayRun, accounts: Accounts = None) -> None:
    """Publish a range's observations again; `--id` alone resumes one that was killed or stopped.

    Known facts change nothing and are not published again.
    """
    from cli.commands.preflight import ready
    from cli.replay import run as running
    from cli.replay.range_options import wanted
    from processors.runtime import failpoints

    given = wanted(asked) if asked.given or not how.id_ else None
    settings = ready()
    failpoints.arm(settings.failpoint)
    sys.exit(running.run(settings, given, accounts, how))


@group.command()
def report(
    id_: Annotated[str, typer.Argument(help="The replay's id.")],
    *,
    wait: Annotated[
        float, typer.Option(min=0, help="Seconds to wait for the tracker to catch up.")
    ] = 0.0,
    json: Json = False,
) -> None:
    """Count the new facts of a replay by verdict, and the events they caused."""
    from cli.commands.preflight import ready
    from cli.replay import report as reporting

    sys.exit(reporting.report(ready(), id_, wait, json=json))


@group.command("list")
def list_(*, json: Json = False) -> None:
    """List the replays that Kafka stores, with their progress."""
    from cli.commands.preflight import ready
    from cli.replay import report as reporting

    sys.exit(reporting.list_(ready(), json=json))
