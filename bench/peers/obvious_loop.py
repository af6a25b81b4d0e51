"""The obvious loop on aiokafka: `python -m bench.peers.obvious_loop`, in the peers' environment.

It has no dead letters and no order by time across partitions.
"""

import asyncio
import signal
from os import environ

import orjson
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from bench.peers.whapi_model import Body, observations

_MOST = 5000
_WAIT_MS = 200
_LINGER_MS = 5
_BATCH = 256 * 1024


async def main() -> None:
    consumer = AIOKafkaConsumer(
        environ["INPUT"],
        bootstrap_servers=environ["KAFKA"],
        group_id=environ["GROUP"],
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    producer = AIOKafkaProducer(
        bootstrap_servers=environ["KAFKA"],
        acks="all",
        compression_type="zstd",
        linger_ms=_LINGER_MS,
        max_batch_size=_BATCH,
    )
    await consumer.start()
    await producer.start()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    while not stop.is_set():
        await _round(consumer, producer)
    await consumer.stop()
    await producer.stop()


async def _round(consumer: AIOKafkaConsumer, producer: AIOKafkaProducer) -> None:
    """Read some bodies, send their observations, and commit once all are acknowledged."""
    sent = []
    for records in (await consumer.getmany(timeout_ms=_WAIT_MS, max_records=_MOST)).values():
        for record in records:
            body = Body.model_validate_json(record.value or b"")
            for one in observations(
                body, record.topic, record.partition, record.offset, record.timestamp
            ):
                key = one["message_key"].encode()
                sent.append(await producer.send(environ["OUTPUT"], orjson.dumps(one), key=key))
    if sent:
        await asyncio.gather(*sent)
        await consumer.commit()


if __name__ == "__main__":
    uvloop.run(main())
