"""One batch of observations to new states and outputs, as bytes: the pure pass, in slices."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from processors.track import Output, track
from schemas.codec import UndecodableError, decode_observation, decode_state, encode
from schemas.problem import Problem
from schemas.records import MessageState, record_keys
from schemas.webhook import cloud_event

# After so long the pass lets the event loop's other work run, heartbeats above all.
_SLICE_SECONDS = 0.03

Read = Callable[[Sequence[str]], list[bytes | None]]


class Consumed(Protocol):
    """What is read of a consumed record."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None


class Out(NamedTuple):
    """One record to send."""

    topic: str
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


@dataclass(slots=True)
class Reduced:
    """What a batch amounts to; `states` holds only those that changed, the last of each key."""

    outputs: list[Out] = field(default_factory=list)
    states: dict[bytes, bytes] = field(default_factory=dict)
    outcomes: Counter[tuple[str, ...]] = field(default_factory=Counter)


async def reduce(records: Sequence[Consumed], read: Read) -> Reduced:
    """Take the records in order; `read` gives the stored states of many keys at once."""
    states = _load(records, read)
    result = Reduced()
    changed: dict[str, MessageState] = {}
    began = time.monotonic()
    for record in records:
        _take(record, states, changed, result)
        if time.monotonic() - began > _SLICE_SECONDS:
            await asyncio.sleep(0)
            began = time.monotonic()
    result.states = {key.encode(): encode(state) for key, state in changed.items()}
    return result


def _take(
    record: Consumed,
    states: dict[str, MessageState | None],
    changed: dict[str, MessageState],
    result: Reduced,
) -> None:
    key = _key(record)
    before = states[key]
    try:
        observation = decode_observation(record.value)
    except UndecodableError as error:
        raise _unreadable(record, str(error)) from None
    if key not in record_keys(observation):
        raise _unreadable(record, "the key is not one of the observation's")
    step = track(before, key, observation)
    result.outcomes[observation.provider, step.outcome] += 1
    result.outputs += [_out(record.key or b"", output) for output in step.outputs]
    if step.state is not before:
        states[key] = changed[key] = step.state


def _load(records: Sequence[Consumed], read: Read) -> dict[str, MessageState | None]:
    keys = list(dict.fromkeys(_key(record) for record in records))
    found = zip(keys, read(keys), strict=True)
    return {key: None if value is None else _state(key, value) for key, value in found}


def _state(key: str, value: bytes) -> MessageState:
    try:
        return decode_state(value)
    except UndecodableError as error:
        raise Problem(
            f"the stored state of {key} cannot be read ({error}); nothing was lost: look at the "
            "record on the messages topic, and whether an older Bluetick was started by mistake"
        ) from None


def _key(record: Consumed) -> str:
    try:
        if record.key:
            return record.key.decode()
    except UnicodeDecodeError:
        pass
    raise _unreadable(record, "the key is no message key")


def _unreadable(record: Consumed, why: str) -> Problem:
    return Problem(
        f"{record.topic}[{record.partition}] offset {record.offset} is not an observation ({why}); "
        "nothing past it is processed: find out who wrote it, then delete it or move the group on"
    )


def _out(key: bytes, output: Output) -> Out:
    texts = cloud_event(
        type_=output.type, id_=output.id, source="/bluetick/track", time=output.time
    )
    headers = [(name, text.encode()) for name, text in texts]
    return Out(output.topic, key, encode(output.record), headers)
