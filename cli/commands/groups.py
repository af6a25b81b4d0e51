"""`bluetick group`: the consumer groups of the processors."""

import sys
from typing import Annotated

import typer

from cli.options import Json

group = typer.Typer(
    help="Show the processors' consumer groups, and move their offsets.", no_args_is_help=True
)


@group.command()
def show(
    name: Annotated[
        str | None, typer.Argument(help="normalise, track, measure, or a group; default: all.")
    ] = None,
    *,
    json: Json = False,
) -> None:
    """Show members, committed offsets and lag of each partition."""
    from cli import groups
    from service.settings import load

    sys.exit(groups.show(load(), name, json=json))


@group.command()
def move(
    name: Annotated[str, typer.Argument(help="normalise, track, measure, or a group.")],
    topic: Annotated[str, typer.Argument(help="A topic that it reads: raw.<provider>, …")],
    *,
    to: Annotated[
        str,
        typer.Option(help="begin, end, an offset, or a time: 2026-05-01T12:00Z, -2h."),
    ],
    partition: Annotated[
        list[int] | None, typer.Option(min=0, help="Only this partition; repeatable.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Skip the question.")] = False,
) -> None:
    """Move the committed offsets of a group, while none of its workers runs.

    It prints first what the group will skip or read again. Exit code 1 if nothing was moved.

    Example: bluetick group move normalise raw.NAME --partition 3 --to 7
    """
    from cli import groups
    from service.settings import load

    sys.exit(groups.move(load(), name, topic, partition or (), to, yes=yes))
