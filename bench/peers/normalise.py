"""The job `normalise`: Whapi bodies of one status in, observations out, at least once."""

import secrets
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import msgspec

from bench.peers import bluetick_services, outputs
from bench.peers.drain import WARM_UP, Contestant, Input, Place, Prepared, rounds
from bench.peers.kafka import Written
from bench.peers.outputs import Identity
from bench.peers.processes import Program
from bench.peers.results import Run, Subject
from schemas.webhook import RawWebhook, to_headers
from service.settings import Settings
from service.wall_clock import now_ms

PARTITIONS = 4
BODIES = 300_000
BLUETICK, LOOP, FASTSTREAM = "Bluetick, one process", "the obvious aiokafka loop", "FastStream"
_SOURCE = "whapi"
_ACCOUNT = "MANTIS-M72HC"
_BATCH = 50  # ingest changes the partition with each batch
_STATUSES = ("sent", "delivered", "read")
_BODY = (
    '{"statuses":[{"id":"bench-%027d","code":3,"status":"%s",'
    '"recipient_id":"%s@s.whatsapp.net","timestamp":"%d"}],'
    '"event":{"type":"statuses","event":"post"},"channel_id":"MANTIS-M72HC"}'
)
_LOOP = "5,000 bodies a round, linger 5 ms, 256 KiB batches, acks=all, zstd, uvloop"

SUBJECTS = (
    Subject(name=BLUETICK, settings="the defaults"),
    Subject(
        name=LOOP,
        against=BLUETICK,
        settings=f"pydantic, orjson, {_LOOP}; no dead letters, no order by time",
    ),
    Subject(
        name=FASTSTREAM, against=BLUETICK, settings=f"batch=True, publish with no_confirm, {_LOOP}"
    ),
)


class _Seen(msgspec.Struct, frozen=True):
    """What identifies an observation."""

    message_key: str
    status: str
    provider_status: str
    recipient: str
    occurred_at: int
    received_at: int
    raw: dict[str, str | int]


_decode = msgspec.json.Decoder(_Seen).decode


def body(number: int, at_ms: int) -> bytes:
    """Return the body of a number, received at this time, Unix milliseconds."""
    status = _STATUSES[number % len(_STATUSES)]
    return (_BODY % (number, status, _recipient(number), at_ms // 1000)).encode()


def _recipient(number: int) -> str:
    return f"4207{number % 10**8:08d}"


def _partition(number: int) -> int:
    return number // _BATCH % PARTITIONS


def expected(bodies: int, at_ms: int) -> Mapping[Identity, int]:
    """Return the identities of the observations, made from the numbers of the bodies."""
    found: Counter[Identity] = Counter()
    offsets = [0] * PARTITIONS
    for number in range(bodies):
        status = _STATUSES[number % len(_STATUSES)]
        partition = _partition(number)
        key = f"whapi/{_ACCOUNT}/bench-{number:027d}"
        raw = (partition, offsets[partition], 0)
        offsets[partition] += 1
        occurred = at_ms // 1000 * 1000
        found[(key, status, status, _recipient(number), occurred, at_ms, raw)] += 1
    return found


def _identity(value: bytes) -> Identity:
    one = _decode(value)
    raw = one.raw["partition"], one.raw["offset"], one.raw["index"]
    times = one.occurred_at, one.received_at
    return (one.message_key, one.status, one.provider_status, one.recipient, *times, raw)


async def measure(
    place: Place, bodies: int, count: int, peers: Mapping[str, Sequence[str | Path]]
) -> list[Run]:
    """Run the job; `peers` has the commands of those that are built."""
    at_ms = now_ms()
    async with bluetick_services.namespace(place, partitions=PARTITIONS) as source:
        topic = source.topics.raw(_SOURCE)
        place.broker.write(topic, PARTITIONS, _written(bodies, at_ms))
        place.log(f"{bodies:,} bodies written")
        want = expected(bodies, at_ms)
        contestants = [Contestant(BLUETICK, partial(_bluetick, source=source, want=want))]
        contestants += [
            Contestant(name, partial(_peer, topic=topic, want=want, command=command))
            for name, command in peers.items()
        ]
        return await rounds(
            place, Input(topic, bodies, round(WARM_UP * bodies)), contestants, count
        )


def _written(bodies: int, at_ms: int) -> Iterator[Written]:
    for number in range(bodies):
        webhook = RawWebhook(
            id=f"{number}",
            source=_SOURCE,
            provider=_SOURCE,
            body=body(number, at_ms),
            received_at=at_ms,
        )
        yield Written(None, webhook.body, _partition(number), at_ms, to_headers(webhook))


@asynccontextmanager
async def _bluetick(
    place: Place, *, source: Settings, want: Mapping[Identity, int]
) -> AsyncIterator[Prepared]:
    given = {"partitions": source.partitions, "raw_namespace": source.namespace}
    async with bluetick_services.namespace(place, **given) as settings:
        named = settings.topics
        check = partial(_wrong, place, want, named.observations)
        programs = [bluetick_services.service(settings, "normalise")]
        yield Prepared(programs, named.group("normalise"), check)


@asynccontextmanager
async def _peer(
    place: Place, *, topic: str, want: Mapping[Identity, int], command: Sequence[str | Path]
) -> AsyncIterator[Prepared]:
    group = f"peer-{secrets.token_hex(4)}"
    output = f"{group}.observations"
    place.broker.create([output], PARTITIONS)
    given = {"KAFKA": place.broker.address, "GROUP": group, "INPUT": topic, "OUTPUT": output}
    program = Program([str(word) for word in command], given)
    try:
        yield Prepared([program], group, partial(_wrong, place, want, output))
    finally:
        place.broker.delete(group)


def _wrong(place: Place, want: Mapping[Identity, int], topic: str) -> str:
    values = (message.value() for message in place.broker.read(topic))
    found = Counter(_identity(value) for value in values if value is not None)
    different = outputs.difference(want, found)
    return f"observations {different}" if different else ""
