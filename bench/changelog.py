"""Fills `messages` with states, as a tracker would have written them."""

import time
from collections.abc import Iterator
from itertools import islice

from bench.environment import Log
from bench.states import State, Template, states
from processors.runtime.exactly_once.changelog_headers import NEXT_TIMER
from processors.runtime.record_batches import Outbox
from service.kafka import clients
from service.settings import Settings
from service.wall_clock import now_ms

_ROUND = 20_000
_LOG_SECONDS = 5


async def fill(
    settings: Settings, templates: list[Template], counts: dict[int, int], log: Log
) -> float:
    """Write `counts` states by partition; return the mean size of a state."""
    producer = clients.producer(settings)
    await producer.start()
    began = logged = time.monotonic()
    written = size = 0
    try:
        for partition, states_ in _rounds(templates, counts):
            outbox = Outbox(producer)
            _add(outbox, settings.topics.messages, partition, states_)
            await outbox.send()
            written += len(states_)
            size += sum(len(state.value) for state in states_)
            if time.monotonic() - logged > _LOG_SECONDS:
                logged = time.monotonic()
                log(f"{written:,} of {sum(counts.values()):,} states written")
    finally:
        await producer.stop()
    mean = size / max(1, written)
    rate = written / (time.monotonic() - began)
    log(f"{written:,} states of {mean:.0f} bytes written, {rate:,.0f}/s")
    return mean


def _rounds(templates: list[Template], counts: dict[int, int]) -> Iterator[tuple[int, list[State]]]:
    for partition, count in counts.items():
        endless = states(templates, seed=partition)
        for begin in range(0, count, _ROUND):
            yield partition, list(islice(endless, min(_ROUND, count - begin)))


def _add(outbox: Outbox, topic: str, partition: int, states_: list[State]) -> None:
    now = now_ms()
    for key, value, due in states_:
        headers = [(NEXT_TIMER, b"%d" % due)]
        outbox.add(topic, partition, key=key, value=value, timestamp=now, headers=headers)
