"""Command line of the benchmarks: `python -m bench restore`, `python -m bench all`."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bench import archiving, figures
from bench import body_cost as working
from bench import failover as failing
from bench import ingest as door
from bench import memory as remembering
from bench import rebuild as rebuilding
from bench import replay as replaying
from bench import restore as restoring
from bench import timers as storming
from bench.environment import Ground, ground
from bench.figures import Report
from service.errors import Problem
from service.log_lines import log_to_stderr

app = typer.Typer(
    name="bench",
    help="Benchmarks, on the Kafka in BLUETICK_KAFKA or one started for them.",
    epilog="Figures are of this machine as busy as it is: compare those of one run.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
Run = Callable[[Ground], Awaitable[list[Report]]]
Json = Annotated[
    Path | None, typer.Option(help="Add a JSON line for each figure.", show_default=False)
]
Verbose = Annotated[bool, typer.Option("--verbose", help="Show the tracker's log as well.")]


@app.command()
def timers(
    count: Annotated[int, typer.Option(min=1, help="Timers due.")] = storming.COUNT,
    *,
    json: Json = None,
    verbose: Verbose = False,
) -> None:
    """Fire a million timers that are due: stalls of the event loop, rate, latency meanwhile."""
    _run(lambda on: storming.timers(on, count), json, verbose=verbose)


@app.command()
def restore(
    count: Annotated[
        list[int] | None, typer.Option(min=4, help="States restored; repeatable.")
    ] = None,
    *,
    json: Json = None,
    verbose: Verbose = False,
) -> None:
    """Restore stores: states a second from nothing, seconds from an intact store, neighbours."""
    counts = count or restoring.COUNTS
    _run(lambda on: restoring.restore(on, counts), json, verbose=verbose)


@app.command()
def memory(
    count: Annotated[
        list[int] | None, typer.Option(min=1, help="Messages tracked; repeatable.")
    ] = None,
    *,
    json: Json = None,
    verbose: Verbose = False,
) -> None:
    """Memory and disk of a tracker's process that tracks so many messages, at rest and at work."""
    counts = count or remembering.COUNTS
    _run(lambda on: remembering.memory(on, counts), json, verbose=verbose)


@app.command()
def failover(
    session: Annotated[
        float, typer.Option(min=6, help="Session timeout, seconds; the default is 30.")
    ] = failing.SESSION,
    trials: Annotated[int, typer.Option(min=1, help="Trials of each kind.")] = failing.TRIALS,
    *,
    json: Json = None,
    verbose: Verbose = False,
) -> None:
    """Kill a worker: seconds until its partitions run elsewhere, or again under its own name."""
    _run(lambda on: failing.failover(on, session, trials), json, verbose=verbose)


@app.command()
def rebuild(
    count: Annotated[int, typer.Option(min=1, help="Raw bodies.")] = rebuilding.COUNT,
    *,
    json: Json = None,
    verbose: Verbose = False,
) -> None:
    """Rebuild a namespace from so many raw bodies, with the real command."""
    _run(lambda on: rebuilding.rebuild(on, count), json, verbose=verbose)


@app.command()
def replay(
    count: Annotated[int, typer.Option(min=1, help="Messages replayed.")] = replaying.COUNT,
    *,
    json: Json = None,
    verbose: Verbose = False,
) -> None:
    """Plan and run a replay without a limit: observations a second of one process."""
    _run(lambda on: replaying.replay(on, count), json, verbose=verbose)


@app.command()
def archive(
    count: Annotated[int, typer.Option(min=1, help="Bodies archived.")] = archiving.COUNT,
    *,
    json: Json = None,
    verbose: Verbose = False,
) -> None:
    """Archive bodies, verify them, read them back: bodies a second, bytes a body, memory."""
    _run(lambda on: archiving.archive(on, count), json, verbose=verbose)


@app.command()
def ingest(
    seconds: Annotated[float, typer.Option(min=1, help="Seconds for each load.")] = door.SECONDS,
    *,
    json: Json = None,
    verbose: Verbose = False,
) -> None:
    """Post webhooks as fast as they are answered: one process, two, and with Kafka away."""
    _run(lambda on: door.door(on, seconds), json, verbose=verbose)


@app.command()
def work(
    times: Annotated[
        int, typer.Option(min=1, help="Each body so often; the least counts.")
    ] = working.TIMES,
    *,
    json: Json = None,
) -> None:
    """Normalise ordinary and hostile bodies: CPU a body and a byte, longest step. No Kafka."""
    _tell(working.work(times), json)


@app.command(name="all")
def everything(*, json: Json = None, verbose: Verbose = False) -> None:
    """Every benchmark, one after the other, as it is by default."""
    _run(_everything, json, verbose=verbose)


async def _everything(on: Ground) -> list[Report]:
    return [
        *await restoring.restore(on),
        *await storming.timers(on),
        *await remembering.memory(on, remembering.COUNTS),
        *await failing.failover(on),
        *await replaying.replay(on),
        *await archiving.archive(on),
        *await door.door(on),
        *await rebuilding.rebuild(on),
        *working.work(),
    ]


def _run(measure: Run, json: Path | None, *, verbose: bool) -> None:
    console = Console(stderr=True, highlight=False)
    log_to_stderr("INFO" if verbose else "ERROR")
    _tell(asyncio.run(_measured(measure, lambda line: console.print(f"· {line}"))), json)


def _tell(reports: list[Report], json: Path | None) -> None:
    measured = [figure for report in reports for figure in report.figures]
    Console(highlight=False).print(figures.table(measured))
    if json is not None:
        figures.append(json, measured)


async def _measured(measure: Run, tell: Callable[[str], None]) -> list[Report]:
    async with ground(tell) as on:
        return await measure(on)


def main() -> None:
    try:
        app(prog_name="python -m bench")
    except Problem as problem:
        typer.secho(f"bench: {problem}", fg="red", err=True)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
