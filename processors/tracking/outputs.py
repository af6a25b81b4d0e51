"""The outputs of tracking: a record, its topic, its CloudEvents attributes. Pure."""

from hashlib import blake2b
from typing import Any, Literal, NamedTuple

from schemas.records import Event, InboundObservation, MessageState, StatusRecord

SOURCE = "/bluetick/track"

Topic = Literal["statuses", "events", "inbound"]


class Output(NamedTuple):
    """One record to publish, with its topic and its CloudEvents id, type and time."""

    topic: Topic
    id: str
    type: str
    time: int
    record: StatusRecord | InboundObservation | Event


def event(record: Event, time: int, *identity: str) -> Output:
    """Address an event; `time` is Unix milliseconds, `identity` makes its id unique."""
    tag = str(record.__struct_config__.tag)
    id_ = identify(tag, record.message_key, *identity)
    return Output("events", id_, f"bluetick.message.{tag}", time, record)


def source_of(installation: str | None) -> str:
    """Return the CloudEvents source of an installation; without a name it is the only one."""
    return SOURCE if installation is None else f"/bluetick/{installation}/track"


def identify(*parts: str) -> str:
    """Return an id that depends on the fact alone: a crash or a replay does not change it."""
    return blake2b("\x1f".join(parts).encode(), digest_size=16).hexdigest()


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
