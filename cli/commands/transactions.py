"""`bluetick transactions`: the open transactions on the topics."""

import sys
from typing import Annotated

import typer

from cli.options import Json

group = typer.Typer(
    help="Show open transactions, and abort those that Kafka left open.", no_args_is_help=True
)


@group.command()
def show(*, json: Json = False) -> None:
    """Show the open transactions on the namespace's topics; exit code 1 if one is hanging.

    A hanging transaction is one that its coordinator does not have: nothing ends it, and readers
    of committed records wait behind it.
    """
    from cli import transactions
    from service.settings import load

    sys.exit(transactions.show(load(), json=json))


@group.command()
def abort(
    places: Annotated[
        list[str] | None,
        typer.Argument(help="TOPIC/PARTITION/OFFSET, as `show` prints it; default: all hanging."),
    ] = None,
    *,
    own: Annotated[
        bool,
        typer.Option("--own", help="Also a tracker's, which a tracker ends when it starts."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Skip the question.")] = False,
) -> None:
    """Abort hanging transactions: their records are never read. Exit code 1 if none was aborted.

    It writes the marker that Kafka lacks, which needs the right ClusterAction on the cluster.
    """
    from cli import transactions
    from service.settings import load

    sys.exit(transactions.abort(load(), places or (), own=own, yes=yes))
