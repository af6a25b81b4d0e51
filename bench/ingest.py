"""Ingest benchmark: webhooks a second and CPU, with one process, two, and without Kafka."""

import asyncio
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import bluetick
from bench.cpu import cpu_seconds
from bench.environment import Environment
from bench.figures import Report
from bench.polling import until
from cli.problem_sentences import CommandProblem
from cli.simulator import http_client
from deploy.local_kafka.broker import free_port
from service import child_processes
from service.settings import Settings

SECONDS = 10.0
_CONNECTIONS = (1, 16, 64, 256)
_READY_SECONDS = 60
_STOP_SECONDS = 15
_OK = 200
_COMMAND = str(Path(bluetick.__file__).resolve())
_BODY = b'[{"message_id": "%s", "result": "delivered"}]' % (b"x" * 350)


class _Case(NamedTuple):
    name: str
    workers: int = 1
    away: bool = False  # Kafka is down, and the spool is used


_CASES = (_Case("Kafka"), _Case("Kafka, 2 workers", workers=2), _Case("spool", away=True))


async def ingest(environment: Environment, seconds: float = SECONDS) -> list[Report]:
    """Post as fast as answers come, over several connections, from another process."""
    reports = []
    for case in _CASES:
        async with environment.settings() as settings:
            given = settings.model_copy(update={"port": free_port(0)})
            async with _ingest(given, case) as pid:
                for connections in _CONNECTIONS:
                    report = Report("ingest", f"{case.name}, connections: {connections}")
                    await _measure(report, given, pid, connections, seconds)
                    reports.append(report)
    return reports


@asynccontextmanager
async def _ingest(settings: Settings, case: _Case) -> AsyncIterator[int]:
    """Run the real command within the context; yield its process id."""
    settings.data.mkdir(parents=True, exist_ok=True)
    log = settings.data / "ingest.log"
    nowhere = f"127.0.0.1:{free_port(0)}"
    given = {
        "KAFKA": nowhere if case.away else settings.kafka,
        "NAMESPACE": settings.namespace,
        "PARTITIONS": settings.partitions,
        "PORT": settings.port,
        "INGEST_METRICS_PORT": 0,
        "DRAIN": 0,
        "SPOOL": settings.data / "spool",
        "LOG_FORMAT": "console",
    }
    environment = [f"BLUETICK_{name}={value}" for name, value in given.items()]
    command = [sys.executable, _COMMAND, "ingest", "--workers", str(case.workers)]
    running = child_processes.spawn(["/usr/bin/env", *environment, *command], log)

    def ready() -> bool:
        if running.poll() is not None:
            raise CommandProblem("bench_ingest_ended", "ingest ended:\n{log}", log=log.read_text())
        return readiness.done() and readiness.result()

    readiness = asyncio.create_task(_answers(settings.port))
    try:
        await until(ready, _READY_SECONDS)
        yield running.pid
    finally:
        readiness.cancel()
        running.terminate()
        await child_processes.end(running, _STOP_SECONDS)


async def _answers(port: int) -> bool:
    """Wait until the health of ingest reports that it is ready."""
    while True:
        with suppress(*http_client.Broken):
            if (await http_client.get(f"http://127.0.0.1:{port}", "/health/ready")).status == _OK:
                return True
        await asyncio.sleep(0.1)


async def _measure(
    report: Report, settings: Settings, pid: int, connections: int, seconds: float
) -> None:
    before = cpu_seconds(pid)
    sender = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.ingest", str(settings.port), str(connections), str(seconds)),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await sender.communicate()
    count, refused, p50, p99, longest = map(float, output.split())
    used = cpu_seconds(pid) - before
    report.add("webhooks", count / seconds, "/s")
    report.add("answers other than 200", refused)
    report.add("CPU of ingest for each", 1e6 * used / max(1.0, count), "µs")
    report.add("p50", p50, "ms")
    report.add("p99", p99, "ms")
    report.add("longest", longest, "ms", most=2000)


async def _post(port: int, connections: int, seconds: float) -> None:
    """Post for `seconds` and print the figures."""
    took: list[float] = []
    refused = 0
    end = time.perf_counter() + seconds

    async def one() -> None:
        nonlocal refused
        connection = http_client.Connection(http_client.Endpoint.of(f"http://127.0.0.1:{port}"))
        while (began := time.perf_counter()) < end:
            answer = await connection.request("POST", "/webhooks/smsmanager", {}, _BODY)
            took.append(1000 * (time.perf_counter() - began))
            refused += answer.status != _OK
        connection.close()

    await asyncio.gather(*(one() for _ in range(connections)))
    shares = statistics.quantiles(took, n=100)
    sys.stdout.write(f"{len(took)} {refused} {shares[49]} {shares[98]} {max(took)}\n")


if __name__ == "__main__":
    asyncio.run(_post(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
