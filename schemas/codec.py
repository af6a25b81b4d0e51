"""Encodes and decodes the records on Bluetick's topics: one encoder, a decoder for each kind."""

import re
from typing import Generic, TypeVar

import msgspec

from schemas import quality, records
from schemas.state_format_1 import FirstFormat
from schemas.state_format_2 import message_of_second, viewer_of_second

T = TypeVar("T")

# Mappings are sorted, so that equal states are equal bytes.
_encoder = msgspec.json.Encoder(order="deterministic")

encode = _encoder.encode

_QUOTED = re.compile("['\"]")
_LONGEST = 200


class UndecodableError(Exception):
    """A record on one of Bluetick's topics is invalid; the message gives the reason."""


def _without_values(message: str) -> str:
    """Return msgspec's message without the value that it quotes."""
    error, at, where = message.partition(" - at ")
    return f"{_QUOTED.split(error)[0].rstrip()}{at}{where}"[:_LONGEST]


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
            raise UndecodableError(_without_values(str(error))) from error


decode_observation: Decoder[records.Observation] = Decoder(records.Observation)
decode_status: Decoder[records.StatusRecord] = Decoder(records.StatusRecord)
decode_event: Decoder[records.Event] = Decoder(records.Event | records.FormerlyExpired)
decode_inbound: Decoder[records.InboundRecord] = Decoder(records.InboundRecord)
decode_quality: Decoder[quality.QualityCell] = Decoder(quality.QualityCell)
decode_quality_change: Decoder[quality.QualityChange] = Decoder(quality.QualityChange)
decode_quality_contribution: Decoder[quality.QualityContribution] = Decoder(
    quality.QualityContribution
)
_decode_message: Decoder[records.MessageState] = Decoder(records.MessageState)
_decode_viewer: Decoder[records.ViewerState] = Decoder(records.ViewerState)
_decode_first_format: Decoder[FirstFormat] = Decoder(FirstFormat)


class NewerFormatError(UndecodableError):
    """A state was written by a newer Bluetick, so it is not decoded at all."""


def decode_state(data: bytes | memoryview | None) -> records.MessageState:
    """Decode a message's state, of this format or an older one."""
    state = _current(_decode_message, data)
    if state.version == records.STATE_VERSION:
        return state
    if state.version == 1 and data is not None:
        state = _decode_first_format(data).message
    return message_of_second(state)


def decode_viewer(data: bytes | memoryview | None) -> records.ViewerState:
    """Decode the state of a viewer of a message, of this format or an older one."""
    state = _current(_decode_viewer, data)
    return state if state.version == records.STATE_VERSION else viewer_of_second(state)


def decode_by_key(
    key: str, data: bytes | memoryview | None
) -> records.MessageState | records.ViewerState:
    """Decode a record of `messages`: by its key, the state of a message or of a viewer."""
    return decode_state(data) if records.split_viewer_key(key) is None else decode_viewer(data)


def viewers_of(data: bytes) -> list[records.ViewerState]:
    """Return the viewers' states inside a state of format 1; later formats hold none."""
    state = _decode_first_format(data)
    return [viewer_of_second(one) for one in state.viewer_states] if state.version == 1 else []


class _Format(msgspec.Struct):
    version: int = 0


_decode_format: Decoder[_Format] = Decoder(_Format)


def format_of(data: bytes | memoryview | None) -> int:
    """Return the version of a state's format; states of every version have it."""
    return _decode_format(data).version


S = TypeVar("S", records.MessageState, records.ViewerState)


def _current(decode: Decoder[S], data: bytes | memoryview | None) -> S:
    """Decode a state; raise `NewerFormatError` for a newer format, even if it does not decode."""
    try:
        state = decode(data)
    except UndecodableError:
        _refuse_newer(format_of(data))
        raise
    _refuse_newer(state.version)
    return state


def _refuse_newer(version: int) -> None:
    if version > records.STATE_VERSION:
        raise NewerFormatError(
            f"state format {version} is newer than {records.STATE_VERSION}, "
            "the newest that this Bluetick reads; run the release that wrote it (docs/upgrading.md)"
        )
