"""Command line of the benchmarks: `python -m bench restore`, `python -m bench all`."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from bench import archiving, console_queries, figures
from bench import body_cost as body_cost_benchmark
from bench import console as console_benchmark
from bench import failover as failover_benchmark
from bench import ingest as ingest_benchmark
from bench import memory as memory_benchmark
from bench import rebuild as rebuild_benchmark
from bench import replay as replay_benchmark
from bench import restore as restore_benchmark
from bench import timers as timers_benchmark
from bench.environment import Environment, environment
from bench.figures import Report
from service.errors import Problem
from service.log_lines import log_to_stderr

app = typer.Typer(
    name="bench",
    help="Benchmarks, on the Kafka in BLUETICK_KAFKA or on a local one.",
    epilog="Figures depend on the machine and its load: compare figures of one run only.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
Job = Literal["track", "normalise", "ingest", "end-to-end"]
Run = Callable[[Environment], Awaitable[list[Report]]]
Json = Annotated[
    Path | None,
    typer.Option(help="Append a JSON line for each figure to this file.", show_default=False),
]
Verbose = Annotated[bool, typer.Option("--verbose", help="Show the tracker's log.")]


@app.command()
def timers(
    count: Annotated[
        int, typer.Option(min=1, help="Number of timers that are due.")
    ] = timers_benchmark.COUNT,
    *,
    json: Json = None,
    verbose: Verbose = False,
) -> None:
    """Fire a million due timers: stalls of the event loop, rate, latency of live traffic."""
    _run(lambda on: timers_benchmark.timers(on, count), json, verbose=verbose)


@app.command()
def restore(
    count: Annotated[
        list[int] | None, typer.Option(min=4, help="Number of states to restore; repeatable.")
    ] = None,
    *,
    json: Json = None,
    verbose: Verbose = False,
) -> None:
    """Restore stores: states/s without a store, seconds with one, effect on other partitions."""
    counts = count or restore_benchmark.COUNTS
    _run(lambda on: restore_benchmark.restore(on, counts), json, verbose=verbose)


@app.command()
def memory(
    count: Annotated[
        list[int] | None, typer.Option(min=1, help="Number of messages to track; repeatable.")
    ] = None,
    *,
    json: Json = None,
    verbose: Verbose = False,
) -> None:
    """Measure memory and disk of a tracker with this number of messages, idle and under load."""
    counts = count or memory_benchmark.COUNTS
    _run(lambda on: memory_benchmark.memory(on, counts), json, verbose=verbose)


@app.command()
def failover(
    session: Annotated[
        float, typer.Option(min=6, help="Session timeout, seconds; the default is 30.")
    ] = failover_benchmark.SESSION,
    trials: Annotated[
        int, typer.Option(min=1, help="Trials of each kind.")
    ] = failover_benchmark.TRIALS,
    *,
    json: Json = None,
    verbose: Verbose = False,
) -> None:
    """Kill a worker: seconds until another one, or the restarted one, has its partitions."""
    _run(lambda on: failover_benchmark.failover(on, session, trials), json, verbose=verbose)


@app.command()
def rebuild(
    count: Annotated[
        int, typer.Option(min=1, help="Number of raw bodies.")
    ] = rebuild_benchmark.COUNT,
    *,
    json: Json = None,
    verbose: Verbose = False,
) -> None:
    """Rebuild a namespace from this number of raw bodies, with the real command."""
    _run(lambda on: rebuild_benchmark.rebuild(on, count), json, verbose=verbose)


@app.command()
def replay(
    count: Annotated[
        int, typer.Option(min=1, help="Number of messages to replay.")
    ] = replay_benchmark.COUNT,
    *,
    json: Json = None,
    verbose: Verbose = False,
) -> None:
    """Plan and run a replay without a limit: observations a second of one process."""
    _run(lambda on: replay_benchmark.replay(on, count), json, verbose=verbose)


@app.command()
def archive(
    count: Annotated[
        int, typer.Option(min=1, help="Number of bodies to archive.")
    ] = archiving.COUNT,
    *,
    json: Json = None,
    verbose: Verbose = False,
) -> None:
    """Archive bodies, verify them, read them back: bodies a second, bytes a body, memory."""
    _run(lambda on: archiving.archive(on, count), json, verbose=verbose)


@app.command()
def console(
    count: Annotated[
        int, typer.Option(min=1000, help="Number of messages.")
    ] = console_benchmark.COUNT,
    *,
    without_kafka: Annotated[
        bool, typer.Option("--without-kafka", help="Write into the tables, and query them.")
    ] = False,
    json: Json = None,
    verbose: Verbose = False,
) -> None:
    """Load the console's read model, search it, and follow live traffic."""
    if without_kafka:
        _show(console_queries.without_kafka(count, _progress()), json)
        return
    _run(lambda on: console_benchmark.console(on, count), json, verbose=verbose)


