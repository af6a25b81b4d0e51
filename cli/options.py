"""The options of commands, each written once; a group of them is passed on as one value."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer


def overrides(setting: str, default: object) -> str:
    """Return the end of an option's help: the setting that it overrides, and its default.

    The settings themselves are not loaded for help. A test compares both with them.
    """
    return rf"\[env: BLUETICK_{setting.upper()}] \[default: {default}]"


def port_option(setting: str, default: int, what: str) -> Any:
    """Return the declaration of an option that overrides the setting of a port."""
    help_ = f"{what} {overrides(setting, default)}"
    return typer.Option(metavar="PORT", help=help_, show_default=False)


Port = Annotated[int | None, port_option("port", 8080, "Port for webhooks; 0: any.")]
AllPorts = Annotated[
    int | None,
    port_option(
        "port",
        8080,
        "Port for webhooks; 0: any. The other ports move along: with 8090, they are 8091 to 8096.",
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(
        help=f"Directory for data. {overrides('data', '~/.local/share/bluetick')}",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]
RecordJson = Annotated[
    bool, typer.Option("--json", help="The full record; else personal data is masked.")
]
Provider = Annotated[str | None, typer.Option(help="Only this provider.", show_default=False)]
From = Annotated[
    str | None,
    typer.Option("--from", help="Received since: 2026-05-01T12:00Z, -2h, oldest.", metavar="TIME"),
]
To = Annotated[
    str | None, typer.Option("--to", help=r"Received before. \[default: now]", metavar="TIME")
]
Accounts = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="A sources file; accounts in it are permitted, too.",
        show_default=False,
    ),
]


@dataclass(frozen=True)
class Range:
    """Which raw records to replay, as typed."""

    provider: Provider = None
    source: Annotated[
        str | None,
        typer.Option(help="Only bodies received from this source, as named in the URL."),
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
class ReplayRun:
    """How to run a replay."""

    id_: Annotated[
        str | None, typer.Option("--id", help="The replay to resume, or a name for a new one.")
    ] = None
    rate: Annotated[float, typer.Option(min=0, help="Observations a second; 0: no limit.")] = 2000.0
    backlog: Annotated[
        int, typer.Option(min=0, help="Wait while the tracker is further behind; 0: never wait.")
    ] = 20_000
    yes: Annotated[bool, typer.Option("--yes", help="Skip the plan and the question.")] = False


@dataclass(frozen=True)
class Letters:
    """Which dead letters to read, as typed."""

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


@dataclass(frozen=True)
class Received:
    """Which raw records to archive: all that is not archived, or a range of time."""

    provider: Provider = None
    since: From = None
    until: To = None

    @property
    def given(self) -> bool:
        return self != Received()


@dataclass(frozen=True)
class Following:
    """How to follow a topic."""

    from_start: Annotated[
        bool, typer.Option("--from-start", help="Begin with the oldest record.")
    ] = False
    until_end: Annotated[
        bool, typer.Option("--until-end", help="From the oldest to the present end, then stop.")
    ] = False
    json: Annotated[
        bool, typer.Option("--json", help="Full records; else personal data is masked.")
    ] = False
    key: Annotated[str | None, typer.Option(help="Only this message key.")] = None
    limit: Annotated[int | None, typer.Option(min=1, help="Stop after this many records.")] = None


@dataclass(frozen=True)
class QualityOf:
    """Which figures of delivery quality to show."""

    by: Annotated[
        str,
        typer.Option(
            help="What to tell apart: provider, account, channel, gateway, country, operator; "
            "several with commas between."
        ),
    ] = "provider"
    since: Annotated[
        str,
        typer.Option("--from", help="Begun since: 2026-05-01T12:00Z, -2h, oldest.", metavar="TIME"),
    ] = "-24h"
    until: Annotated[
        str | None,
        typer.Option("--to", help=r"Begun before. \[default: no end]", metavar="TIME"),
    ] = None
    per: Annotated[
        Literal["hour", "day", "total"], typer.Option(help="A row for each hour or day.")
    ] = "total"


@dataclass(frozen=True)
class Rebuild:
    """How to rebuild a namespace."""

    into: Annotated[str, typer.Option(help="The new namespace.", show_default=False)]
    from_observations: Annotated[
        bool,
        typer.Option("--from-observations", help="Track again only; the normaliser stays."),
    ] = False
    until_present: Annotated[
        bool, typer.Option("--until-present", help="End at the present instead of following.")
    ] = False
    resume: Annotated[bool, typer.Option("--resume", help="Resume a rebuild.")] = False
    accept_gap: Annotated[
        bool, typer.Option("--accept-gap", help="Begin after the records that retention deleted.")
    ] = False


@dataclass(frozen=True)
class Comparing:
    """How to compare two namespaces."""

    since: Annotated[
        str | None,
        typer.Option(
            help="Only messages first seen since: 2026-05-01T12:00Z, -2h.", metavar="TIME"
        ),
    ] = None
    examples: Annotated[int, typer.Option(min=0, help="Examples of each kind.")] = 3
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False


@dataclass(frozen=True)
class Request:
    """An HTTP request without its body."""

    path: Annotated[str, typer.Option("--path", help="The path after the source in the URL.")] = ""
    method: Annotated[str, typer.Option(help="The HTTP verb of files.")] = "POST"
    header: Annotated[
        list[str] | None, typer.Option(help="A header, as Name:value; repeatable.")
    ] = None


@dataclass(frozen=True)
class Sending:
    """Where and how to post webhooks, and which to simulate."""

    url: Annotated[str, typer.Option(help="The URL of ingest.")] = "http://127.0.0.1:8080"
    messages: Annotated[int, typer.Option(min=1, help="Simulated messages.")] = 100
    rate: Annotated[
        float | None, typer.Option(min=0.01, help=r"Posts per second. \[default: no limit]")
    ] = None
    duplicates: Annotated[
        float, typer.Option(min=0, max=1, help="Fraction of posts sent twice.")
    ] = 0.1
    shuffle: Annotated[bool, typer.Option("--shuffle", help="Send in random order.")] = False
    malformed: Annotated[
        float, typer.Option(min=0, max=1, help="Fraction of posts made malformed.")
    ] = 0.0
    seed: Annotated[int | None, typer.Option(help="The same seed sends the same posts.")] = None
    connections: Annotated[
        int, typer.Option(min=1, max=1000, help="Number of concurrent connections.")
    ] = 16


def spread(command: Callable[..., None]) -> Callable[..., None]:
    """Declare the options of a group to typer; the command receives them as one value."""
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
