"""One batch of observations to new states and outputs, as bytes: the pure pass, in slices.

One bad record or message never ends the pass. An observation that cannot be tracked becomes a dead
letter. If a message's state cannot be read or written, all of its observations in the batch become
dead letters, and its state does not change.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import TypeVar, cast

from msgspec import Struct

from processors.tracking import timers
from processors.tracking.batch_states import Read, State, States
from processors.tracking.batch_types import Consumed, Out, Reduced, Timer, Work
from processors.tracking.lifecycle.verdicts import PastBound
from processors.tracking.lifecycle.viewers import outlived
from processors.tracking.next_state import track
from processors.tracking.outputs import Output, headers_of
from processors.tracking.tracking_dead_letters import (
    PAST_BOUND,
    SetAside,
    letter_of,
    unreadable_record,
)
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
from service.errors import Problem
from service.tracing import Headers

# After this time the pass yields to other work of the event loop, above all heartbeats.
_SLICE_SECONDS = 0.03
# A message that takes more CPU time in one step is set aside.
COSTLY_SECONDS = 0.25
# The number of records that are decoded, and whose states are read, at once: 1 MiB each at most.
_CHUNK = 32
# A timer of a message with an unusable state is checked again after this time.
_RETRY_MS = 3_600_000

T = TypeVar("T")


async def _yield() -> None:
    await asyncio.sleep(0)


async def reduce(
    work: Work,
    read: Read,
    unwanted: Mapping[str, SetAside] | None = None,
    pause: Callable[[], Awaitable[None]] = _yield,
) -> Reduced:
    """Take records, then timers; `read` gives the stored states of many keys at once.

    `unwanted` are messages whose observations are set aside unseen, each with the reason. `pause`
    is awaited after each slice of the work.
    Raises `NewerFormatError` if a state is of a newer Bluetick.
    """
    aside = dict(unwanted or {})
    suspected: set[str] = set()
    while True:
        reducing = _Reducing(work, read, aside)
        await _drive(reducing, pause)
        if not reducing.failed:
            return reducing.result
        if not reducing.failed.keys() - aside.keys():
            raise Problem("tracking_fails", keys=list(reducing.failed))
        # Repeat the pass without them: their changes cannot be separated from the others. What
        # was costly once is tried again: it may have been an accident of the machine.
        aside |= {
            key: why
            for key, why in reducing.failed.items()
            if why.code != "too_costly" or key in suspected
        }
        suspected |= reducing.failed.keys()


async def _drive(reducing: "_Reducing", pause: Callable[[], Awaitable[None]]) -> None:
    began, used = time.monotonic(), time.thread_time()
    worked = 0.0  # without the other work of the event loop
    for key in reducing.steps():
        now = time.monotonic()
        if now - began > _SLICE_SECONDS:
            # CPU time is read only here: the call costs as much as a small step.
            if time.thread_time() - used > COSTLY_SECONDS:
                reducing.costly(key)
            worked += now - began
            if worked > reducing.limits.seconds:
                reducing.stop()
            await pause()
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
        self._stored_due: dict[str, int] = {}
        self._due: dict[str, int] = {}
        self._read = 0
        self._written = 0
        self._stopped = False

    def stop(self) -> None:
        """Take no more records."""
        self._stopped = True

    def costly(self, key: str) -> None:
        """Set a message aside: the last step, for its key, took too much CPU time."""
        message = message_of(key)
        if key and message not in self._aside:
            self.failed[message] = SetAside(
                "too_costly", f"tracking it took more than {COSTLY_SECONDS:g} s of CPU"
            )

    def steps(self) -> Iterator[str]:
        """Do the work of the batch, in order, in small steps; yield the key of each step."""
        for chunk in _chunks(self._work.records):
            if self._full():
                break
            yield from self._take_all(chunk)
        for number, due in enumerate(_chunks(self._work.timers)):
            if number and self._full():
                break
            yield from self._check_all(due)
        for key in list(self._states.changed()):
            self._write(key)
            yield key

    def _take_all(self, records: Sequence[Consumed]) -> Iterator[str]:
        observed = [self._observed(record) for record in records]
        self._read += sum(len(record.value or b"") for record in records)
        yield ""
        self._states.load([key for one in observed if one for key in one.keys])
        yield ""
        for record, one in zip(records, observed, strict=True):
            self.result.taken += 1
            if one is not None:
                self._take(record, one)
                yield one.key

    def _full(self) -> bool:
        """Whether a limit is reached; a batch takes at least one chunk, to make progress."""
        if not self.result.taken:
            return False
        return (
            self._stopped
            or self._written > self.limits.written_bytes
            or self._read + self._states.read_bytes > self.limits.read_bytes
        )

    def _observed(self, record: Consumed) -> "_Observed | None":
        """Return the observation of a record; None, and a dead letter, if it is none."""
        key = str(record.key or b"", "utf-8", "replace")
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
        self.result.counts.add_unreadable(repaired=record.offset < self._work.repaired_to)
        return None

    def _take(self, record: Consumed, one: "_Observed") -> None:
        key, viewer, observation = one.key, one.viewer, one.observation
        work, states = self._work, self._states
        at = min(observation.received_at, work.now)
        result = self.result
        result.latest = max(result.latest, at)
        if observation.replay is None:
            result.counts.received.append(at)
        if self._aside and (aside := self._aside.get(key)):
            self._set_aside(record, one, aside)
            return
        try:
            state = states.message(key)
            step = track(
                state,
                key,
                observation,
                states.viewer(viewer) if viewer else None,
                patience=work.patience,
                bounds=work.bounds,
                at=at,
                due=None if state is None else self._next_timer(key, state),
            )
            if step.outputs:
                self._publish(key, step.outputs, work.contexts.get(record.offset, ()))
        except NewerFormatError:
            raise
        except UndecodableError as error:
            self._set_aside(record, one, SetAside.state_unreadable(str(error)))
        except Exception as error:  # noqa: BLE001 - one observation must not end the others
            self._set_aside(record, one, SetAside.unforeseen(error))
        else:
            states.put(key, step.state)
            self._due[key] = step.due
            if viewer is not None and step.viewer is not None:
                states.put(viewer, step.viewer)
            self._count(record, one, step.outcome, step.outputs)
            if step.outcome in PAST_BOUND:
                past = SetAside.past_bound(cast("PastBound", step.outcome), work.bounds)
                result.letters.append(letter_of(record, observation, past))

    def _next_timer(self, key: str, state: MessageState) -> int:
        """Return when the timer of a message's present state is due."""
        due = self._due.get(key)
        if due is None:
            due = self._due[key] = timers.due(state, self._work.patience)
            if state is self._states.before(key):
                self._stored_due[key] = due
        return due

    def _set_aside(self, record: Consumed, one: "_Observed", why: SetAside) -> None:
        self._count(record, one, why.code)
        self.result.letters.append(letter_of(record, one.observation, why))

    def _count(
        self, record: Consumed, one: "_Observed", outcome: str, outputs: Sequence[Output] = ()
    ) -> None:
        """Count a record once, by its outcome."""
        repaired_to, seen = self._work.repaired_to, self._work.seen
        repaired = record.offset < repaired_to or (bool(seen) and _visible(one.key, outputs, seen))
        self.result.counts.add(one.key, one.observation, outcome, repaired=repaired)

    def _check_all(self, due: Sequence[Timer]) -> Iterator[str]:
        self._states.load(key for timer in due for key in (timer.key, message_of(timer.key)))
        yield ""
        for timer in due:
            self.result.spent.append(timer)
            try:
                self._check(timer)
            except NewerFormatError:
                raise
            except Exception as error:  # noqa: BLE001 - one message must not end the others
                self.failed[message_of(timer.key)] = SetAside.unforeseen(error)
            yield timer.key

    def _check(self, timer: Timer) -> None:
        """Fire a state's timers; a state that has progressed since has a new timer."""
        message = message_of(timer.key)
        if message in self._aside or self._states.unusable(message):
            self.result.armed[timer.key.encode()] = self._work.now + _RETRY_MS
            return
        state = self._states.message(message)
        if timer.key != message:
            self._check_viewer(timer.key, state)
        elif state is not None:
            fired = timers.fire(state, self._work.horizon, self._work.patience)
            self._publish(timer.key, fired.outputs)
            if fired.state is state:
                self.result.armed[timer.key.encode()] = self._next_timer(timer.key, state)
            else:
                self._states.put(timer.key, fired.state)
                self._due.pop(timer.key, None)

    def _check_viewer(self, key: str, message: MessageState | None) -> None:
        """Drop a viewer's state if its message has expired; else set its next timer."""
        viewer = self._states.viewer(key)
        if viewer is None:
            return
        if message is None or outlived(viewer, message):
            self._states.put(key, None)
        else:
            due = timers.outlives(message)
            # The message's own timer may be due and not fired yet: do not check again at once.
            later = self._work.now + _RETRY_MS
            self.result.armed[key.encode()] = due if due > self._work.horizon else later

    def _write(self, key: str) -> None:
        """Record the new state of a key, and its next timer."""
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
        self.result.counts.add_state(before, after)
        self.result.spent += spent
        if armed is not None:
            self.result.armed[name] = armed

    def _gone(self, viewer: ViewerState) -> bool:
        """Whether its message expired in this batch, even if a new state of it follows."""
        return outlived(viewer, self._states.message(viewer.message_key))

    def _timers(
        self, key: str, before: State | None, after: State | None
    ) -> tuple[int | None, list[Timer]]:
        """Return the next timer of a changed state, and the entries that are void now."""
        message = self._states.message(message_of(key))
        armed: int | None
        if after is None or message is None:
            armed = None
        elif isinstance(after, ViewerState):
            armed = timers.outlives(message)
        else:
            armed = self._next_timer(key, message)
        if not isinstance(before, MessageState):
            return armed, []  # a viewer's void entry gets its new time when it is checked
        due = self._stored_due.get(key)
        return armed, [Timer(timers.due(before, self._work.patience) if due is None else due, key)]

    def _publish(self, key: str, outputs: Iterable[Output], context: Headers = ()) -> None:
        name, source, result = key.encode(), self._work.source, self.result
        for output in outputs:
            result.outputs.append(_out(name, output, source, context))
            self._written += len(output.value)
            if output.topic == "events":
                result.counts.events[_label(output.type)] += 1


def _chunks(many: Sequence[T]) -> Iterator[Sequence[T]]:
    return (many[start : start + _CHUNK] for start in range(0, len(many), _CHUNK))


class _Observed(Struct, frozen=True, gc=False):
    """A record's key, the key of the viewer's state if it has one, and its observation."""

    key: str
    viewer: str | None
    observation: Observation

    @property
    def keys(self) -> tuple[str, ...]:
        """Return the keys of the states that it changes."""
        return (self.key,) if self.viewer is None else (self.key, self.viewer)


def _visible(key: str, outputs: Sequence[Output], seen: frozenset[bytes]) -> bool:
    """Whether consumers see one of the outputs already."""
    return any(f"{key}#{output.id}".encode() in seen for output in outputs)


def _out(key: bytes, output: Output, source: str, context: Headers) -> Out:
    headers = headers_of(output, key, source)
    if context:
        headers += context
    return Out(output.topic, key, output.value, headers)


@cache  # of few types
def _label(type_: str) -> tuple[str]:
    """Return the label of an event in the metrics: the last word of its CloudEvents type."""
    return (type_.rpartition(".")[2],)
