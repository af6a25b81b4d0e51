"""One batch of observations to new states and outputs, as bytes: the pure pass, in slices."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, Protocol

from processors import timers
from processors.outputs import Output
from processors.timers import PATIENCE, Patience
from processors.track import track
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


class Timer(NamedTuple):
    """An entry of the store's index: whose state is to be looked at, and when (Unix ms)."""

    due: int
    key: str


class Work(NamedTuple):
    """One batch: records in order, and timers that are due.

    `now` is the task's clock: nothing was received later than that, whatever a record says.
    `horizon` is how far the log's time has come for sure: timers up to there may fire.
    """

    records: Sequence[Consumed]
    timers: Sequence[Timer]
    now: int
    horizon: int
    patience: Patience = PATIENCE


class Out(NamedTuple):
    """One record to send."""

    topic: str
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


@dataclass(slots=True)
class Reduced:
    """What a batch amounts to.

    `states` holds only those that changed, the last of each key, None for one that was dropped;
    `armed` when each that is left, or was looked at in vain, is to be looked at next; `spent` the
    index entries that are void now. `latest` is the greatest time of reception, 0 if none.
    """

    outputs: list[Out] = field(default_factory=list)
    states: dict[bytes, bytes | None] = field(default_factory=dict)
    armed: dict[bytes, int] = field(default_factory=dict)
    spent: list[Timer] = field(default_factory=list)
    outcomes: Counter[tuple[str, ...]] = field(default_factory=Counter)
    events: Counter[tuple[str, ...]] = field(default_factory=Counter)
    latest: int = 0


async def reduce(work: Work, read: Read) -> Reduced:
    """Take records, then timers; `read` gives the stored states of many keys at once."""
    reducing = _Reducing(work, read)
    began = time.monotonic()
    for step in reducing.steps():
        step()
        if time.monotonic() - began > _SLICE_SECONDS:
            await asyncio.sleep(0)
            began = time.monotonic()
    return reducing.end()


class _Reducing:
    """One batch under way: `before` and `after` hold the states of its keys."""

    def __init__(self, work: Work, read: Read) -> None:
        self._work = work
        keys = [_key(record) for record in work.records] + [timer.key for timer in work.timers]
        unique = list(dict.fromkeys(keys))
        self._stored = dict(zip(unique, read(unique), strict=True))
        self._before: dict[str, MessageState | None] = {}
        self._after: dict[str, MessageState | None] = {}
        self._result = Reduced()

    def steps(self) -> Iterator[Callable[[], None]]:
        """All that is to be done, in order, in pieces far below a millisecond each."""
        yield from (partial(self._load, key) for key in self._stored)
        yield from (partial(self._take, record) for record in self._work.records)
        yield from (partial(self._look, timer) for timer in self._work.timers)
        yield from (partial(self._settle, key) for key in self._before)

    def end(self) -> Reduced:
        return self._result

    def _load(self, key: str) -> None:
        value = self._stored[key]
        self._before[key] = self._after[key] = None if value is None else _state(key, value)

    def _take(self, record: Consumed) -> None:
        key = _key(record)
        try:
            observation = decode_observation(record.value)
        except UndecodableError as error:
            raise _unreadable(record, str(error)) from None
        if key not in record_keys(observation):
            raise _unreadable(record, "the key is not one of the observation's")
        at = min(observation.received_at, self._work.now)
        step = track(self._after[key], key, observation, patience=self._work.patience, at=at)
        self._after[key] = step.state
        self._result.latest = max(self._result.latest, at)
        self._result.outcomes[observation.provider, step.outcome] += 1
        self._publish(key, step.outputs)

    def _look(self, timer: Timer) -> None:
        """Fire a state's timers; one that moved on meanwhile is left to its new timer."""
        self._result.spent.append(timer)
        state = self._after[timer.key]
        if state is not None:
            fired = timers.fire(state, self._work.horizon, self._work.patience)
            self._after[timer.key] = fired.state
            self._publish(timer.key, fired.outputs)
            if fired.state is state:
                self._result.armed[timer.key.encode()] = timers.due(state, self._work.patience)

    def _settle(self, key: str) -> None:
        """Note what became of a key, and when it is to be looked at next."""
        before, after = self._before[key], self._after[key]
        if after is before:
            return
        patience, name = self._work.patience, key.encode()
        self._result.states[name] = None if after is None else encode(after)
        if before is not None:
            self._result.spent.append(Timer(timers.due(before, patience), key))
        if after is not None:
            self._result.armed[name] = timers.due(after, patience)

    def _publish(self, key: str, outputs: Iterable[Output]) -> None:
        for output in outputs:
            self._result.outputs.append(_out(key.encode(), output))
            if output.topic == "events":
                self._result.events[output.type.rpartition(".")[2],] += 1


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
    headers = cloud_event(
        type_=output.type, id_=output.id, source="/bluetick/track", time=output.time
    )
    return Out(output.topic, key, encode(output.record), headers)
