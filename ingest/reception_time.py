"""When a webhook was received, by Kafka's clock, if it was stamped by another one. Pure.

Ingest stamps by Kafka's clock (decision 21) but where Kafka was silent from the start: then it
stamps by its own, and notes how long the machine had been running. Once Kafka's time is known that
tells when it was.
"""

from typing import NamedTuple

from msgspec.structs import replace

from schemas.webhook import RawWebhook, Uptime

# What two readings of a clock may differ by.
_SAME_MS = 1000


class Reading(NamedTuple):
    """Kafka's time in Unix milliseconds, and how long the machine had been running then."""

    now: int
    uptime: Uptime


def corrected(webhook: RawWebhook, reading: Reading) -> RawWebhook:
    """The webhook with the time of its reception by Kafka's clock, and its own beside it.

    Of one that an earlier start of the machine has stamped, or an earlier version of ingest, only
    this is known: it was not received later than now.
    """
    received, noted = webhook.received_at, webhook.uptime
    if noted is not None and noted.boot and noted.boot == reading.uptime.boot:
        received = reading.now - (reading.uptime.ms - noted.ms)
    received = min(received, reading.now)
    if abs(received - webhook.received_at) < _SAME_MS:
        return webhook if noted is None else replace(webhook, uptime=None)
    return replace(webhook, received_at=received, own_time=webhook.received_at, uptime=None)


def stamp(received_at: int, now: int, refusals: int) -> int:
    """The time a raw record gets after so many refusals by Kafka; `now` is Kafka's time.

    First no later than now; if that is refused as well, it is too old, and it is now.
    """
    return min(received_at, now) if refusals <= 1 else now