@app.command()
def ingest(
    seconds: Annotated[
        float, typer.Option(min=1, help="Duration of each load in seconds.")
    ] = ingest_benchmark.SECONDS,
    *,
    json: Json = None,
    verbose: Verbose = False,
) -> None:
    """Post webhooks as fast as they are answered: one process, two, and without Kafka."""
    _run(lambda on: ingest_benchmark.ingest(on, seconds), json, verbose=verbose)


@app.command()
def work(
    times: Annotated[
        int, typer.Option(min=1, help="Runs of each body; the fastest counts.")
    ] = body_cost_benchmark.TIMES,
    *,
    json: Json = None,
) -> None:
    """Normalise ordinary and hostile bodies without Kafka: CPU by body and byte, longest step."""
    _show(body_cost_benchmark.work(times), json)


@app.command()
def peers(
    job: Annotated[
        Job | None, typer.Argument(help="One job; without it all four.", show_default=False)
    ] = None,
    *,
    quick: Annotated[
        bool, typer.Option("--quick", help="Tiny sizes: check the outputs, not the speed.")
    ] = False,
    rounds: Annotated[
        int | None, typer.Option(min=1, help="Rounds; 5, or 1 if quick.", show_default=False)
    ] = None,
    share: Annotated[float, typer.Option(min=0.01, max=1, help="Share of the full sizes.")] = 1.0,
    json: Annotated[
        Path | None,
        typer.Option(
            help="Append each result as a line of JSON to this file. A run that is not quick "
            "also writes bench/results/.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Compare with what a user would take instead: the same job, the same outputs."""
    from bench.peers import command  # noqa: PLC0415 - it needs librdkafka

    count = rounds or (1 if quick else command.ROUNDS)
    size = command.Size(quick, count, command.QUICK if quick else share)
    right = asyncio.run(command.run([job] if job else [*command.JOBS], size, json, _progress()))
    raise typer.Exit(0 if right else 1)


@app.command()
def growth(
    messages: Annotated[
        list[int] | None, typer.Option(min=1, help="Number of tracked messages; repeatable.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds.")] = 1,
    load: Annotated[
        int, typer.Option(min=100, help="Number of messages whose statuses are measured.")
    ] = 50_000,
    *,
    json: Json = None,
) -> None:
    """Measure CPU a record by tracked messages, partitions and processes."""
    from bench import growth as growth_benchmark  # noqa: PLC0415 - it needs librdkafka
    from bench.peers import command  # noqa: PLC0415 - likewise

    wanted = growth_benchmark.cases(messages or growth_benchmark.MESSAGES, load)
    result = asyncio.run(growth_benchmark.growth(wanted, load, rounds, _progress()))
    command.show(result, Console(highlight=False))
    command.write(result, command.RESULTS / "growth.json")
    if json is not None:
        command.append(result, json)


def _progress() -> Callable[[str], None]:
    console = Console(stderr=True, highlight=False)
    log_to_stderr("ERROR")
    return lambda line: console.print(f"· {line}", soft_wrap=True)


@app.command(name="all")
def everything(*, json: Json = None, verbose: Verbose = False) -> None:
    """Run all benchmarks, one after another, with their defaults."""
    _run(_everything, json, verbose=verbose)


async def _everything(on: Environment) -> list[Report]:
    return [
        *await restore_benchmark.restore(on),
        *await timers_benchmark.timers(on),
        *await memory_benchmark.memory(on, memory_benchmark.COUNTS),
        *await failover_benchmark.failover(on),
        *await replay_benchmark.replay(on),
        *await archiving.archive(on),
        *await ingest_benchmark.ingest(on),
        *await rebuild_benchmark.rebuild(on),
        *await console_benchmark.console(on),
        *body_cost_benchmark.work(),
    ]


def _run(measure: Run, json: Path | None, *, verbose: bool) -> None:
    console = Console(stderr=True, highlight=False)
    log_to_stderr("INFO" if verbose else "ERROR")
    _show(asyncio.run(_measured(measure, lambda line: console.print(f"· {line}"))), json)


def _show(reports: list[Report], json: Path | None) -> None:
    measured = [figure for report in reports for figure in report.figures]
    Console(highlight=False).print(figures.table(measured))
    if json is not None:
        figures.append(json, measured)


async def _measured(measure: Run, log: Callable[[str], None]) -> list[Report]:
    async with environment(log) as on:
        return await measure(on)


def main() -> None:
    try:
        app(prog_name="python -m bench")
    except ModuleNotFoundError as error:
        typer.secho(f"bench: {error.name} is missing; run ./bluetick test once", fg="red", err=True)
        raise SystemExit(1) from None
    except Problem as problem:
        typer.secho(f"bench: {problem}", fg="red", err=True)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
