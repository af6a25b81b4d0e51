"""Traffic written to Kafka: simulated webhooks at a steady rate, and messages that stall.

Raw records are written as ingest writes them, each body on a random partition; everything is drawn
from a seed. Timers depend on the log alone: a message either never stalls, or its last report is so
old that `stalled` comes before its next report.
"""

import asyncio
import contextlib
import heapq
import json
import time
from collections.abc import Iterator
from itertools import count
from random import Random

from confluent_kafka import Producer

from cli.simulator.simulate import simulate
from schemas.webhook import RawWebhook, to_headers
from service.settings import Settings

_TICK_SECONDS = 0.05
_MESSAGES = 1500  # simulated at once; their bodies are shuffled among each other
_DUPLICATES = 0.15
_MALFORMED = 0.03
_SLOW_PER_TICK = 0.15  # messages that will be reported as stalled
_AFTER_SECONDS = 15.0
_HOUR = 3600 * 1000
_LONG_AGO = 46 * 24 * _HOUR


class KafkaLoad:
    """Writes bodies to the raw topics; `sent` counts the acknowledged ones."""

    def __init__(self, settings: Settings, random: Random, rate: float) -> None:
        self._settings = settings
        self._random = random
        self._rate = rate
        self._serial = count()
        self._later: list[tuple[float, int, RawWebhook]] = []
        self._posts = self._simulated()
        self._stop = asyncio.Event()
        self._producer = Producer(
            {
                "bootstrap.servers": settings.kafka,
                "enable.idempotence": True,
                "linger.ms": 5,
                "log_level": 0,
                # The load waits for a broker that is down: it is not under test.
                "message.timeout.ms": 0,
                "reconnect.backoff.max.ms": 500,
            }
        )
        self.sent = 0

    async def run(self) -> None:
        """Write until stopped; then write the remaining reports on slow messages."""
        owed = 0.0
        last = time.monotonic()
        while not self._stop.is_set():
            now = time.monotonic()
            owed += (now - last) * self._rate
            last = now
            while owed >= 1:
                owed -= 1
                self._write(next(self._posts))
            if self._random.random() < _SLOW_PER_TICK:
                self._slow(now)
            while self._later and self._later[0][0] <= now:
                self._write(heapq.heappop(self._later)[2])
            self._producer.poll(0)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TICK_SECONDS):
                    await self._stop.wait()
        for *_, webhook in self._later:
            self._write(webhook)
        await self._flush()

    def stop(self) -> None:
        self._stop.set()

    async def aged(self, number: int) -> None:
        """Write messages whose last report is older than their time to live.

        One body each: a second one might come before or after the first has expired.
        """
        for _ in range(number):
            word = self._random.choice(("sent", "delivered", "undelivered"))
            self._write(self._report(self._name(), word, _now() - _LONG_AGO))
        await self._flush()

    def _simulated(self) -> Iterator[RawWebhook]:
        while True:
            simulation = simulate(
                messages=_MESSAGES,
                base_time_ms=_now(),
                seed=self._random.getrandbits(32),
                duplicates=_DUPLICATES,
                shuffle=True,
                malformed=_MALFORMED,
            )
            for post in simulation.posts:
                yield post.received(_now(), f"{next(self._serial)}")

    def _slow(self, now: float) -> None:
        """Write a message with a report of an hour ago, and perhaps a later report in a while."""
        name = self._name()
        self._write(self._report(name, "sending", _now() - _HOUR))
        word = self._random.choice(("delivered", "sent", "undelivered", None))
        if word:
            at = now + self._random.uniform(0, _AFTER_SECONDS)
            webhook = self._report(name, word, _now())
            heapq.heappush(self._later, (at, next(self._serial), webhook))

    def _name(self) -> str:
        return f"slow-{self._random.getrandbits(64):016x}"

    def _report(self, name: str, word: str, at: int) -> RawWebhook:
        """Return a report by SmsManager; it is received at the time it reports."""
        item = {
            "message_id": name,
            "gateway": "sms",
            "timestamp": at // 1000,
            "type": "outgoing",
            "to": {"phone_number": "447700900123"},
            "result": word,
        }
        return RawWebhook(
            id=f"{next(self._serial)}",
            source="smsmanager",
            provider="smsmanager",
            body=json.dumps([item]).encode(),
            received_at=at,
        )

    def _write(self, webhook: RawWebhook) -> None:
        self._producer.produce(
            self._settings.topics.raw(webhook.provider),
            webhook.body,
            partition=self._random.randrange(self._settings.partitions),
            headers=list[tuple[str, str | bytes | None]](to_headers(webhook)),
            on_delivery=self._delivered,
        )

    def _delivered(self, error: object, _: object) -> None:
        if error is None:
            self.sent += 1

    async def _flush(self) -> None:
        while await asyncio.to_thread(self._producer.flush, 1):
            pass


def _now() -> int:
    return round(time.time() * 1000)
