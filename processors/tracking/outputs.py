"""What tracking publishes: a record, its topic, its CloudEvents attributes. Pure."""

from hashlib import blake2b
from typing import Literal, NamedTuple

from schemas.records import Event, InboundObservation, StatusRecord

Topic = Literal["statuses", "events", "inbound"]


class Output(NamedTuple):
    """One record to publish: on which topic, its CloudEvents id, type and time, and itself."""

    topic: Topic
    id: str
    type: str
    time: int
    record: StatusRecord | InboundObservation | Event


def event(record: Event, time: int, *identity: str) -> Output:
    """Address an event; `time` is Unix milliseconds, `identity` what tells it from its like."""
    tag = str(record.__struct_config__.tag)
    id_ = identify(tag, record.message_key, *identity)
    return Output("events", id_, f"bluetick.message.{tag}", time, record)


def identify(*parts: str) -> str:
    """A CloudEvents id that depends on the fact alone: the same again after a crash or replay."""
    return blake2b("\x1f".join(parts).encode(), digest_size=16).hexdigest()
