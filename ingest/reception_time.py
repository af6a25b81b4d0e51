"""The reception time of a webhook by Kafka's clock, if ingest used its own clock. Pure.

Ingest uses Kafka's clock (decision 21). If Kafka has not answered since the start, ingest uses its
own clock and records the machine's uptime. Once Kafka's time is known, the reception time follows
from the uptime.
"""

from typing import NamedTuple

from msgspec.structs import replace

from schemas.webhook import RawWebhook, Uptime

# Two readings of a clock may differ by this much.
_SAME_MS = 1000


class Reading(NamedTuple):
    """Kafka's time in Unix milliseconds, and the machine's uptime at that time."""

    now: int
    uptime: Uptime


def corrected(webhook: RawWebhook, reading: Reading) -> RawWebhook:
    """Return the webhook with its reception time by Kafka's clock, and ingest's own in `own_time`.

    If the webhook is from before the machine's last start, or from an earlier version of ingest, it
    is only known that it was not received later than now.
    """
    received, noted = webhook.received_at, webhook.uptime
    if noted is not None and noted.boot and noted.boot == reading.uptime.boot:
        received = reading.now - (reading.uptime.ms - noted.ms)
    received = min(received, reading.now)
    if abs(received - webhook.received_at) < _SAME_MS:
        return webhook if noted is None else replace(webhook, uptime=None)
    return replace(webhook, received_at=received, own_time=webhook.received_at, uptime=None)


def stamp(received_at: int, now: int, refusals: int) -> int:
    """Return the time of a raw record after `refusals` refusals by Kafka; `now` is Kafka's time.

    After the first refusal, it is no later than now. After a second, the time is too old: use now.
    """
    return min(received_at, now) if refusals <= 1 else now
