"""Scenarios in which one authenticated sender posts expensive bodies during honest traffic.

Only the honest traffic is compared: each of its facts is published once and in time, and no process
ends or grows. Other tests cover the processing of the hostile bodies.
"""

import asyncio
import resource
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from urllib.parse import urlsplit

from cli.simulator import http_client
from cli.simulator.http_client import Broken, Connection, Endpoint
from cli.simulator.requests import Post
from deploy.local_kafka.broker import HOST, free_port
from providers.whapi.simulator import CHANNELS
from tests.faults import hostile_bodies
from tests.faults.hostile_bodies import CHANNEL, SMSMANAGER, WHAPI, foreign
from tests.faults.http_services import in_time, ingest
from tests.faults.known_facts import arrivals, compare_facts, compare_raw, unseen
from tests.faults.memory import memory_recorded
from tests.faults.report import HonestTraffic
from tests.faults.scenario import Act, scenario
from tests.faults.trial import NeverError, Trial
from tests.faults.workers import Worker

_RATE = 40.0
_SENDERS = 4
_BEFORE_SECONDS = 5.0
_AFTER_SECONDS = 10.0
_SEEN_SECONDS = 60.0  # the longest until every honest fact is seen
_OK = 200

# So few that silent connections can use them all.
_OPEN_FILES = 400
_SILENT = 500
_SILENT_SECONDS = 15

P99_SECONDS = 2.0
RSS_MB = 400


def _hostile(name: str, counted: str = "hostile bodies") -> Callable[[Act], Act]:
    """Register a scenario of hostile senders, with the default timeouts."""
    return scenario(
        f"hostile-{name}",
        {counted: 1},
        long=True,
        uncompared=True,
        posts=_RATE,
        unread=hostile_bodies.MARK,
        group="hostile",
        session_timeout=30,
        timer_grace=60,
    )


async def _during_honest_traffic(trial: Trial, *, kind: str) -> None:
    await _start_services(trial)
    async with memory_recorded(trial):
        began = time.time()
        await trial.elapse(_BEFORE_SECONDS)
        posts = list(hostile_bodies.KINDS[kind](trial.random))
        await _post(trial, posts)
        await trial.elapse(_AFTER_SECONDS)
        await _compare(trial, began)


for _kind, _make in hostile_bodies.KINDS.items():
    _act = partial(_during_honest_traffic, kind=_kind)
    _act.__doc__ = _make.__doc__
    _act.__module__ = __name__
    _hostile(_kind)(_act)


@_hostile("accounts", "foreign reports")
async def accounts(trial: Trial) -> None:
    """Report failures of messages that belong to another source's accounts."""
    honest = [channel.id for channel in CHANNELS]
    await _start_services(
        trial, whapi=honest, hostile_smsmanager=["hostile"], hostile_whapi=[CHANNEL]
    )
    async with memory_recorded(trial):
        began = time.time()
        await trial.elapse(_BEFORE_SECONDS)
        posts = list(foreign(sorted(trial.http_load.keys)))
        await _post(trial, posts)
        trial.did["foreign reports"] += len(posts)
        await trial.elapse(_AFTER_SECONDS)
        await _compare(trial, began)


@_hostile("metrics", "silent connections")
async def metrics(trial: Trial) -> None:
    """Open more silent connections to health and metrics than a process may have files."""
    port = free_port(0)
    await _start_services(trial, open_files=_OPEN_FILES, metrics_port=port)
    trial.http_load.fresh = True
    ports = [port, *(_port(one) for one in _processors(trial))]
    async with memory_recorded(trial):
        began = time.time()
        await trial.elapse(_BEFORE_SECONDS)
        refused = len(trial.http_load.broken)
        with _silent(ports) as connected:
            trial.did["silent connections"] += connected
            await trial.elapse(_SILENT_SECONDS)
            trial.failures += [f for one in _processors(trial) for f in await _not_live(one)]
            refused = len(trial.http_load.broken) - refused
        if refused:
            trial.failures.append(f"ingest: {refused} honest requests were not answered")
        await _compare(trial, began)


async def _start_services(
    trial: Trial,
    *,
    open_files: int | None = None,
    metrics_port: int = 0,
    **accounts: list[str],
) -> None:
    """Start an ingest with sources for hostile senders, two normalisers and two trackers."""
    file = trial.home / "sources.toml"
    file.write_text("\n".join(_sources(accounts)))
    await ingest(trial, sources=file, open_files=open_files, ingest_metrics_port=metrics_port)
    for service in ("normalise", "normalise", "track", "track"):
        await trial.start(service, ready=False, open_files=open_files)
    await trial.shared("normalise")
    await trial.shared("track")
    await in_time(trial)


