"""Bluetick's command line and composition root: every command, each a few lines long."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from schemas.problem import Problem
from schemas.settings import Settings, load

__version__ = "0.1.0"

app = typer.Typer(
    name="bluetick",
    help="Delivery webhooks of messaging providers, turned into one lifecycle per message.",
    epilog="Settings are environment variables BLUETICK_*: see docs/settings.md.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
replay_app = typer.Typer(
    help="Normalise a range of the raw topics again, and publish what was missing.",
    epilog="How to: docs/replays.md.",
    no_args_is_help=True,
)
topics_app = typer.Typer(help="Look after the topics of a namespace.", no_args_is_help=True)
app.add_typer(topics_app, name="topics")
sources_app = typer.Typer(help="Look after who may send.", no_args_is_help=True)
app.add_typer(sources_app, name="sources")


spool_app = typer.Typer(
    help="Look after the bodies that wait in BLUETICK_SPOOL for Kafka. They are personal data.",
    no_args_is_help=True,
)
app.add_typer(spool_app, name="spool")


letters_app = typer.Typer(
    help="What could not be normalised: look at it, retry it, take it along.", no_args_is_help=True
)
app.add_typer(letters_app, name="dead-letters")
app.add_typer(replay_app, name="replay")
namespace_app = typer.Typer(help="List and drop whole namespaces.", no_args_is_help=True)
app.add_typer(namespace_app, name="namespace")

Port = Annotated[
    int | None, typer.Option(min=0, max=65535, help="Port to listen on.", show_default=False)
]
Path_ = Annotated[str, typer.Option("--path", help="What follows the source in the URL.")]
Method = Annotated[str, typer.Option(help="The HTTP verb.")]
Header = Annotated[list[str] | None, typer.Option(help="A header, as Name:value; repeatable.")]
Provider = Annotated[str | None, typer.Option(help="Only this provider.", show_default=False)]
From = Annotated[
    str | None,
    typer.Option("--from", help="Received since: 2026-05-01T12:00Z, -2h, oldest.", metavar="TIME"),
]
To = Annotated[
    str | None, typer.Option("--to", help="Received before; default: now.", metavar="TIME")
]
Offsets = Annotated[
    list[str] | None,
    typer.Option(help="Instead, PARTITION:FIRST-END; repeatable, needs --provider."),
]
Source = Annotated[
    str | None, typer.Option(help="Only what came in by this source, as it is named in the URL.")
]
Only = Annotated[
    str | None, typer.Option(help="Only a status, a message key, or a dead letter's code.")
]
FromArchive = Annotated[
    str | None, typer.Option("--archive", help="Read from this archive, not from Kafka's log.")
]
Id = Annotated[str, typer.Argument(help="The replay's id.")]
Json = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]
Data = Annotated[Path | None, typer.Option(help="Directory for data.", show_default=False)]

Code = Annotated[str | None, typer.Option(help="Only those with this code.", show_default=False)]
Written = Annotated[
    str | None,
    typer.Option("--from", help="Written since: 2026-05-01T12:00Z, -2h.", metavar="TIME"),
]
WrittenTo = Annotated[str | None, typer.Option("--to", help="Written before.", metavar="TIME")]
All = Annotated[bool, typer.Option("--all", help="Those a retry resolved, too.")]


def main() -> None:
    """Run the command line; what the user can mend is one sentence, and the exit code is 1."""
    try:
        app(prog_name="bluetick")
    except Problem as problem:
        typer.secho(f"bluetick: {problem}", fg="red", err=True)
        sys.exit(1)


def _version(wanted: bool) -> None:  # noqa: FBT001 - typer's callback
    if wanted:
        typer.echo(f"bluetick {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command()
def up(
    *,
    demo: Annotated[
        bool, typer.Option("--demo", help="Send examples through, show what comes out, end.")
    ] = False,
    port: Port = None,
    kafka_port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65535, help="Port of the local Kafka; default: 9092, any for the demo."
        ),
    ] = None,
    data: Data = None,
) -> None:
    """Run everything on this machine: Kafka, the topics, ingest, normalise and track.

    With BLUETICK_KAFKA set, that cluster is used and none is started.
    """
    from console import demo as demonstration
    from console import up as everything

    settings = load(port=port)
    if demo:
        sys.exit(demonstration.demo(settings, kafka_port))
    sys.exit(everything.up(settings, kafka_port, data))


@app.command()
def ingest(
    port: Port = None,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Processes on the one port.")] = 1,
    inherited: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Take webhooks over HTTP and put each body on Kafka."""
    from ingest import serve
    from ingest import workers as several

    settings = load(port=port)
    _log(settings)
    if inherited is not None:
        serve.run_worker(settings, inherited, lambda: typer.echo(several.SERVING))
    elif workers == 1:
        serve.run(settings)
    else:
        several.run(settings, workers, _worker)


