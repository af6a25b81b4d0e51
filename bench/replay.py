"""Replay benchmark: observations a second that one process plans and publishes, unlimited."""

import asyncio
import sys
import time
from itertools import islice
from pathlib import Path

from aiokafka import TopicPartition

import bluetick
from bench.environment import Environment
from bench.figures import Report, quantile
from bench.live_traffic import flowing, live
from bench.worker import worker
from cli.problem_sentences import CommandProblem
from cli.simulator.simulate import simulate
from processors.normalising.webhook_to_observations import normalise
from processors.replay import plan as planning
from processors.replay import run
from processors.replay.progress import Replay, Spec
from processors.replay.run import Limits
from processors.runtime.offset_ranges import Window
from processors.runtime.record_batches import Outbox
from processors.tracking.next_state import track
from schemas.codec import encode
from schemas.coordinates import Coordinates
from schemas.records import MessageState, record_keys
from schemas.topics import partition_of
from schemas.webhook import RawWebhook, to_headers
from service.garbage_collection import stop_collecting
from service.kafka import clients
from service.settings import Settings
from service.wall_clock import now_ms

COUNT = 100_000
_LEAST_RATE = 40_000
_CONCURRENT = 8_000  # messages: some ten seconds at the usual rate
_LIVE_RATE = 200
_WARM_SECONDS = 5
_ALONE_SECONDS = 10
_READY_SECONDS = 60
_MOST_SLOWDOWN = 2
_COMMAND = str(Path(bluetick.__file__).resolve())
_ROUND = 5_000


async def replay(environment: Environment, count: int = COUNT) -> list[Report]:
    """Plan and run a replay of `count` messages whose facts are all known."""
    report = Report("replay", f"{count:,} messages")
    async with environment.settings(partitions=4) as settings:
        environment.log("writing bodies and states")
        states = await _fill(settings, count)
        spec, _ = await planning.resolve(
            settings, settings.topics.raw_topics, Window(), {}, only=None
        )
        stop_collecting()
        busy = time.process_time()
        plan = await planning.plan(settings, spec, 0, lambda *_: None)
        observations = plan.counts.observations
        planned = observations / plan.seconds
        _busy(report, "plan", busy, observations)
        report.add("bodies", plan.counts.bodies)
        report.add("observations", observations)
        report.add("states", states)
        report.add("known facts", sum(facts["known"] for facts in plan.facts.values()))
        report.add("plan", planned, "observations/s", least=_LEAST_RATE)
        busy = time.process_time()
        ran = observations / await _run(settings, spec)
        _busy(report, "run", busy, observations)
        report.add("run", ran, "observations/s", least=_LEAST_RATE)
        report.add("plan / run", planned / ran)
    return [report, await _concurrent(environment)]


async def _concurrent(environment: Environment) -> Report:
    """Measure live traffic alone, then during a replay of new facts at the default rate."""
    report = Report("replay", "live traffic during it")
    async with environment.settings(partitions=4) as settings:
        await _fill(settings, _CONCURRENT, tracked=False)
        async with worker(settings) as one, live(settings) as traffic:
            await one.ready(_READY_SECONDS)
            # A tracker's first seconds are slow, and would hide the slowdown.
            async with flowing(traffic, _LIVE_RATE, range(4)):
                await asyncio.sleep(_WARM_SECONDS)
            traffic.measured()
            async with flowing(traffic, _LIVE_RATE, range(4)):
                await asyncio.sleep(_ALONE_SECONDS)
            alone = traffic.measured()
            report.spread("alone", alone)
            async with flowing(traffic, _LIVE_RATE, range(4)):
                seconds = await _command(settings)
            during = traffic.measured()
            report.add("the replay took", seconds, "s")
            report.spread("during", during)
            ratio = quantile(during, 0.99) / quantile(alone, 0.99)
            report.add("p99 during / alone", ratio, most=_MOST_SLOWDOWN)
    return report


async def _command(settings: Settings) -> float:
    """Replay everything with the real command; return the seconds."""
    given = {
        f"BLUETICK_{name.upper()}": str(getattr(settings, name))
        for name in ("kafka", "namespace", "partitions")
    }
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, _COMMAND, "replay", "run", "--from", "oldest", "--yes"),
        env=given,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    if process.returncode:
        raise CommandProblem(
            "bench_replay_failed", "the replay failed: {output}", output=output.decode()
        )
    return time.monotonic() - began


def _busy(report: Report, name: str, since: float, observations: int) -> None:
    """Add the CPU time of this process by observation."""
    spent = time.process_time() - since
    report.add(f"{name}: processor", 1e6 * spent / observations, "µs an observation")


async def _run(settings: Settings, spec: Spec) -> float:
    """Run the replay; return the seconds."""
    one = Replay("bench", now_ms(), spec, {})
    began = time.monotonic()
    await run.run(settings, one, Limits(0, 0), lambda _: None, asyncio.Event())
    return time.monotonic() - began


async def _fill(settings: Settings, count: int, *, tracked: bool = True) -> int:
    """Write bodies and their states, as if all had been processed; return the number of states.

    Without `tracked` the states are missing: a replay finds only new facts.
    """
    now = now_ms()
    posts = iter(simulate(messages=count, base_time_ms=now, seed=1).posts)
    producer = clients.producer(settings)
    await producer.start()
    states: dict[str, MessageState] = {}
    offsets: dict[TopicPartition, int] = {}
    try:
        while some := list(islice(posts, _ROUND)):
            outbox = Outbox(producer)
            for number, post in enumerate(some):
                webhook = post.received(now, f"{number}")
                partition = TopicPartition(settings.topics.raw(webhook.provider), number % 4)
                outbox.add(
                    *partition,
                    key=None,
                    value=webhook.body,
                    timestamp=now,
                    headers=to_headers(webhook),
                )
                offset = offsets.get(partition, 0)
                offsets[partition] = offset + 1
                _track(states, webhook, Coordinates(*partition, offset))
            await outbox.send()
        if tracked:
            await _write_states(settings, Outbox(producer), states, now)
    finally:
        await producer.stop()
    await _commit(settings, offsets)
    return len(states)


def _track(states: dict[str, MessageState], webhook: RawWebhook, at: Coordinates) -> None:
    for observation in normalise(webhook, at).observations:
        for key in record_keys(observation):
            states[key] = track(states.get(key), key, observation).state


async def _write_states(
    settings: Settings, outbox: Outbox, states: dict[str, MessageState], now: int
) -> None:
    for key, state in states.items():
        partition = partition_of(key, settings.partitions)
        value = encode(state)
        outbox.add(
            settings.topics.messages, partition, key=key.encode(), value=value, timestamp=now
        )
    await outbox.send()


async def _commit(settings: Settings, offsets: dict[TopicPartition, int]) -> None:
    """Commit the end of the raw topics for the normaliser's group."""
    consumer = clients.consumer(settings, settings.topics.group("normalise"))
    await clients.join(settings, consumer)
    consumer.assign(list(offsets))
    await consumer.commit(offsets)
    await clients.leave(consumer)
