"""`bluetick sources`: who may send."""

from pathlib import Path
from typing import Annotated

import typer

group = typer.Typer(help="Look after who may send.", no_args_is_help=True)


@group.command()
def check(
    file: Annotated[
        Path | None, typer.Argument(help="A file of sources; default: BLUETICK_SOURCES.")
    ] = None,
) -> None:
    """Report the mistakes in a file of sources, by key, or show who may send.

    Secrets are looked for where the file says, as ingest does, and never shown.
    """
    from cli import sources
    from service.settings import load

    sources.check(file or load().sources)
