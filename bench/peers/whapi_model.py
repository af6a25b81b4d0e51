"""A Whapi body as the Python peers of the job `normalise` read it, and the observation of it."""

from pydantic import BaseModel

from bench.peers.lifecycle import Json


class Status(BaseModel):
    """One entry of `statuses`."""

    id: str
    status: str
    recipient_id: str
    timestamp: int


class Body(BaseModel):
    """One webhook of Whapi; its other data keys are not read."""

    statuses: list[Status]
    channel_id: str


NAMES = {"pending": "queued"}
"""The statuses with another name in an observation."""


def observations(body: Body, topic: str, partition: int, offset: int, at: int) -> list[Json]:
    """Return the observations of a body; `at` is its time of receipt, Unix milliseconds."""
    account = body.channel_id
    return [
        {
            "kind": "status",
            "message_key": f"whapi/{account}/{one.id}",
            "provider": "whapi",
            "account": account,
            "channel": "whatsapp",
            "gateway": "whatsapp",
            "received_at": at,
            "raw": {"topic": topic, "partition": partition, "offset": offset, "index": index},
            "message_id": one.id,
            "recipient": one.recipient_id.partition("@")[0],
            "occurred_at": one.timestamp * 1000,
            "source": "whapi",
            "status": NAMES.get(one.status, one.status),
            "provider_status": one.status,
        }
        for index, one in enumerate(body.statuses)
    ]
