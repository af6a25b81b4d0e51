"""`bluetick spool`: the bodies that wait on the disk."""

import sys
from pathlib import Path
from typing import Annotated

import typer

group = typer.Typer(
    help="Look after the bodies that wait in BLUETICK_SPOOL for Kafka. They are personal data.",
    no_args_is_help=True,
)


@group.command()
def status() -> None:
    """Show what waits in each place of the spool; exit code 1 if something cannot be read."""
    from cli import spool
    from service.settings import load

    sys.exit(spool.status(load()))


@group.command()
def drain() -> None:
    """Send to Kafka what no running ingest holds; Ctrl-C leaves the rest where it is."""
    from cli import spool
    from service.settings import load

    sys.exit(spool.drain(load()))


@group.command()
def export(
    to: Annotated[Path, typer.Argument(help="A new file ending in .jsonl, or a new directory.")],
) -> None:
    """Copy the bodies out, as JSON lines (base64) or as files, with their sha256; none is removed.

    Also from damaged files what can be read. The copies hold phone numbers and texts as the
    providers sent them: keep them as safe as the spool, and delete them after use.
    """
    from cli import spool
    from service.settings import load

    sys.exit(spool.export(load(), to))
