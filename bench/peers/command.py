"""Runs the jobs of `python -m bench peers`: builds the peers, measures, writes the results."""

import os
import platform
import re
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import msgspec
from rich.console import Console

from bench.peers import end_to_end, ingest, normalise, toolchains, track
from bench.peers import results as results_of
from bench.peers.drain import Place
from bench.peers.kafka import Broker
from bench.peers.load import CONNECTIONS
from bench.peers.results import Result, Run, Subject
from bench.peers.toolchains import HERE, AbsentError
from deploy.local_kafka.broker import LocalKafka
from deploy.local_kafka.jars import VERSION as KAFKA

ROUNDS = 5
QUICK = 0.01  # the share of the full sizes
RESULTS = HERE.parent / "results"
Log = Callable[[str], None]
Command = Sequence[str | Path]


class Job(NamedTuple):
    """A job: its name, what it does, the subjects."""

    name: str
    what: str
    subjects: Sequence[Subject]
    command: str


class Measured(NamedTuple):
    """The runs of a job, and the reason for each absent subject."""

    runs: list[Run]
    absent: dict[str, str]


_TRACK = Job(
    "track",
    "four statuses a message, 10 % repeated, out of order; exactly once",
    track.SUBJECTS,
    "python -m bench peers track",
)
_NORMALISE = Job(
    "normalise",
    "Whapi bodies of one status; at least once",
    normalise.SUBJECTS,
    "python -m bench peers normalise",
)
_INGEST = Job(
    "ingest",
    "bodies of 230 bytes by HTTP, answered once Kafka has them; wrk, and vegeta at a rate",
    ingest.SUBJECTS,
    "python -m bench peers ingest",
)
_END_TO_END = Job(
    "end-to-end",
    "from the scheduled post to the event, read by librdkafka at read_committed",
    end_to_end.SUBJECTS,
    "python -m bench peers end-to-end",
)


class Size(msgspec.Struct, frozen=True):
    """How much a command measures."""

    quick: bool
    rounds: int
    share: float = 1.0

    def of(self, full: int, least: int = 1) -> int:
        """Return the share of a full size."""
        return max(least, round(self.share * full))


async def peers(jobs: Sequence[str], size: Size, log: Log) -> AsyncIterator[Result]:
    """Run jobs one after another, each on a new Kafka unless quick; yield the result of each."""
    async with AsyncExitStack() as stack:
        for number, job in enumerate(jobs):
            log(f"{job}: begins")
            if not (size.quick and number):
                await stack.aclose()
                place = await stack.enter_async_context(kafka(log))
            result = await JOBS[job](place, size)
            command = " ".join([result.command, *_options(size)])
            yield msgspec.structs.replace(result, command=command)


async def run(jobs: Sequence[str], size: Size, file: Path | None, log: Log) -> bool:
    """Run jobs, show and write each result; return whether all outputs were the expected ones.

    A full run writes bench/results; `file` receives every result, as a line of JSON.
    """
    right = True
    async for result in peers(jobs, size, log):
        show(result, Console(highlight=False))
        right &= not results_of.disqualified(result)
        if not size.quick:
            write(result, RESULTS / f"peers-{result.job}.json")
        if file is not None:
            append(result, file)
    return right


def write(result: Result, file: Path) -> None:
    """Write the result of a full run."""
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")


def append(result: Result, file: Path) -> None:
    """Append a result to a file, as a line of JSON."""
    with file.open("ab") as output:
        output.write(msgspec.json.encode(result) + b"\n")


def show(result: Result, console: Console) -> None:
    """Print the table of a result and its notes."""
    console.print(results_of.table(result))
    for note in results_of.notes(result):
        console.print(f"  {note}", soft_wrap=True)


@asynccontextmanager
async def kafka(log: Log) -> AsyncIterator[Place]:
    with tempfile.TemporaryDirectory(prefix="bluetick-bench-") as name:
        directory = Path(name)
        async with LocalKafka(directory / "kafka", progress=log) as local:
            yield Place(Broker(local.bootstrap), local.pid, directory, log)


async def _track(place: Place, size: Size) -> Result:
    messages = size.of(track.MESSAGES)
    commands, absent = await _built(
        place.log, {track.STREAMS: _streams, track.QUIX: _python("bench.peers.quix_streams")}
    )
    runs = await track.measure(place, messages, size.rounds, commands)
    sizes = {"messages": messages, "partitions": track.PARTITIONS}
    versions = _locked("quixstreams", "confluent-kafka") | {"Kafka Streams": KAFKA}
    return result_of(_TRACK, size, sizes, versions, Measured(runs, absent))


async def _normalise(place: Place, size: Size) -> Result:
    bodies = size.of(normalise.BODIES)
    commands, absent = await _built(
        place.log,
        {
            normalise.LOOP: _python("bench.peers.obvious_loop"),
            normalise.FASTSTREAM: _python("bench.peers.fast_stream"),
        },
    )
    runs = await normalise.measure(place, bodies, size.rounds, commands)
    sizes = {"bodies": bodies, "partitions": normalise.PARTITIONS}
    versions = _locked("aiokafka", "faststream", "pydantic", "orjson")
    return result_of(_NORMALISE, size, sizes, versions, Measured(runs, absent))


