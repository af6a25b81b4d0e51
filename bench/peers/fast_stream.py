"""The peer FastStream: `python -m bench.peers.fast_stream`, in the peers' environment.

It reads in batches, and waits for the acknowledgements of a batch together. `publish_batch` would
write all records of a batch to one partition, whatever their keys.
"""

import asyncio
from os import environ

import uvloop
from faststream import AckPolicy, FastStream
from faststream.kafka import KafkaBroker, KafkaMessage

from bench.peers.whapi_model import Body, observations

_MOST = 5000
_WAIT_MS = 200
_LINGER_MS = 5
_BATCH = 256 * 1024

broker = KafkaBroker(
    environ["KAFKA"],
    acks="all",
    compression_type="zstd",
    linger_ms=_LINGER_MS,
    max_batch_size=_BATCH,
    logger=None,
)
app = FastStream(broker, logger=None)


@broker.subscriber(  # type: ignore[untyped-decorator]
    environ["INPUT"],
    group_id=environ["GROUP"],
    auto_offset_reset="earliest",
    ack_policy=AckPolicy.NACK_ON_ERROR,
    batch=True,
    max_records=_MOST,
    batch_timeout_ms=_WAIT_MS,
)
async def normalise(bodies: list[Body], message: KafkaMessage) -> None:
    """Send the observations of a batch; the offset is committed after this returns."""
    found = []
    for body, record in zip(bodies, message.raw_message, strict=True):
        found += observations(body, record.topic, record.partition, record.offset, record.timestamp)
    sent = [
        await broker.publish(
            one, environ["OUTPUT"], key=one["message_key"].encode(), no_confirm=True
        )
        for one in found
    ]
    await asyncio.gather(*sent)


if __name__ == "__main__":
    uvloop.run(app.run())
