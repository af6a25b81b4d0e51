"""`bluetick tail`: a topic as other services see it."""

import sys
from typing import Annotated

import typer


def tail(
    topic: Annotated[str, typer.Argument(help="statuses, events, messages, raw.<provider>, …")],
    *,
    from_start: Annotated[
        bool, typer.Option("--from-start", help="Begin with the oldest record.")
    ] = False,
    until_end: Annotated[
        bool, typer.Option("--until-end", help="From the oldest to the present end, then stop.")
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Records as they are; else personal data is masked.")
    ] = False,
    key: Annotated[str | None, typer.Option(help="Only this message key.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Stop after so many.")] = None,
) -> None:
    """Follow a topic, one line a record, as other services see it (read committed)."""
    from cli import tail as following
    from service.settings import load

    sys.exit(
        following.run(
            load(),
            topic,
            from_start=from_start,
            until_end=until_end,
            json_lines=json,
            key=key,
            limit=limit,
        )
    )
