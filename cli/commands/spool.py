"""`bluetick spool`: the bodies that wait on the disk for Kafka."""

import sys
from pathlib import Path
from typing import Annotated

import typer

group = typer.Typer(
    help="Inspect, send or copy the bodies that wait in BLUETICK_SPOOL for Kafka (personal data).",
    no_args_is_help=True,
)


@group.command()
def status() -> None:
    """Show the bodies in each slot of the spool; exit code 1 if one cannot be read."""
    from cli import spool
    from service.settings import load

    sys.exit(spool.status(load()))


@group.command()
def drain() -> None:
    """Send the bodies that no running ingest holds to Kafka; Ctrl-C keeps the rest."""
    from cli import spool
    from service.settings import load

    sys.exit(spool.drain(load()))


@group.command()
def export(
    to: Annotated[Path, typer.Argument(help="A new file ending in .jsonl, or a new directory.")],
) -> None:
    """Copy the bodies, as JSON lines (base64) or as files, with their sha256; removes none.

    It also copies the readable bodies of damaged files. The copies hold phone numbers and texts as
    the providers sent them: keep them as safe as the spool, and delete them after use.
    """
    from cli import spool
    from service.settings import load

    sys.exit(spool.export(load(), to))
