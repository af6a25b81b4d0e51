"""A negative control of the comparison: altered records, each of which must be reported."""

import secrets
import time

from confluent_kafka import Producer

from schemas.webhook import RawWebhook, to_headers
from tests.broker.reading import Read
from tests.faults.http_load import digest
from tests.faults.http_services import start_services
from tests.faults.trial import Trial

EXPECTED = (
    "statuses: 1 doubled",
    "events: 1 doubled",
    "raw bodies: 1 changed or invented",
    "raw bodies: 1 lost",
    "facts known in advance: 1 doubled",
)

_BODY = b"""[{"message_id": "not-posted", "gateway": "sms", "timestamp": 1700000000,
 "type": "outgoing", "result": "sent"}]"""


async def alter_records(trial: Trial, sabotage: str | None) -> None:
    """Double a status and an event, add a fact, and claim that a body was answered 200."""
    await start_services(trial)
    await trial.published(200)
    if sabotage:
        names = trial.settings.topics
        producer = Producer({"bootstrap.servers": trial.settings.kafka, "log_level": 0})
        for topic in (names.statuses, f"{names.namespace}.events"):
            _repeat(producer, trial.live.records[topic][0])
        _add(producer, names.raw("smsmanager"))
        assert producer.flush(30) == 0
        trial.http_load.answered[digest(secrets.token_bytes())] = time.time()
    trial.did["rounds"] += 1


def _repeat(producer: Producer, record: Read) -> None:
    headers = list[tuple[str, str | bytes | None]](record.headers.items())
    producer.produce(
        record.topic,
        record.value,
        record.key,
        partition=record.partition,
        headers=headers,
    )


def _add(producer: Producer, topic: str) -> None:
    now = round(time.time() * 1000)
    webhook = RawWebhook(
        id="0", source="smsmanager", provider="smsmanager", body=_BODY, received_at=now
    )
    headers = list[tuple[str, str | bytes | None]](to_headers(webhook))
    producer.produce(topic, _BODY, partition=0, headers=headers)
