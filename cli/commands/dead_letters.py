"""`bluetick dead-letters`: bodies, items and observations that cannot be processed."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from cli.options import Json, Letters, RecordJson, overrides, spread

group = typer.Typer(
    help="List, show, export and retry what could not be processed.", no_args_is_help=True
)

All = Annotated[bool, typer.Option("--all", help="Include resolved ones.")]
Oldest = Annotated[int | None, typer.Option(min=1, help="At most this many, oldest first.")]


@group.command("list")
@spread
def list_(
    *,
    meant: Letters,
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many causes.")] = None,
    json: Json = False,
    everything: All = False,
) -> None:
    """Count dead letters by cause, with an example of each."""
    from cli.dead_letters import inspect, reader
    from service.settings import load

    chosen = reader.selection(meant)
    sys.exit(inspect.list_(load(), chosen, everything=everything, limit=limit, json=json))


@group.command()
def show(
    place: Annotated[str, typer.Argument(help="raw.<provider>/3/120, or dead-letters/3/7.")],
    *,
    json: RecordJson = False,
) -> None:
    """Show a dead letter, or those of a raw body, with headers and masked value."""
    from cli.dead_letters import inspect
    from service.settings import load

    sys.exit(inspect.show(load(), place, json=json))


@group.command()
@spread
def export(
    target: Annotated[Path, typer.Argument(help="A new file, or a directory.")],
    *,
    meant: Letters,
    limit: Oldest = None,
    everything: All = False,
) -> None:
    """Write complete dead letters to a file, one JSON object per line."""
    from cli.dead_letters import inspect, reader
    from service.settings import load

    chosen = reader.selection(meant)
    sys.exit(inspect.export(load(), chosen, target, everything=everything, limit=limit))


@group.command()
@spread
def retry(
    *,
    meant: Letters,
    limit: Oldest = None,
    accounts: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A sources file; accounts in it are permitted, too. "
            + overrides("sources", "none"),
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only count what would be resolved.")
    ] = False,
    json: Json = False,
) -> None:
    """Normalise their raw bodies with today's code, and mark the resolved ones.

    Accounts in BLUETICK_SOURCES, or in --accounts, are permitted in addition to those at reception.
    Can be repeated and interrupted. Exit code 1 if a body is gone.
    """
    from cli.dead_letters import reader
    from cli.dead_letters import retry as again
    from service.settings import load

    settings = load()
    chosen = reader.selection(meant)
    sources = accounts or settings.sources
    sys.exit(again.run(settings, chosen, sources=sources, limit=limit, dry=dry_run, json=json))