def _worker(listener: int) -> list[str]:
    """The command of a worker, which the kernel ends with its supervisor."""
    from deploy.process import leashed

    me = str(Path(__file__).resolve())
    return leashed([sys.executable, me, "ingest", "--inherited", str(listener)])


@app.command()
def normalise(health_port: Port = None) -> None:
    """Turn raw bodies into observations and dead letters."""
    from processors.runtime.normaliser import Normaliser
    from processors.runtime.service import run

    settings = load(normalise_health_port=health_port)
    if settings.topics.observations in settings.topics.foreign:
        raise Problem(
            f"the namespace {settings.namespace} tracks the observations of "
            f"{settings.topics.observed} (BLUETICK_OBSERVATIONS_NAMESPACE), whose own normalise "
            "makes them; run it there, with BLUETICK_NAMESPACE="
            f"{settings.topics.observed}"
        )
    _require_topics(settings)
    run("normalise", settings, Normaliser, settings.normalise_health_port)


@app.command()
def track(health_port: Port = None, data: Data = None) -> None:
    """Turn observations into statuses, events, inbound messages and the state of each message."""
    from processors.runtime.service import run
    from processors.runtime.tracker import Tracker

    settings = load(track_health_port=health_port, data=data)
    _require_topics(settings)
    run("track", settings, Tracker, settings.track_health_port)


@topics_app.command("check")
def topics_check() -> None:
    """Compare the topics with what Bluetick expects; exit code 1 if they differ."""
    from deploy import topics

    findings = asyncio.run(topics.check(load()))
    for finding in findings:
        typer.echo(finding)
    if findings:
        raise Problem(
            "the topics are not as expected; `bluetick topics apply` creates what is missing, and "
            "leaves alone what somebody set on purpose"
        )
    typer.echo("every topic is as it should be")


@topics_app.command("apply")
def topics_apply() -> None:
    """Create missing topics and settings; nothing is ever deleted or repartitioned."""
    from deploy import topics

    done = asyncio.run(topics.apply(load()))
    for line in done or ["nothing to do: every topic is as it should be"]:
        typer.echo(line)


@sources_app.command("check")
def sources_check(
    file: Annotated[
        Path | None, typer.Argument(help="A file of sources; default: BLUETICK_SOURCES.")
    ] = None,
) -> None:
    """Say what is wrong with a file of sources, line by line, or show who may send.

    Secrets are looked for where the file says, as ingest does, and never shown.
    """
    from console.sources import check

    check(file or load().sources)


@spool_app.command("status")
def spool_status() -> None:
    """Show what waits in each place of the spool; exit code 1 if something cannot be read."""
    from console import spooled

    sys.exit(spooled.status(load()))


@spool_app.command("drain")
def spool_drain() -> None:
    """Send to Kafka what no running ingest holds; Ctrl-C leaves the rest where it is."""
    from console import spooled

    sys.exit(spooled.drain(load()))


@spool_app.command("export")
def spool_export(
    to: Annotated[Path, typer.Argument(help="A new file ending in .jsonl, or a new directory.")],
) -> None:
    """Copy the bodies out, as JSON lines (base64) or as files, with their sha256; none is removed.

    Also from damaged files what can be read. The copies hold phone numbers and texts as the
    providers sent them: keep them as safe as the spool, and delete them after use.
    """
    from console import spooled

    sys.exit(spooled.export(load(), to))


@letters_app.command("list")
def letters_list(
    *,
    provider: Provider = None,
    code: Code = None,
    since: Written = None,
    until: WrittenTo = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many causes.")] = None,
    json: Json = False,
    everything: All = False,
) -> None:
    """Count dead letters by their cause, with an example of each."""
    from console import deadletters, letters

    meant = letters.selection(provider, code, since, until)
    sys.exit(deadletters.list_(load(), meant, everything=everything, limit=limit, json=json))


@letters_app.command("show")
def letters_show(
    place: Annotated[str, typer.Argument(help="raw.whapi/3/120, or dead-letters/3/7.")],
    *,
    json: Annotated[
        bool, typer.Option("--json", help="The record as it is; else personal data is masked.")
    ] = False,
) -> None:
    """Show a dead letter, or those of a raw body, with its headers and its value's shape."""
    from console import deadletters

    sys.exit(deadletters.show(load(), place, json=json))


