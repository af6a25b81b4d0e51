"""The job `track`: observations in; statuses, events with CloudEvents headers, and states out."""

import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import NamedTuple

import msgspec

from bench.peers import bluetick_services, outputs
from bench.peers.drain import WARM_UP, Contestant, Input, Place, Prepared, rounds
from bench.peers.kafka import Written
from bench.peers.lifecycle import RANK, Json, track
from bench.peers.outputs import Identity
from bench.peers.processes import Program, Value
from bench.peers.results import Run, Subject
from service.settings import Settings
from service.wall_clock import now_ms

PARTITIONS = 4
MESSAGES = 100_000
REPEATED = 0.1
ONE, TWO = "Bluetick, one process", "Bluetick, two processes"
STREAMS, QUIX = "Kafka Streams, two threads", "Quix Streams, one process"
_SEED = 7
_MESSAGE_MS = 60_000  # how long before its receipt the first status of a message happened
_OVERLAP = 200  # the number of messages that are under way at once
_MIX = 1.5  # how far statuses of one message change places
_DEFAULT = "the defaults; the alarms for stalled messages are far away"

SUBJECTS = (
    Subject(name=ONE, settings=_DEFAULT),
    Subject(name=TWO, settings=_DEFAULT),
    Subject(
        name=STREAMS,
        against=TWO,
        settings="exactly_once_v2 (commit every 100 ms), 2 threads, RocksDB with a cache of "
        "128 MB, Jackson trees, 256 KiB batches, zstd, heap of 1 GB",
    ),
    Subject(
        name=QUIX,
        against=ONE,
        settings="exactly-once, a commit each second, RocksDB, orjson, linger 20 ms, zstd",
    ),
)


class Topics(NamedTuple):
    """The topics with a run's outputs."""

    status: str
    event: str
    state: str


class Expected(NamedTuple):
    """The outputs of the job by identity, each with its count."""

    statuses: Mapping[Identity, int]
    events: Mapping[Identity, int]
    states: Mapping[Identity, int]


def observations(messages: int, base_ms: int) -> Iterator[Json]:
    """Yield four statuses a message, a tenth of them twice, out of order; the same every time."""
    random = Random(_SEED)  # noqa: S311 - repeatable on purpose
    overlap = min(_OVERLAP, messages)
    sent: list[tuple[float, int, str]] = []
    for number in range(messages):
        for status, step in RANK.items():
            at = number + overlap * (step + _MIX * random.random())
            sent.append((at, number, status))
            if random.random() < REPEATED:
                sent.append((at + overlap * random.random(), number, status))
    for position, (_, number, status) in enumerate(sorted(sent)):
        yield observation(number, status, position, base_ms)


def observation(number: int, status: str, position: int, base_ms: int) -> Json:
    """Return the observation at a position of the input, received at about `base_ms`."""
    id_ = f"bench-{number:027d}"
    return {
        "kind": "status",
        "message_key": f"whapi/MANTIS-M72HC/{id_}",
        "provider": "whapi",
        "account": "MANTIS-M72HC",
        "channel": "whatsapp",
        "gateway": "whatsapp",
        "received_at": base_ms + position // 1000,
        "raw": {"topic": "bench.raw.whapi", "partition": 3, "offset": position, "index": 0},
        "message_id": id_,
        "recipient": f"4207{number % 10**8:08d}",
        "occurred_at": base_ms - _MESSAGE_MS + 1000 * RANK[status],
        "source": "whapi",
        "status": status,
        "provider_status": status,
        "direction": "outbound",
    }


def expected(messages: int, base_ms: int) -> Expected:
    """Return the outputs that the lifecycle of the peers gives."""
    states: dict[str, Json] = {}
    statuses: Counter[Identity] = Counter()
    events: Counter[Identity] = Counter()
    for one in observations(messages, base_ms):
        tracked = track(states.get(one["message_key"]), one)
        states[one["message_key"]] = tracked.state
        if tracked.status is not None:
            statuses.update(outputs.statuses([msgspec.json.encode(tracked.status)]))
            events.update(outputs.events([msgspec.json.encode(tracked.event)]))
    last = outputs.states((key, msgspec.json.encode(state)) for key, state in states.items())
    return Expected(statuses, events, last)


