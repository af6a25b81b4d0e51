"""Load on an HTTP server: wrk in a closed loop, vegeta at a fixed arrival rate.

Every body has an id of its own: `<run>-…`. Latencies of vegeta count from the scheduled time.
"""

import asyncio
import csv
from base64 import b64encode
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from cli.problem_sentences import CommandProblem

CONNECTIONS = 64
_SCRIPT = Path(__file__).with_name("webhooks.lua")
_OK = "200"
_BODY = (
    '{"statuses":[{"id":"%s","code":3,"status":"sent",'
    '"recipient_id":"420700000001@s.whatsapp.net","timestamp":"1790000000"}],'
    '"event":{"type":"statuses","event":"post"},"channel_id":"MANTIS-M72HC"}'
)


class Closed(NamedTuple):
    """The result of a closed loop: answers with 200, others, latencies in ms."""

    answered: int
    refused: int
    p50: float
    p99: float
    rate: float


class Hit(NamedTuple):
    """One request of a fixed rate: its answer, and times in seconds since the epoch."""

    ok: bool
    scheduled: float
    answered: float


async def closed(wrk: str, url: str, run: str, seconds: int) -> Closed:
    """Post over 64 connections as fast as answers come."""
    options = ["-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "10s", "-s", str(_SCRIPT)]
    output = await _output([wrk, *options, url, "--", run], seconds + 30)
    requests, broken, refused, p50, p99, took = map(float, output.splitlines()[-1].split())
    answered = round(requests - refused)
    return Closed(answered, round(broken + refused), p50, p99, answered / took)


def body(id_: str) -> bytes:
    """Return the body of an id, as both generators post it."""
    return (_BODY % id_).encode()


def id_of(run: str, number: int) -> str:
    return f"{run}-{number:022d}"


class Pacer(NamedTuple):
    """Posts at fixed rates with vegeta; its files are in a directory that exists."""

    vegeta: Path
    url: str
    directory: Path

    async def post(self, run: str, rate: int, seconds: int) -> list[Hit]:
        """Post whether answers come or not; return the requests in their order."""
        targets, results, table = (
            self.directory / f"{run}.{name}" for name in ("targets", "results", "csv")
        )
        targets.write_bytes(b"".join(_targets(self.url, run, rate * seconds)))
        files = [f"-targets={targets}", f"-output={results}", "-format=json", "-lazy"]
        pace = [f"-rate={rate}", f"-duration={seconds}s", "-timeout=10s"]
        # As many as the closed loop has: a short stall would open thousands otherwise.
        pace += [f"-{name}={CONNECTIONS}" for name in ("connections", "max-connections")]
        await _output([str(self.vegeta), "attack", *files, *pace], seconds + 60)
        encode = ["encode", "-to=csv", f"-output={table}", str(results)]
        await _output([str(self.vegeta), *encode], 60)
        return _hits(list(csv.reader(table.read_text().splitlines())), rate)


def _targets(url: str, run: str, count: int) -> Iterator[bytes]:
    for number in range(count):
        target = {
            "method": "POST",
            "url": url,
            "body": b64encode(body(id_of(run, number))).decode(),
            "header": {"Content-Type": ["application/json"]},
        }
        yield msgspec.json.encode(target) + b"\n"


def _hits(rows: Sequence[Sequence[str]], rate: int) -> list[Hit]:
    """Read vegeta's results; the n-th request is scheduled n/rate seconds after the first."""
    ordered = sorted(rows, key=lambda row: int(row[8]))
    if not ordered:
        return []
    began = int(ordered[0][0]) / 1e9
    return [
        Hit(
            row[1] == _OK,
            began + int(row[8]) / rate,
            (int(row[0]) + int(row[2])) / 1e9,
        )
        for row in ordered
    ]


async def _output(command: Sequence[str], seconds: float) -> str:
    """Run a command and return its output; raise if it fails or takes too long."""
    running = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(running.communicate(), seconds)
    finally:
        if running.returncode is None:
            running.kill()
            await running.wait()
    if running.returncode:
        raise CommandProblem(
            "bench_load_failed",
            "{program} failed:\n{output}",
            program=Path(command[0]).name,
            output=output.decode(errors="replace"),
        )
    return output.decode()
