"""Webhooks by hand: `parse` and `explain` show the results of bodies, `send` posts some."""

import sys
from typing import Annotated

import typer

from cli.options import Request, Sending, spread
from providers import NAMES


@spread
def parse(
    provider: Annotated[str, typer.Argument(help=f"{' or '.join(NAMES)}.")],
    file: Annotated[str, typer.Argument(help="A body; - is standard input.")] = "-",
    *,
    request: Request,
    received_at: Annotated[
        int | None, typer.Option(min=0, help=r"When it arrived, Unix ms. \[default: now]")
    ] = None,
) -> None:
    """Normalise one body and print the results as JSON lines, without a broker.

    Prints observations as on their topic, dead letters, and counts of events without a status.
    Exit code 1 if there is a dead letter.
    """
    from cli import parse as parsing

    sys.exit(parsing.run(provider, file, request, received_at=received_at))


def explain(
    files: Annotated[
        list[str], typer.Argument(help="Bodies, or lives (docs/cases.md); - is standard input.")
    ],
    *,
    provider: Annotated[
        str | None,
        typer.Option(
            help=f"The bodies' provider: {' or '.join(NAMES)}; lives name it.", show_default=False
        ),
    ] = None,
    wait: Annotated[float, typer.Option(min=0, help="Hours of silence at the end.")] = 0,
    received_at: Annotated[
        int | None, typer.Option(min=0, help=r"When a body arrived, Unix ms. \[default: now]")
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Whole records as JSON lines; else a masked timeline.")
    ] = False,
) -> None:
    """Print the records that some bodies produce on each topic, without a broker.

    Parser and lifecycle run in memory, with the times of the bodies. Exit code 1 if there is a
    dead letter.
    """
    from cli import explain as explaining

    sys.exit(
        explaining.explain(files, provider=provider, wait=wait, received_at=received_at, json=json)
    )


@spread
def send(
    source: Annotated[
        str, typer.Argument(help=f"A source; without files {', '.join(NAMES)} or all.")
    ],
    files: Annotated[
        list[str] | None,
        typer.Argument(help="Bodies, directories of *.json, or -; without any: simulated."),
    ] = None,
    *,
    sending: Sending,
    request: Request,
) -> None:
    """Post webhooks to a running ingest: files, or the lives of simulated messages."""
    from cli.simulator import send as posting

    sys.exit(posting.run(source, files or (), sending, request))