async def measure(
    place: Place, messages: int, count: int, peers: Mapping[str, Sequence[str | Path]]
) -> list[Run]:
    """Run the job; `peers` has the commands of those that are built."""
    base_ms = now_ms()
    async with bluetick_services.namespace(place, partitions=PARTITIONS) as source:
        given = write(place, source, observations(messages, base_ms))
        want = expected(messages, base_ms)
        contestants = [
            Contestant(ONE, partial(_bluetick, source=source, want=want, processes=1)),
            Contestant(TWO, partial(_bluetick, source=source, want=want, processes=2)),
        ]
        contestants += [
            Contestant(name, partial(_peer, source=source, want=want, command=command))
            for name, command in peers.items()
        ]
        return await rounds(place, given, contestants, count)


def write(place: Place, source: Settings, seen: Iterable[Json]) -> Input:
    """Write observations to the namespace's topic."""
    topic = source.topics.observations
    encode = msgspec.json.encode
    count = place.broker.write(
        topic,
        source.partitions,
        (
            Written(one["message_key"].encode(), encode(one), timestamp=one["received_at"])
            for one in seen
        ),
    )
    place.log(f"{count:,} observations written")
    return Input(topic, count, round(WARM_UP * count))


@asynccontextmanager
async def _bluetick(
    place: Place, *, source: Settings, want: Expected | int, processes: int
) -> AsyncIterator[Prepared]:
    given = {"partitions": source.partitions, "observations_namespace": source.namespace}
    async with bluetick_services.namespace(place, **given) as settings:
        programs = [bluetick_services.service(settings, "track", n) for n in range(processes)]
        named = settings.topics
        topics = Topics(named.statuses, named.events, named.messages)
        check = partial(_wrong, place, want, lambda: topics)
        yield Prepared(programs, named.group("track"), check)


def trackers(name: str, source: Settings, processes: int, facts: int) -> Contestant:
    """Return trackers of which only the number of outputs, that of the facts, is checked."""

    def prepare(place: Place) -> AbstractAsyncContextManager[Prepared]:
        return _bluetick(place, source=source, want=facts, processes=processes)

    return Contestant(name, prepare)


@asynccontextmanager
async def _peer(
    place: Place, *, source: Settings, want: Expected, command: Sequence[str | Path]
) -> AsyncIterator[Prepared]:
    group = f"peer-{secrets.token_hex(4)}"
    status, event = f"{group}.statuses", f"{group}.events"
    place.broker.create([status, event], source.partitions)
    given: dict[str, Value] = {
        "KAFKA": place.broker.address,
        "GROUP": group,
        "INPUT": source.topics.observations,
        "STATUS": status,
        "EVENT": event,
        "DATA": place.directory / group,
        "THREADS": 2,
    }
    try:
        yield Prepared(
            [Program([str(word) for word in command], given)],
            group,
            partial(
                _wrong, place, want, lambda: Topics(status, event, place.broker.changelog(group))
            ),
        )
    finally:
        place.broker.delete(group)


def _wrong(place: Place, want: Expected | int, topics: Callable[[], Topics]) -> str:
    """Compare all outputs of a run with the expected ones."""
    found = topics()
    if isinstance(want, int):
        counts = [sum(1 for _ in place.broker.read(topic)) for topic in found[:2]]
        return "" if counts == [want, want] else f"expected {want:,} of each output: {counts}"
    ids = outputs.Ids()
    read = partial(_values, place, ids)
    named = (
        ("statuses", want.statuses, outputs.statuses(read(found.status))),
        ("events", want.events, outputs.events(read(found.event))),
        ("states", want.states, outputs.states(_records(place, found.state))),
    )
    different = [(name, outputs.difference(wanted, there)) for name, wanted, there in named]
    return "; ".join(f"{name} {one}" for name, one in different if one) or ids.wrong


def _values(place: Place, ids: outputs.Ids, topic: str) -> Iterator[bytes]:
    for message in place.broker.read(topic):
        ids.add(message.headers())
        yield message.value() or b""


def _records(place: Place, topic: str) -> Iterator[tuple[Hashable, bytes]]:
    """Yield the records of a changelog, by the key that its owner gave them."""
    for message in place.broker.read(topic):
        if (value := message.value()) is not None:
            yield message.key(), value
