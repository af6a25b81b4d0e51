"""Options that several commands share, and groups of them that a command takes as one value."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

Port = Annotated[
    int | None, typer.Option(min=0, max=65535, help="Port to listen on.", show_default=False)
]
Data = Annotated[Path | None, typer.Option(help="Directory for data.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]
RecordJson = Annotated[
    bool, typer.Option("--json", help="The record as it is; else personal data is masked.")
]
Provider = Annotated[str | None, typer.Option(help="Only this provider.", show_default=False)]
From = Annotated[
    str | None,
    typer.Option("--from", help="Received since: 2026-05-01T12:00Z, -2h, oldest.", metavar="TIME"),
]
To = Annotated[
    str | None, typer.Option("--to", help="Received before; default: now.", metavar="TIME")
]
UrlPath = Annotated[str, typer.Option("--path", help="What follows the source in the URL.")]
Method = Annotated[str, typer.Option(help="The HTTP verb.")]
Accounts = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="A sources file; accounts in it are permitted, too.",
        show_default=False,
    ),
]
Header = Annotated[list[str] | None, typer.Option(help="A header, as Name:value; repeatable.")]


@dataclass(frozen=True)
class Range:
    """What is to be replayed, as it was typed."""

    provider: Provider = None
    source: Annotated[
        str | None,
        typer.Option(help="Only what came in by this source, as it is named in the URL."),
    ] = None
    since: From = None
    until: To = None
    offsets: Annotated[
        list[str] | None,
        typer.Option(help="Instead, PARTITION:FIRST-END; repeatable, needs --provider."),
    ] = None
    only: Annotated[
        str | None, typer.Option(help="Only a status, a message key, or a dead letter's code.")
    ] = None
    archive: Annotated[
        str | None, typer.Option("--archive", help="Read from this archive, not from Kafka's log.")
    ] = None

    @property
    def given(self) -> bool:
        return self != Range()


@dataclass(frozen=True)
class Letters:
    """Which dead letters are meant, as it was typed."""

    provider: Provider = None
    code: Annotated[
        str | None, typer.Option(help="Only those with this code.", show_default=False)
    ] = None
    since: Annotated[
        str | None,
        typer.Option("--from", help="Written since: 2026-05-01T12:00Z, -2h.", metavar="TIME"),
    ] = None
    until: Annotated[str | None, typer.Option("--to", help="Written before.", metavar="TIME")] = (
        None
    )


def spread(command: Callable[..., None]) -> Callable[..., None]:
    """Let typer see the options in a group, which the command takes as one value."""
    parameters: list[inspect.Parameter] = []
    groups: dict[str, Any] = {}
    for one in inspect.signature(command).parameters.values():
        if isinstance(one.annotation, type) and is_dataclass(one.annotation):
            groups[one.name] = one.annotation
            parameters += inspect.signature(one.annotation).parameters.values()
        else:
            parameters.append(one)

    @functools.wraps(command)
    def run(**given: Any) -> None:
        for name, group in groups.items():
            given[name] = group(**{field.name: given.pop(field.name) for field in fields(group)})
        command(**given)

    options = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in parameters]
    run.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in options}
    return run