@letters_app.command("export")
def letters_export(
    target: Annotated[Path, typer.Argument(help="A new file, or a directory.")],
    *,
    provider: Provider = None,
    code: Code = None,
    since: Written = None,
    until: WrittenTo = None,
    limit: Annotated[int | None, typer.Option(min=1, help="The oldest so many.")] = None,
    everything: All = False,
) -> None:
    """Write dead letters to a file, one JSON object a line, whole."""
    from console import deadletters, letters

    meant = letters.selection(provider, code, since, until)
    sys.exit(deadletters.take_along(load(), meant, target, everything=everything, limit=limit))


@letters_app.command("retry")
def letters_retry(
    *,
    provider: Provider = None,
    code: Code = None,
    since: Written = None,
    until: WrittenTo = None,
    limit: Annotated[int | None, typer.Option(min=1, help="The oldest so many.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be resolved.")] = False,
    json: Json = False,
) -> None:
    """Normalise their raw bodies by today's code, and mark what that resolves.

    May be repeated and interrupted. Exit code 1 if a body is not there any more.
    """
    from console import letters, retry

    settings = load()
    meant = letters.selection(provider, code, since, until)
    sys.exit(retry.run(settings, meant, limit=limit, dry=dry_run, json=json))


@replay_app.command("plan")
def replay_plan(
    *,
    provider: Provider = None,
    source: Source = None,
    since: From = None,
    until: To = None,
    offsets: Offsets = None,
    only: Only = None,
    archive: FromArchive = None,
    json: Json = False,
) -> None:
    """Count what a replay would bring: facts that are new, changed or known. Writes nothing."""
    from console import replay

    asked = replay.Range(provider, since, until, tuple(offsets or ()), only, archive, source)
    sys.exit(replay.plan(_ready(), asked, json=json))


@replay_app.command("run")
def replay_run(
    *,
    provider: Provider = None,
    source: Source = None,
    since: From = None,
    until: To = None,
    offsets: Offsets = None,
    only: Only = None,
    archive: FromArchive = None,
    id_: Annotated[
        str | None, typer.Option("--id", help="The replay to go on with, or a new one's name.")
    ] = None,
    rate: Annotated[
        float, typer.Option(min=0, help="Observations a second; 0: no limit.")
    ] = 2000.0,
    backlog: Annotated[
        int, typer.Option(min=0, help="Wait while the tracker is further behind; 0: do not look.")
    ] = 20_000,
    yes: Annotated[bool, typer.Option("--yes", help="Without a plan, and unasked.")] = False,
) -> None:
    """Publish a range's observations again; killed or stopped, `--id` goes on where it was.

    Facts that are known already change nothing and are not published again.
    """
    from console import replay
    from processors.runtime import failpoints
    from processors.runtime.replaying import Limits

    settings = _ready()
    failpoints.arm(settings.failpoint)
    asked = replay.Range(provider, since, until, tuple(offsets or ()), only, archive, source)
    sys.exit(replay.run(settings, asked, id_, Limits(rate, backlog), yes=yes))


@replay_app.command("report")
def replay_report(
    id_: Id,
    *,
    wait: Annotated[
        float, typer.Option(min=0, help="Seconds the tracker may take to catch up.")
    ] = 0.0,
    json: Json = False,
) -> None:
    """Count what came of a replay: new facts by verdict, and the events they caused."""
    from console import replay

    sys.exit(replay.report(_ready(), id_, wait, json=json))


@replay_app.command("list")
def replay_list(*, json: Json = False) -> None:
    """Show the replays Kafka knows of, and how far each is."""
    from console import replay

    sys.exit(replay.list_(_ready(), json=json))


@app.command()
def parse(
    provider: Annotated[str, typer.Argument(help="smsmanager or whapi.")],
    file: Annotated[str, typer.Argument(help="A body; - is the standard input.")] = "-",
    *,
    path: Path_ = "",
    method: Method = "POST",
    header: Header = None,
    received_at: Annotated[
        int | None, typer.Option(help="When it arrived, Unix ms; default: now.")
    ] = None,
) -> None:
    """Print what one body amounts to, as JSON lines, without a broker.

    Observations as they would go on their topic, dead letters, and counts of events that carry no
    status. Exit code 1 if anything ends as a dead letter.
    """
    from console import parse as parsing

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


