"""The obvious app on Starlette: `uvicorn bench.peers.starlette_app:app`, in the peers' environment.

It answers 200 once Kafka has acknowledged the body.
"""

import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from os import environ

from aiokafka import AIOKafkaProducer
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bench.peers.cloud_events import headers_of

_LINGER_MS = 2
_BATCH = 256 * 1024


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Start the producer for the app's lifetime."""
    producer = AIOKafkaProducer(
        bootstrap_servers=environ["KAFKA"],
        acks="all",
        compression_type="zstd",
        linger_ms=_LINGER_MS,
        max_batch_size=_BATCH,
    )
    await producer.start()
    app.state.producer = producer
    yield
    await producer.stop()


async def webhook(request: Request) -> Response:
    source = request.path_params["source"]
    headers = headers_of(
        "bluetick.webhook.received",
        str(uuid.uuid4()),
        source,
        time.time_ns() // 1_000_000,
        f"/webhooks/{source}",
    )
    await request.app.state.producer.send_and_wait(
        environ["OUTPUT"], await request.body(), headers=headers
    )
    return Response(status_code=200)


async def ready(_: Request) -> Response:
    return Response(status_code=200)


app = Starlette(
    routes=[
        Route("/webhooks/{source}", webhook, methods=["POST"]),
        Route("/health/ready", ready),
    ],
    lifespan=lifespan,
)