def _sources(accounts: dict[str, list[str]]) -> Iterator[str]:
    """Yield the lines of the sources file: honest sources named by provider, and hostile ones."""
    for name in ("smsmanager", "whapi", SMSMANAGER, WHAPI):
        provider = name.removeprefix(f"{hostile_bodies.MARK}-")
        yield f'[sources.{name}]\nprovider = "{provider}"\nauth = "none"'
        if named := accounts.get(name.replace("-", "_")):
            yield f"accounts = {named}"


async def _post(trial: Trial, posts: Iterable[Post]) -> None:
    """Post each body once, a few at the same time; an answer of 5xx is an error."""
    waiting = iter(posts)

    async def send() -> None:
        connection = Connection(Endpoint.of(trial.running("ingest")[0].url))
        for post in waiting:
            path = f"/webhooks/{post.source}"
            answer = await connection.request("POST", path, post.headers, post.body)
            assert answer.status < 500, f"a hostile body is answered {answer.status}"
            trial.did["hostile bodies"] += 1
        connection.close()

    await asyncio.gather(*(send() for _ in range(_SENDERS)))


async def _compare(trial: Trial, began: float) -> None:
    """Stop the honest traffic, wait until its facts are seen, and note all errors.

    `began`: only delays of webhooks answered later than this (Unix seconds) count.
    """
    trial.load.stop()
    await trial.loaded()
    topic = trial.settings.topics.statuses
    truths, posting = trial.http_load.truths, trial.http_load
    expected = sum(truth.facts for truth in truths)

    async def seen() -> bool:
        return not unseen(list(trial.live.records[topic]), truths)

    try:
        await trial.until(seen, "all honest statuses", _SEEN_SECONDS)
    except NeverError:
        trial.failures.append(f"not all honest statuses are seen within {_SEEN_SECONDS:.0f} s")
    records = list(trial.live.records[topic])
    raw = await trial.raw()
    trial.failures += compare_raw(raw, None, posting.answered)
    trial.failures += compare_facts(records, truths)
    trial.failures += [one.trouble for one in trial.workers if one.trouble]
    times = trial.live.seen[topic][: len(records)]
    found = arrivals(records, times, raw, posting.answered)
    delays = [one.delay for one in found if one.answered >= began]
    _note(trial, delays, expected, len(unseen(records, truths)))


def _note(trial: Trial, delays: list[float], expected: int, lost: int) -> None:
    """Note the figures; with `limits` those over their limit are failures."""
    late = sorted([*delays, *[float("inf")] * lost])
    p99 = late[int(0.99 * (len(late) - 1))] if late else 0.0
    ended = [one.name for one in trial.workers if not one.running]
    trial.honest_traffic = HonestTraffic(expected, lost, p99, ended, trial.resident_mb)
    if trial.limits and p99 > P99_SECONDS:
        trial.failures.append(f"p99 from 200 to status is {p99:.1f} s, over {P99_SECONDS:.0f} s")
    trial.failures += [
        f"{name} grows to {size} MB, over {RSS_MB} MB"
        for name, size in trial.resident_mb.items()
        if trial.limits and size > RSS_MB
    ]


def _processors(trial: Trial) -> list[Worker]:
    return [*trial.running("normalise"), *trial.running("track")]


def _port(worker: Worker) -> int:
    return urlsplit(worker.url).port or 0


@contextmanager
def _silent(ports: list[int]) -> Iterator[int]:
    """Hold silent connections open within the context; yield their number."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    held: list[socket.socket] = []
    try:
        for _ in range(_SILENT):
            for port in ports:
                held.append(one := socket.socket())
                one.settimeout(0)
                one.connect_ex((HOST, port))
        yield len(held)
    finally:
        for one in held:
            one.close()


async def _not_live(worker: Worker) -> list[str]:
    """Return an error unless /health/live answers 200 three times in a row."""
    for _ in range(3):
        try:
            async with asyncio.timeout(3):
                answer = await http_client.get(worker.url, "/health/live")
        except Broken as error:
            return [f"{worker.name}: /health/live does not answer ({type(error).__name__})"]
        if answer.status != _OK:
            return [f"{worker.name}: /health/live answers {answer.status}"]
    return []