@app.command()
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
    path: Path_ = "",
    method: Method = "POST",
    header: Header = None,
) -> None:
    """Post webhooks to a running ingest: files, or the lives of simulated messages."""
    from console import send as sending

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


@app.command()
def tail(
    topic: Annotated[str, typer.Argument(help="statuses, events, messages, raw.whapi, …")],
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
    from console import tail as following

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


@app.command()
def archive(
    url: Annotated[str, typer.Argument(help="A directory, or a URL that fsspec knows.")],
    *,
    provider: Provider = None,
    since: From = None,
    until: To = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check every byte of the archive instead.")
    ] = False,
) -> None:
    """Keep raw bodies as Parquet files: all that is not archived yet, or a range of time.

    `bluetick replay … --archive URL` reads them back once Kafka has let them go.
    """
    from console import archive as archiving
    from processors.runtime import failpoints

    if verify and (provider or since or until):
        raise Problem("--verify is about all of an archive: leave out --provider, --from and --to")
    if verify:
        sys.exit(archiving.verify(url))
    settings = _ready()
    failpoints.arm(settings.failpoint)
    sys.exit(archiving.run(settings, url, provider=provider, since=since, until=until))


@app.command()
def rebuild(
    *,
    into: Annotated[str, typer.Option(help="The new namespace.", show_default=False)],
    from_observations: Annotated[
        bool, typer.Option("--from-observations", help="Track anew only; the normaliser stays.")
    ] = False,
    until_present: Annotated[
        bool, typer.Option("--until-present", help="End at the present instead of following.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a rebuild.")] = False,
    accept_gap: Annotated[
        bool, typer.Option("--accept-gap", help="Begin where retention has left off.")
    ] = False,
) -> None:
    """Derive a namespace anew from the raw bodies of this one, beside it; see docs/rebuild.md."""
    from console import rebuild as rebuilding

    settings = load()
    _log(settings.model_copy(update={"log_level": "WARNING"}))
    wish = rebuilding.Wish(
        into=into,
        from_observations=from_observations,
        until_present=until_present,
        resume=resume,
        accept_gap=accept_gap,
    )
    sys.exit(rebuilding.run(settings, wish))


@app.command()
def diff(
    a: Annotated[str, typer.Argument(help="A namespace.")],
    b: Annotated[str, typer.Argument(help="Another.")],
    *,
    since: Annotated[
        str | None,
        typer.Option(help="Only messages first heard of since, such as 2026-11-20T00:00:00Z."),
    ] = None,
    examples: Annotated[int, typer.Option(min=0, help="Examples of each kind.")] = 3,
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Compare the states of the messages in two namespaces; exit code 1 if they differ."""
    from console import diff as comparing

    sys.exit(comparing.run(load(), a, b, since=since, examples=examples, json=json))


@namespace_app.command("list")
def namespace_list() -> None:
    """Show the namespaces on this Kafka: their topics, and who is in their groups."""
    from console import namespaces

    asyncio.run(namespaces.show(load()))


@namespace_app.command("drop")
def namespace_drop(
    name: Annotated[str, typer.Argument(help="The namespace.")],
    *,
    confirm: Annotated[
        str | None, typer.Option(help="The name once more, where nobody can be asked.")
    ] = None,
    keep_inputs: Annotated[
        bool, typer.Option("--keep-inputs", help="Keep what other namespaces read.")
    ] = False,
) -> None:
    """Delete the topics, groups and local stores of a namespace, with all that is in them."""
    from console import namespaces

    namespaces.drop(load(), name, confirm=confirm, keep_inputs=keep_inputs)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def test(context: typer.Context) -> None:
    """Run the tests of this checkout; further options go to pytest."""
    home = Path(__file__).parent
    if not (home / "tests").is_dir():
        raise Problem("the tests are part of the repository, not of the installed package")
    import pytest

    os.chdir(home)
    sys.exit(pytest.main(context.args))


def _ready() -> Settings:
    """The settings, once the topics are known to be as they should be."""
    settings = load()
    _require_topics(settings)
    return settings


def _require_topics(settings: Settings) -> None:
    """Log from here on, and refuse to start on topics that are missing or cut differently."""
    from deploy import topics

    _log(settings)
    asyncio.run(topics.require(settings))


def _log(settings: Settings) -> None:
    from console.logs import log_to_stderr

    log_to_stderr(settings.log_level)


if __name__ == "__main__":
    main()
