"""Webhooks by hand: `parse` and `explain` say what bodies amount to, `send` posts some."""

import sys
from typing import Annotated

import typer

from cli.options import Request, Sending, spread
from providers import NAMES


@spread
def parse(
    provider: Annotated[str, typer.Argument(help=f"{' or '.join(NAMES)}.")],
    file: Annotated[str, typer.Argument(help="A body; - is the standard input.")] = "-",
    *,
    request: Request,
    received_at: Annotated[
        int | None, typer.Option(min=0, help="When it arrived, Unix ms; default: now.")
    ] = None,
) -> None:
    """Print what one body amounts to, as JSON lines, without a broker.

    Observations as they would go on their topic, dead letters, and counts of events that carry no
    status. Exit code 1 if anything ends as a dead letter.
    """
    from cli import parse as parsing

    sys.exit(parsing.run(provider, file, request, received_at=received_at))


def explain(
    files: Annotated[
        list[str], typer.Argument(help="Bodies, or lives (docs/cases.md); - is the standard input.")
    ],
    *,
    provider: Annotated[
        str | None,
        typer.Option(
            help=f"Whose bodies: {' or '.join(NAMES)}; a life says so.", show_default=False
        ),
    ] = None,
    wait: Annotated[float, typer.Option(min=0, help="Hours of silence at the end.")] = 0,
    received_at: Annotated[
        int | None, typer.Option(min=0, help="When a body arrived, Unix ms; default: now.")
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Whole records as JSON lines; else a masked timeline.")
    ] = False,
) -> None:
    """Print what would be on each topic for some bodies, without a broker.

    Parser and lifecycle run in memory, by the bodies' own clock. For example: bluetick explain
    --provider NAME body.json --wait 25. Exit code 1 if there is a dead letter.
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
