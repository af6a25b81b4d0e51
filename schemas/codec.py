"""Bytes on our own topics to records and back: one encoder, one decoder a record kind."""

from typing import Generic, TypeVar

import msgspec

from schemas import records

T = TypeVar("T")

# Mappings are sorted, so that the same state is always the same bytes.
_encoder = msgspec.json.Encoder(order="deterministic")

encode = _encoder.encode


class UndecodableError(Exception):
    """A record on one of our own topics is not what the topic promises; the reason in words."""


class Decoder(Generic[T]):
    """Decodes one kind of record."""

    def __init__(self, kind: type[T] | object) -> None:
        self._decoder: msgspec.json.Decoder[T] = msgspec.json.Decoder(kind)

    def __call__(self, data: bytes | memoryview | None) -> T:
        """Decode, or raise `UndecodableError` (also for a null value)."""
        if data is None:
            raise UndecodableError("the value is null")
        try:
            return self._decoder.decode(data)
        except (msgspec.DecodeError, RecursionError) as error:
            raise UndecodableError(str(error)) from error


decode_observation: Decoder[records.Observation] = Decoder(records.Observation)
decode_status: Decoder[records.StatusRecord] = Decoder(records.StatusRecord)
decode_event: Decoder[records.Event] = Decoder(records.Event)
decode_inbound: Decoder[records.InboundObservation] = Decoder(records.InboundObservation)
_decode_state: Decoder[records.MessageState] = Decoder(records.MessageState)


def decode_state(data: bytes | memoryview | None) -> records.MessageState:
    """Decode a message's state; a newer format than ours is refused, never half understood."""
    state = _decode_state(data)
    if state.version > records.STATE_VERSION:
        raise UndecodableError(
            f"state format {state.version} is newer than {records.STATE_VERSION}, "
            "the one this Bluetick knows"
        )
    return state
