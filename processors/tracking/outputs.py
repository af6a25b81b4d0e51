"""The outputs of tracking: a record, its topic, its CloudEvents attributes. Pure."""

from collections.abc import Callable
from functools import cache
from hashlib import blake2b
from typing import Any, Literal, get_args

from msgspec import Struct
from msgspec.structs import asdict

from schemas.codec import decode_event, decode_inbound, decode_status, encode
from schemas.records import (
    Event,
    InboundRecord,
    MessageState,
    PublishedVerdict,
    Status,
    StatusObservation,
    StatusRecord,
)
from schemas.webhook import cloud_event

SOURCE = "/bluetick/track"

_DIGEST = blake2b(digest_size=16)

Topic = Literal["statuses", "events", "inbound"]
TOPICS: tuple[str, ...] = get_args(Topic)


_DECODERS: dict[Topic, Callable[[bytes], StatusRecord | InboundRecord | Event]] = {
    "statuses": decode_status,
    "events": decode_event,
    "inbound": decode_inbound,
}


class Output(Struct, frozen=True, gc=False):
    """One encoded record to publish, with its topic and its CloudEvents id, type and time."""

    topic: Topic
    id: str
    type: str
    time: int
    value: bytes

    @property
    def record(self) -> StatusRecord | InboundRecord | Event:
        return _DECODERS[self.topic](self.value)


def event(record: Event, time: int, *identity: str) -> Output:
    """Address an event; `time` is Unix milliseconds, `identity` makes its id unique."""
    tag, type_ = _names(type(record))
    id_ = identify(tag, record.message_key, *identity)
    return Output("events", id_, type_, time, encode(record))


@cache  # of few kinds
def _names(kind: type[Event]) -> tuple[str, str]:
    """Return the tag of an event, and its CloudEvents type."""
    tag = str(kind.__struct_config__.tag)
    return tag, f"bluetick.message.{tag}"


def encode_status(
    observation: StatusObservation, verdict: PublishedVerdict, message_status: Status | None
) -> bytes:
    """Encode the `StatusRecord` of an observation.

    A status record is the observation's JSON with two more members at its end, so those are
    appended: that takes a third of the time. Only an unknown direction is not in that JSON.
    """
    if observation.direction == "unknown":
        fields = asdict(observation)
        return encode(StatusRecord(**fields, verdict=verdict, message_status=message_status))
    return encode(observation)[:-1] + _status_members(verdict, message_status)


@cache  # of few words
def _status_members(verdict: PublishedVerdict, status: Status | None) -> bytes:
    """Return the last members of a status record, and its end."""
    message_status = "" if status is None else f',"message_status":"{status}"'
    return f',"verdict":"{verdict}"{message_status}}}'.encode()


def headers_of(output: Output, key: bytes, source: str) -> list[tuple[str, bytes]]:
    """Return the record headers of an output: CloudEvents attributes; `key` is the record's key."""
    return cloud_event(
        type_=output.type, id_=output.id, source=source, time=output.time, subject=key
    )


def source_of(installation: str | None) -> str:
    """Return the CloudEvents source of an installation; without a name it is the only one."""
    return SOURCE if installation is None else f"/bluetick/{installation}/track"


def identify(*parts: str) -> str:
    """Return an id that depends on the fact alone: a crash or a replay does not change it."""
    digest = _DIGEST.copy()  # quicker than to make one
    digest.update("\x1f".join(parts).encode())
    return digest.hexdigest()


def about(state: MessageState, gateway: str | None, channel: str | None = None) -> dict[str, Any]:
    """Return the message's fields for an event, so that a consumer needs no other topic.

    The channel is that of the gateway's attempt, if there is one, else `channel`.
    """
    attempt = state.attempts.get(gateway) if gateway else None
    return {
        "message_key": state.message_key,
        "provider": state.provider,
        "account": state.account,
        "message_id": state.message_id,
        "gateway": gateway,
        "channel": attempt.channel if attempt else channel,
        "direction": state.direction,
        "recipient": state.recipient,
        "payload": state.payload,
    }
