"""Rebuild benchmark: the time to derive a new namespace from raw bodies."""

import asyncio
import resource
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import bluetick
from bench.environment import Environment
from bench.figures import Report
from cli.problem_sentences import CommandProblem
from cli.simulator.requests import Post
from cli.simulator.simulate import duration_ms, simulate
from deploy import consumer_groups, topics
from processors.runtime.consumer_groups import watching
from processors.runtime.record_batches import Outbox
from schemas.webhook import to_headers
from service.kafka import clients
from service.settings import Settings
from service.wall_clock import now_ms

COUNT = 1_000_000
_PARTITIONS = 6
_MOST_SECONDS = 90
_MESSAGES = 10_000  # simulated at a time
_ROUND = 10_000
_COMMAND = str(Path(bluetick.__file__).resolve())
_DAY_MS = 24 * 3_600_000


async def rebuild(environment: Environment, count: int = COUNT) -> list[Report]:
    """Fill the raw topics with `count` bodies of both providers, and rebuild."""
    report = Report("rebuild", f"{count:,} raw bodies, partitions: {_PARTITIONS}")
    async with environment.settings(partitions=_PARTITIONS) as settings:
        await _fill(environment, settings, count)
        into = settings.of(f"{settings.namespace}-b").model_copy(
            update={"raw_namespace": settings.namespace}
        )
        before = _cpu()
        began = time.monotonic()
        try:
            await _run(environment, settings, into.namespace)
            seconds = time.monotonic() - began
            observations = await _observations(into)
        finally:
            await topics.drop(into)
            await consumer_groups.delete(into, into.topics.groups)
        most = _MOST_SECONDS if count == COUNT else None
        report.add("until the present, including start and stop", seconds, "s", most=most)
        report.add("bodies", count / seconds, "/s")
        report.add("observations", observations)
        report.add("observations", observations / seconds, "/s")
        report.add("CPU of normalise, track and the command", _cpu() - before, "s")
    return [report]


async def _run(environment: Environment, settings: Settings, into: str) -> None:
    given = {
        f"BLUETICK_{name.upper()}": str(getattr(settings, name))
        for name in ("kafka", "namespace", "partitions", "data")
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        _COMMAND,
        "rebuild",
        "--into",
        into,
        "--until-present",
        env=given,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    last_line = ""
    while line := (await process.stdout.readline()).decode():
        last_line = line.strip() or last_line
        environment.log(last_line)
    if await process.wait():
        raise CommandProblem(
            "bench_rebuild_failed", "the rebuild failed: {output}", output=last_line
        )


async def _observations(settings: Settings) -> int:
    async with watching(settings) as watch:
        return sum((await watch.ends(settings.topics.inputs("track"))).values())


async def _fill(environment: Environment, settings: Settings, count: int) -> None:
    """Write bodies received one after another, the last of them a day ago."""
    producer = clients.producer(settings)
    await producer.start()
    try:
        posts = enumerate(islice(_posts(count), count))
        while some := list(islice(posts, _ROUND)):
            outbox = Outbox(producer)
            for number, (at, post) in some:
                _add(outbox, settings, number, at, post)
            await outbox.send()
            if some[-1][0] % (10 * _ROUND) == 10 * _ROUND - 1:
                environment.log(f"{some[-1][0] + 1:,} of {count:,} bodies written")
    finally:
        await producer.stop()


def _posts(count: int) -> Iterator[tuple[int, Post]]:
    """Yield simulated posts endlessly, each with its time of receipt, Unix ms."""
    at = now_ms() - _DAY_MS - 2 * count // _MESSAGES * duration_ms(_MESSAGES)
    seed = 0
    while True:
        simulation = simulate(messages=_MESSAGES, base_time_ms=at, seed=seed, duplicates=0.1)
        gap = duration_ms(_MESSAGES) // len(simulation.posts)
        for number, post in enumerate(simulation.posts):
            yield at + number * gap, post
        at += duration_ms(_MESSAGES)
        seed += 1


def _add(outbox: Outbox, settings: Settings, number: int, at: int, post: Post) -> None:
    webhook = post.received(at, f"{number}")
    # Ingest changes the partition with each batch.
    outbox.add(
        settings.topics.raw(post.source),
        number // 50 % settings.partitions,
        key=None,
        value=post.body,
        timestamp=at,
        headers=to_headers(webhook),
    )


def _cpu() -> float:
    """Return the CPU seconds of all child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
