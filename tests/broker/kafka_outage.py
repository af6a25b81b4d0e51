"""Stop Kafka for minutes under load: every body answered 200 must be on Kafka afterwards.

`python -m tests.broker.kafka_outage --minutes 10 --rate 300` starts a broker and the real `bluetick
ingest`, and sends from another process at fixed times (a late request is measured from its due
time). It stops the broker and restarts it. Then it compares the bodies sent, the answers and the
topic, byte for byte. Exit code 1 if a body is missing or was not sent.
"""

import argparse
import asyncio
import hashlib
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from bench.figures import quantile
from cli.processes import Service, running
from cli.simulator.http_client import Broken, Connection, Endpoint
from deploy import topics
from deploy.local_kafka.broker import LocalKafka, free_port
from ingest.spool import slots
from ingest.spool.database import FILE, look
from service.child_processes import dying_with_parent
from service.settings import Settings
from tests.broker.reading import Read, read

_BEFORE_SECONDS = 5.0
_AFTER_SECONDS = 15.0
_CONNECTIONS = 1000  # enough that no request waits for one: 2 s at 500 a second
_BODY_BYTES = 400
_DRAINED_SECONDS = 300


class Sent(NamedTuple):
    """One request: checksum of its body, due time, status (0: broken), and duration."""

    sum: str
    due: float
    status: int
    seconds: float


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.broker.kafka_outage", description=__doc__
    )
    parser.add_argument("--minutes", type=float, default=10, help="duration of the outage")
    parser.add_argument("--rate", type=float, default=300, help="requests a second")
    parser.add_argument("--pause", action="store_true", help="freeze the broker, not kill it")
    parser.add_argument("--no-spool", action="store_true", help="measure the 503 without a spool")
    parser.add_argument("--client", nargs=3, metavar=("URL", "FILE", "SECONDS"))
    options = parser.parse_args()
    if options.client:
        url, file, seconds = options.client
        return asyncio.run(_send(url, Path(file), float(seconds), options.rate))
    with tempfile.TemporaryDirectory(prefix="bluetick-outage-") as home:
        return asyncio.run(_outage(Path(home), options))


async def _outage(home: Path, options: argparse.Namespace) -> int:
    outage = options.minutes * 60
    async with LocalKafka(home / "kafka", free_port(0)) as kafka:
        settings = Settings(
            kafka=kafka.bootstrap,
            namespace="outage",
            port=free_port(0),
            ingest_metrics_port=free_port(0),
            spool=None if options.no_spool else home / "spool",
        )
        await topics.apply(settings)
        ingest = Service("ingest", settings.port)
        async with running(settings, [ingest], lambda _, line: _say(f"  {line}")):
            file = home / "sent"
            seconds = _BEFORE_SECONDS + outage + _AFTER_SECONDS
            client = await _start_client(ingest.url, file, seconds, options.rate)
            await asyncio.sleep(_BEFORE_SECONDS)
            began = time.time()
            await _interrupt(kafka, outage, pause=options.pause)
            ended = time.time()
            drained = await _drained_at(settings) - ended
            await client.wait()
            await _drained_at(settings)
        sent = list(_read_sent(file))
        _print_figures(sent, began, ended, drained)
        return _compare(sent, await read(kafka.bootstrap, settings.topics.raw("whapi")))


async def _interrupt(kafka: LocalKafka, seconds: float, *, pause: bool) -> None:
    if pause:
        kafka.pause()
        await asyncio.sleep(seconds)
        kafka.resume()
    else:
        kafka.kill()
        await asyncio.sleep(seconds)
        await kafka.start()


async def _drained_at(settings: Settings) -> float:
    async with asyncio.timeout(_DRAINED_SECONDS):
        while settings.spool and any(  # noqa: ASYNC110 (another process drains it)
            look(place / FILE) for place in slots.known(settings.spool)
        ):
            await asyncio.sleep(0.1)
    return time.time()


def _print_figures(sent: list[Sent], began: float, ended: float, drained: float) -> None:
    phases = {
        "before": [one for one in sent if one.due < began],
        "outage": [one for one in sent if began <= one.due < ended],
        "after": [one for one in sent if one.due >= ended],
    }
    _say("\nKafka    sent  answers                         p50      p99     p99.9      max")
    for name, some in phases.items():
        answers = " ".join(f"{code}:{n}" for code, n in sorted(_answers(some).items()))
        times = [one.seconds * 1000 for one in some]
        shown = "  ".join(f"{quantile(times, share):6.1f}" for share in (0.5, 0.99, 0.999, 1.0))
        _say(f"{name:6} {len(some):6}  {answers:28}  {shown}  ms")
    _say(f"drained {drained:.1f} s after Kafka was back")


def _answers(sent: Iterable[Sent]) -> Counter[int]:
    return Counter(one.status for one in sent)


def _compare(sent: list[Sent], there: list[Read]) -> int:
    taken = {one.sum for one in sent if one.status == 200}
    found = Counter(hashlib.sha256(record.value).hexdigest() for record in there)
    ids = {(hashlib.sha256(r.value).hexdigest(), r.headers["ce_id"]) for r in there}
    missing = len(taken - found.keys())
    unknown = len(found.keys() - {one.sum for one in sent})
    _say(
        f"{len(taken)} answered 200, {missing} of them missing on the topic; {unknown} never sent; "
        f"{found.total() - len(found)} repetitions, {len(ids) - len(found)} of them with another "
        f"ce_id; {len(found.keys() - taken)} on the topic without a 200"
    )
    return 1 if not taken or missing or unknown or len(ids) != len(found) else 0


async def _start_client(
    url: str, file: Path, seconds: float, rate: float
) -> asyncio.subprocess.Process:
    command = [sys.executable, "-m", "tests.broker.kafka_outage", "--client", url, str(file)]
    return await asyncio.create_subprocess_exec(
        *dying_with_parent([*command, str(seconds), f"--rate={rate}"])
    )


async def _send(url: str, file: Path, seconds: float, rate: float) -> int:
    """The client: `rate` requests per second, independent of earlier ones."""
    chance = random.Random(1)
    idle = [Connection(Endpoint.of(url)) for _ in range(_CONNECTIONS)]
    free = asyncio.Semaphore(_CONNECTIONS)
    with file.open("w") as output:

        async def one(due: float) -> None:
            body = chance.randbytes(_BODY_BYTES)
            status = 0
            async with free:
                connection = idle.pop()
                with suppress(*Broken):
                    status = (await connection.request("POST", "/webhooks/whapi", {}, body)).status
                idle.append(connection)
            sum_ = hashlib.sha256(body).hexdigest()
            output.write(f"{sum_} {due} {status} {time.time() - due}\n")

        begin = time.time()
        async with asyncio.TaskGroup() as group:
            for number in range(int(seconds * rate)):
                due = begin + number / rate
                if (early := due - time.time()) > 0:
                    await asyncio.sleep(early)
                group.create_task(one(due))
    return 0


def _read_sent(file: Path) -> Iterator[Sent]:
    for line in file.read_text().splitlines():
        sum_, due, status, seconds = line.split()
        yield Sent(sum_, float(due), int(status), float(seconds))


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
