"""`bluetick sources`: the senders of webhooks."""

from pathlib import Path
from typing import Annotated

import typer

from cli.options import overrides

group = typer.Typer(help="Check the senders of webhooks.", no_args_is_help=True)


@group.command()
def check(
    file: Annotated[
        Path | None,
        typer.Argument(
            help=f"A sources file. {overrides('sources', 'the built-in sources')}",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Report the errors in a sources file, by key, or list its sources.

    Secrets are looked up as ingest does, and never shown.
    """
    from cli import sources
    from service.settings import load

    sources.check(file or load().sources)
