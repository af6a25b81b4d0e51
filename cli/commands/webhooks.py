"""Webhooks by hand: `parse` and `explain` say what bodies amount to, `send` posts some."""

import sys
from typing import Annotated

import typer

from cli.options import Header, Method, UrlPath


def parse(
    provider: Annotated[str, typer.Argument(help="smsmanager or whapi.")],
    file: Annotated[str, typer.Argument(help="A body; - is the standard input.")] = "-",
    *,
    path: UrlPath = "",
    method: Method = "POST",
    header: Header = None,
    received_at: Annotated[
        int | None, typer.Option(min=0, help="When it arrived, Unix ms; default: now.")
    ] = None,
) -> None:
    """Print what one body amounts to, as JSON lines, without a broker.

    Observations as they would go on their topic, dead letters, and counts of events that carry no
    status. Exit code 1 if anything ends as a dead letter.
    """
    from cli import parse as parsing

    sys.exit(
        parsing.run(
            provider,
            file,
            path=path,
            method=method,
            headers=header or (),
            received_at=received_at,
        )
    )


def explain(
    files: Annotated[
        list[str], typer.Argument(help="Bodies, or lives (docs/cases.md); - is the standard input.")
    ],
    *,
    provider: Annotated[
        str | None,
        typer.Option(help="Whose bodies: smsmanager or whapi; a life says so.", show_default=False),
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
    --provider whapi body.json --wait 25. Exit code 1 if there is a dead letter.
    """
    from cli import explain as explaining

    sys.exit(
        explaining.explain(files, provider=provider, wait=wait, received_at=received_at, json=json)
    )


def send(
    source: Annotated[
        str, typer.Argument(help="A source; without files smsmanager, whapi or all.")
    ],
    files: Annotated[
        list[str] | None,
        typer.Argument(help="Bodies, directories of *.json, or -; without any: simulated."),
    ] = None,
    *,
    url: Annotated[str, typer.Option(help="Where ingest listens.")] = "http://127.0.0.1:8080",
    messages: Annotated[int, typer.Option(min=1, help="Simulated messages.")] = 100,
    rate: Annotated[
        float | None, typer.Option(min=0.01, help="Posts per second; default: as fast as can be.")
    ] = None,
    duplicates: Annotated[float, typer.Option(min=0, max=1, help="Share told twice.")] = 0.1,
    shuffle: Annotated[bool, typer.Option("--shuffle", help="Send in random order.")] = False,
    malformed: Annotated[float, typer.Option(min=0, max=1, help="Share spoiled.")] = 0.0,
    seed: Annotated[int | None, typer.Option(help="The same seed sends the same.")] = None,
    connections: Annotated[int, typer.Option(min=1, max=1000, help="At once.")] = 16,
    path: UrlPath = "",
    method: Method = "POST",
    header: Header = None,
) -> None:
    """Post webhooks to a running ingest: files, or the lives of simulated messages."""
    from cli.simulator import send as sending

    sys.exit(
        sending.run(
            source,
            files or (),
            url=url,
            messages=messages,
            rate=rate,
            connections=connections,
            duplicates=duplicates,
            shuffle=shuffle,
            malformed=malformed,
            seed=seed,
            method=method,
            path=path,
            headers=header or (),
        )
    )
