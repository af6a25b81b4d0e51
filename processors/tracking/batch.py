"""One batch of observations to new states and outputs, as bytes: the pure pass, in slices.

What one record or one message does never ends the pass. An observation that cannot be taken becomes
a dead letter; where a message's state cannot be used or written, all of its observations in the
batch do, and its state stays as it was.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, TypeVar, cast

from processors.tracking import timers
from processors.tracking.batch_states import Read, State, States
from processors.tracking.lifecycle import PastBound, outlived
from processors.tracking.outputs import SOURCE, Output
from processors.tracking.set_aside import PAST_BOUND, Letter, SetAside, letter_of, unreadable_record
from processors.tracking.timers import PATIENCE, Patience
from processors.tracking.track import Step, track
from schemas.bounds import BOUNDS, Bounds
from schemas.codec import NewerFormatError, UndecodableError, decode_observation, encode
from schemas.records import (
    RESERVED,
    MessageState,
    Observation,
    StatusObservation,
    ViewerState,
    message_of,
    record_keys,
    viewer_key,
)
from schemas.webhook import cloud_event
from service.errors import Problem

# After so long the pass lets the event loop's other work run, heartbeats above all.
_SLICE_SECONDS = 0.03
# A message that takes more of the processor than that in one step is set aside.
COSTLY_SECONDS = 0.25
# So many records are decoded, and their states read, at once: 1 MiB each at most.
_CHUNK = 32
# A timer of a message whose state cannot be used is looked at again after so long.
_RETRY_MS = 3_600_000


T = TypeVar("T")


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


class Limits(NamedTuple):
    """How much one batch may take: past one of these it ends, and the rest is for the next one.

    `seconds` are of the wall clock; `read_bytes` are records and states read, so that what is
    written of states is bounded as well; `written_bytes` are outputs.
    """

    seconds: float = 2.0
    read_bytes: int = 32 * 1024 * 1024
    written_bytes: int = 16 * 1024 * 1024


LIMITS = Limits()


class Work(NamedTuple):
    """One batch: records in order, and timers that are due.

    `now` is the task's clock: nothing was received later than that, whatever a record says.
    `horizon` is how far the log's time has come for sure: timers up to there may fire. `source` is
    what the outputs name as theirs (CloudEvents).
    """

    records: Sequence[Consumed]
    timers: Sequence[Timer]
    now: int
    horizon: int
    patience: Patience = PATIENCE
    bounds: Bounds = BOUNDS
    limits: Limits = LIMITS
    source: str = SOURCE


class Out(NamedTuple):
    """One record to send."""

    topic: str
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


@dataclass(slots=True)
class Reduced:
    """The result of a batch.

    `taken` is the number of records taken. `states` holds the changed states, the last of each key;
    None for a dropped one. `armed` holds the next timer of each state that is left, or whose timer
    had no effect. `spent` holds the index entries that are void now. `letters` holds dead letters.
    `latest` is the greatest time of reception, 0 if none.
    """

    taken: int = 0
    outputs: list[Out] = field(default_factory=list)
    states: dict[bytes, bytes | None] = field(default_factory=dict)
    armed: dict[bytes, int] = field(default_factory=dict)
    spent: list[Timer] = field(default_factory=list)
    letters: list[Letter] = field(default_factory=list)
    outcomes: Counter[tuple[str, ...]] = field(default_factory=Counter)
    events: Counter[tuple[str, ...]] = field(default_factory=Counter)
    latest: int = 0


async def reduce(work: Work, read: Read, unwanted: Mapping[str, SetAside] | None = None) -> Reduced:
    """Take records, then timers; `read` gives the stored states of many keys at once.

    `unwanted` are messages whose observations are set aside without a look, each with the reason.
    Raises `NewerFormatError` if a state is of a newer Bluetick.
    """
    aside = dict(unwanted or {})
    while True:
        reducing = _Reducing(work, read, aside)
        await _drive(reducing)
        if not reducing.failed:
            return reducing.result
        if not reducing.failed.keys() - aside.keys():
            raise Problem("tracking_fails", keys=list(reducing.failed))
        # Done again without them: what they had changed is not to be picked out.
        aside |= reducing.failed


async def _drive(reducing: "_Reducing") -> None:
    began, used = time.monotonic(), time.thread_time()
    started = began
    for key in reducing.steps():
        now = time.monotonic()
        if now - began > _SLICE_SECONDS:
            # The processor's time is asked for only here: the call costs as much as a small step.
            if time.thread_time() - used > COSTLY_SECONDS:
                reducing.costly(key)
            if now - started > reducing.limits.seconds:
                reducing.stop()
            await asyncio.sleep(0)
            began, used = time.monotonic(), time.thread_time()


class _Reducing:
    """One pass over a batch."""

    def __init__(self, work: Work, read: Read, aside: Mapping[str, SetAside]) -> None:
        self.result = Reduced()
        self.failed: dict[str, SetAside] = {}
        self.limits = work.limits
        self._work = work
        self._states = States(read)
        self._aside = aside
        self._read = 0
        self._written = 0
        self._stopped = False

    def stop(self) -> None:
        """Take no more records."""
        self._stopped = True

    def costly(self, key: str) -> None:
        """The last step took too much of the processor, for the message of that key."""
        message = message_of(key)
        if key and message not in self._aside:
            self.failed[message] = SetAside(
                "too_costly", f"tracking it took more than {COSTLY_SECONDS:g} s of CPU"
            )

    def steps(self) -> Iterator[str]:
        """Do all that is to be done, in order, in small steps; each yields the key it was about."""
        for chunk in _chunks(self._work.records):
            if self._full():
                break
            yield from self._take_all(chunk)
        for number, due in enumerate(_chunks(self._work.timers)):
            if number and self._full():
                break
            yield from self._look_at_all(due)
        for key in list(self._states.changed()):
            self._write(key)
            yield key

    def _take_all(self, records: Sequence[Consumed]) -> Iterator[str]:
        observed = [self._observed(record) for record in records]
        self._read += sum(len(record.value or b"") for record in records)
        yield ""
        self._states.load(key for one in observed if one for key in one.keys)
        yield ""
        for record, one in zip(records, observed, strict=True):
            self.result.taken += 1
            if one is not None:
                self._take(record, one)
                yield one[0]

    def _full(self) -> bool:
        """Whether no more is taken; something is in any case, or there would be no end."""
        if not self.result.taken:
            return False
        return (
            self._stopped
            or self._written > self.limits.written_bytes
            or self._read + self._states.read_bytes > self.limits.read_bytes
        )

    def _observed(self, record: Consumed) -> "_Observed | None":
        """What a record observes; None, and a dead letter, if it is no observation."""
        key = (record.key or b"").decode("utf-8", "replace")
        try:
            observation = decode_observation(record.value)
        except UndecodableError as error:
            why = str(error)
        else:
            if key.startswith(RESERVED):
                why = "its key is not that of a message"
            elif isinstance(observation, StatusObservation) and key == observation.message_key:
                viewer = observation.viewer
                return _Observed(key, viewer_key(key, viewer) if viewer else None, observation)
            elif key in record_keys(observation):
                return _Observed(key, None, observation)
            else:
                why = "its key is not one of the observation's"
        self.result.letters.append(unreadable_record(record, why, self._aside.get(key)))
        return None

    def _take(self, record: Consumed, one: "_Observed") -> None:
        key, viewer, observation = one
        work, states = self._work, self._states
        at = min(observation.received_at, work.now)
        self.result.latest = max(self.result.latest, at)
        if self._aside and (aside := self._aside.get(key)):
            self._set_aside(record, observation, aside)
            return
        try:
            step = track(
                states.message(key),
                key,
                observation,
                states.viewer(viewer) if viewer else None,
                patience=work.patience,
                bounds=work.bounds,
                at=at,
            )
            if step.outputs:
                self._publish(key, step.outputs)
        except NewerFormatError:
            raise
        except UndecodableError as error:
            self._set_aside(record, observation, SetAside.state_unreadable(str(error)))
        except Exception as error:  # noqa: BLE001 - one observation must not end the others
            self._set_aside(record, observation, SetAside.unforeseen(error))
        else:
            states.put(key, step.state)
            if viewer is not None and step.viewer is not None:
                states.put(viewer, step.viewer)
            self._count(record, observation, step)

    def _count(self, record: Consumed, observation: Observation, step: Step) -> None:
        self.result.outcomes[observation.provider, step.outcome] += 1
        if step.outcome in PAST_BOUND:
            past = SetAside.past_bound(cast("PastBound", step.outcome), self._work.bounds)
            self.result.letters.append(letter_of(record, observation, past))

    def _set_aside(self, record: Consumed, observation: Observation, why: SetAside) -> None:
        self.result.outcomes[observation.provider, why.code] += 1
        self.result.letters.append(letter_of(record, observation, why))

    def _look_at_all(self, due: Sequence[Timer]) -> Iterator[str]:
        self._states.load(key for timer in due for key in (timer.key, message_of(timer.key)))
        yield ""
        for timer in due:
            self.result.spent.append(timer)
            try:
                self._look(timer)
            except NewerFormatError:
                raise
            except Exception as error:  # noqa: BLE001 - one message must not end the others
                self.failed[message_of(timer.key)] = SetAside.unforeseen(error)
            yield timer.key

    def _look(self, timer: Timer) -> None:
        """Fire a state's timers; one that moved on meanwhile is left to its new timer."""
        message = message_of(timer.key)
        if message in self._aside or self._states.unusable(message):
            self.result.armed[timer.key.encode()] = self._work.now + _RETRY_MS
            return
        state = self._states.message(message)
        if timer.key != message:
            self._look_at_viewer(timer.key, state)
        elif state is not None:
            fired = timers.fire(state, self._work.horizon, self._work.patience)
            self._publish(timer.key, fired.outputs)
            self._states.put(timer.key, fired.state)
            if fired.state is state:
                self.result.armed[timer.key.encode()] = timers.due(state, self._work.patience)

    def _look_at_viewer(self, key: str, message: MessageState | None) -> None:
        """A viewer's state goes when that of its message is gone."""
        viewer = self._states.viewer(key)
        if viewer is None:
            return
        if message is None or outlived(viewer, message):
            self._states.put(key, None)
        else:
            due = timers.outlives(message)
            # The message may be due as well and not fired yet: not again at once.
            later = self._work.now + _RETRY_MS
            self.result.armed[key.encode()] = due if due > self._work.horizon else later

    def _write(self, key: str) -> None:
        """Note what became of a key, and when it is to be looked at next."""
        name = key.encode()
        before, after = self._states.before(key), self._states.after(key)
        try:
            if isinstance(after, ViewerState) and self._gone(after):
                after = None
            if after is before:
                return
            value = None if after is None else encode(after)
            armed, spent = self._timers(key, before, after)
        except Exception as error:  # noqa: BLE001 - one message must not end the others
            self.failed[message_of(key)] = SetAside.unforeseen(error)
            return
        if value is not None and len(value) > self._work.bounds.state:
            self.failed[message_of(key)] = SetAside.state_too_large(len(value), self._work.bounds)
            return
        self.result.states[name] = value
        self.result.spent += spent
        if armed is not None:
            self.result.armed[name] = armed

    def _gone(self, viewer: ViewerState) -> bool:
        """Whether its message expired in this batch, be it followed by a later life or not."""
        return outlived(viewer, self._states.message(viewer.message_key))

    def _timers(
        self, key: str, before: State | None, after: State | None
    ) -> tuple[int | None, list[Timer]]:
        """When a changed state is to be looked at next, and the entry that is void now."""
        message = self._states.message(message_of(key))
        armed: int | None
        if after is None or message is None:
            armed = None
        elif isinstance(after, ViewerState):
            armed = timers.outlives(message)
        else:
            armed = timers.due(message, self._work.patience)
        if not isinstance(before, MessageState):
            return armed, []  # a viewer's entry that is void is moved on when it is looked at
        return armed, [Timer(timers.due(before, self._work.patience), key)]

    def _publish(self, key: str, outputs: Iterable[Output]) -> None:
        """Add outputs, all or, if one cannot be written, none."""
        name, added = key.encode(), self.result.outputs
        start = len(added)
        try:
            for output in outputs:
                added.append(_out(name, output, self._work.source))
        except Exception:
            del added[start:]
            raise
        for place, output in enumerate(outputs, start):
            self._written += len(added[place].value)
            if output.topic == "events":
                self.result.events[output.type.rpartition(".")[2],] += 1


def _chunks(many: Sequence[T]) -> Iterator[Sequence[T]]:
    return (many[start : start + _CHUNK] for start in range(0, len(many), _CHUNK))


class _Observed(NamedTuple):
    """A record's key, that of the viewer's state if it is about one, and what it observes."""

    key: str
    viewer: str | None
    observation: Observation

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of the states it changes."""
        return (self.key,) if self.viewer is None else (self.key, self.viewer)


def _out(key: bytes, output: Output, source: str) -> Out:
    headers = cloud_event(
        type_=output.type, id_=output.id, source=source, time=output.time, subject=key
    )
    return Out(output.topic, key, encode(output.record), headers)
