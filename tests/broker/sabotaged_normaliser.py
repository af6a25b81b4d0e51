"""A normaliser that may drop or double an observation: the negative control of the benchmarks."""

import sys
from os import environ
from typing import Any

import msgspec
from confluent_kafka import Consumer, Producer, TopicPartition

from bench.peers.whapi_model import Body, observations

_SABOTAGED = 7  # the number of the record
_COPIES = {"drop": 0, "double": 2, "nothing": 1}


def main(sabotage: str) -> None:
    kafka: dict[str, Any] = {"bootstrap.servers": environ["KAFKA"]}
    producer = Producer(kafka)
    consumer = Consumer(
        {
            **kafka,
            "group.id": environ["GROUP"],
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([environ["INPUT"]])
    count = 0
    while True:
        message = consumer.poll(0.5)
        if message is None or message.error():
            continue
        copies = _COPIES[sabotage] if count == _SABOTAGED else 1
        count += 1
        body = Body.model_validate_json(message.value() or b"")
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        at = message.timestamp()[1]
        for one in observations(body, str(topic), partition or 0, offset or 0, at):
            for _ in range(copies):
                producer.produce(environ["OUTPUT"], msgspec.json.encode(one))
        producer.flush()
        consumer.commit(
            offsets=[TopicPartition(str(topic), partition or 0, (offset or 0) + 1)],
            asynchronous=False,
        )


if __name__ == "__main__":
    main(sys.argv[1])