async def _ingest(place: Place, size: Size) -> Result:
    seconds = size.of(ingest.SECONDS)
    commands, absent = await _built(place.log, {ingest.APP: _starlette, ingest.GO: _go})
    try:
        wrk = toolchains.wrk()
    except AbsentError as error:
        absent |= {one.name: f"no load: {error}" for one in ingest.SUBJECTS}
        runs = []
    else:
        tools = ingest.Tools(wrk, await _vegeta(place.log, absent))
        runs = await ingest.measure(place, seconds, size.rounds, tools, commands)
    sizes = {"seconds of each load": seconds, "connections": CONNECTIONS}
    versions = _locked("starlette", "uvicorn", "aiokafka") | _go_versions()
    return result_of(_INGEST, size, sizes, versions, Measured(runs, absent))


async def _end_to_end(place: Place, size: Size) -> Result:
    absent: dict[str, str] = {}
    vegeta = await _vegeta(place.log, absent)
    rates = end_to_end.QUICK_RATES if size.quick else end_to_end.RATES
    seconds = size.of(end_to_end.SECONDS, least=2)
    runs = []
    if vegeta is not None:
        runs = await end_to_end.measure(
            place, end_to_end.Rates(rates, seconds), size.rounds, vegeta
        )
    else:
        absent |= {one.name: "no load: vegeta is absent" for one in end_to_end.SUBJECTS}
    sizes = {"seconds of each rate": seconds, "partitions": end_to_end.PARTITIONS}
    return result_of(_END_TO_END, size, sizes, _go_versions(), Measured(runs, absent))


JOBS: Mapping[str, Callable[[Place, Size], Awaitable[Result]]] = {
    "track": _track,
    "normalise": _normalise,
    "ingest": _ingest,
    "end-to-end": _end_to_end,
}


async def _streams(log: Log) -> Command:
    built = await toolchains.kafka_streams(log)
    java = ["java", "-Xms1g", "-Xmx1g", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
    return [*java, "-cp", f"{built}/target/classes:{built}/lib/*", _MAIN]


_MAIN = "bench.peers.Main"


def _python(module: str) -> Callable[[Log], Awaitable[Command]]:
    async def command(log: Log) -> Command:
        return [await toolchains.python(log), "-m", module]

    return command


async def _starlette(log: Log) -> Command:
    uvicorn = ["-m", "uvicorn", "bench.peers.starlette_app:app", "--port", ingest.PORT]
    options = ["--loop", "uvloop", "--http", "httptools", "--no-access-log"]
    return [await toolchains.python(log), *uvicorn, *options]


async def _go(log: Log) -> Command:
    return [await toolchains.go(log) / "ingest"]


async def _vegeta(log: Log, absent: dict[str, str]) -> Path | None:
    try:
        return await toolchains.go(log) / "vegeta"
    except AbsentError as error:
        absent["load at a fixed rate (vegeta)"] = str(error)
        return None


def _go_versions() -> dict[str, str]:
    """Return the versions of the Go modules that are named in go.mod."""
    text = (HERE / "go/go.mod").read_text()
    names = {"franz-go": "twmb/franz-go ", "vegeta": "tsenart/vegeta/v12 "}
    return {
        name: text.partition(f"github.com/{path}")[2].split()[0] for name, path in names.items()
    }


async def _built(
    log: Log, wanted: Mapping[str, Callable[[Log], Awaitable[Command]]]
) -> tuple[dict[str, Command], dict[str, str]]:
    """Build peers; return their commands, and why others are absent."""
    commands, absent = {}, {}
    for name, build in wanted.items():
        try:
            commands[name] = await build(log)
        except AbsentError as error:
            absent[name] = str(error)
            log(f"{name} is absent: {error}")
    return commands, absent


def _locked(*names: str) -> dict[str, str]:
    """Return the versions of packages in the peers' environment."""
    lock = (HERE / "requirements.txt").read_text()
    found = dict(re.findall(r"^([a-z0-9-]+)==([^ ]+) ", lock, re.MULTILINE))
    return {name: found[name] for name in names}


def result_of(
    job: Job, size: Size, sizes: dict[str, int], versions: dict[str, str], measured: Measured
) -> Result:
    python = {"Python": platform.python_version(), "Kafka": KAFKA, "uvloop": version("uvloop")}
    return Result(
        job=job.name,
        what=job.what,
        command=job.command,
        machine=f"{os.cpu_count()} cores, {platform.machine()}; broker and subjects share them",
        sizes=sizes,
        rounds=size.rounds,
        versions=python | versions,
        subjects=[one for one in job.subjects if one.name not in measured.absent],
        runs=measured.runs,
        absent=measured.absent,
        quick=size.quick,
    )


def _options(size: Size) -> Iterator[str]:
    """Yield the options that give this size."""
    if size.quick:
        yield "--quick"
    elif size.share != 1:
        yield f"--share {size.share:g}"
    if size.rounds != (1 if size.quick else ROUNDS):
        yield f"--rounds {size.rounds}"
