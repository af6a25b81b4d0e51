"""A tracker's task as a machine of steps, in the order of its code in processors/tracking/.

partition_task.py has the order of a batch, recovery.py and commit_batch.py theirs.

`steps` pauses where the task awaits: there a schedule may kill it, freeze it, or run others. The
pure reduction of a batch is the real one.
"""

from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple, TypeVar, cast

from aiokafka import TopicPartition

from processors.runtime.exactly_once.changelog_headers import NOTE, TAKEN_TO
from processors.runtime.exactly_once.end_open_transactions import (
    Open,
    once_committed,
    was_committed,
)
from processors.runtime.exactly_once.offset_note import Note, Window
from processors.runtime.exactly_once.partition_store import Anchor
from processors.tracking.batch_types import Consumed, Reduced, Timer, Work
from processors.tracking.incomplete_transactions import RECENT_MS, Committed, LeftOut, stored
from processors.tracking.log_clock import horizon
from processors.tracking.reduce_batch import reduce
from processors.tracking.split_transactions import identities, missing_from, periods, without
from processors.tracking.timers import PATIENCE
from tests.simulation.connection import Connection, LostError
from tests.simulation.kafka_model import (
    GROUP,
    Broker,
    FencedError,
    Item,
    Record,
    RefusedError,
    Token,
)
from tests.simulation.rules import Rules
from tests.simulation.store_model import Store

T = TypeVar("T")

TRANSACTION_MS = 15_000
GRACE_MS = 60_000
OUTPUTS = ("statuses", "events", "inbound")
OUTPUT_TOPICS = ("messages", *OUTPUTS)
OLDEST_MS = 5 * 24 * 3_600_000
_BATCH = 4
_TIMERS = 2
_RESTORED = 3
_QUEUED = 2


class Answer(NamedTuple):
    """Kafka's answer to a fetch: records from a position, and the end of the log."""

    position: int
    records: Sequence[Record]
    stable: int
    at: int


class Worker:
    """One worker and its store: it runs until it is fenced, closed or killed."""

    def __init__(
        self,
        name: str,
        broker: Broker,
        connection: Connection,
        store: Store,
        *,
        rules: Rules,
        on_write: Callable[[Store], None],
    ) -> None:
        self.name = name
        self.store = store
        self.connection = connection
        self.position = 0
        self.fetched: Answer | None = None
        self.steps = self._run()
        self._broker = broker
        self._rules = rules
        self._on_write = on_write
        self._id = "track.0" if rules.id_by_partition else f"track.{name}"
        self._observations = broker.logs["observations"]
        self._producer: Token | None = None
        self._sequences: dict[str, int] = {}
        self._queue: deque[Sequence[Record]] = deque()
        self._fed = 0
        self._ready = False
        self._epoch = 0
        self._polled: int | None = None  # the epoch of the last poll
        self._answers = 0, 0  # when Kafka last answered, and when before that
        self._end: int | None = None  # the end of the log in that answer
        self._latest = 0
        self._losses = 0
        self._offset = 0
        self._note = Note()
        self._seen = frozenset[bytes]()
        self._left_out = set[int]()
        self._unrestored: list[bytes] = []

    # The consumer, which runs next to the task.

    def poll(self) -> None:
        """Begin a poll, if the task has room for more records."""
        if self._ready and len(self._queue) < _QUEUED:
            self._polled = self._epoch

    def fetch(self, most: int) -> None:
        """Let Kafka answer a fetch; the worker has not read the answer yet."""
        records = self._observations.committed(self.position, most)
        self.fetched = Answer(self.position, records, self._observations.stable, self._broker.now)

    def receive(self) -> bool:
        """Read the answer and feed its records to a waiting poll; return whether there were any."""
        answer, self.fetched = self.fetched, None
        if answer is None or answer.position != self.position:
            return False
        self._answers = self._answers[1], self._broker.now
        self._end = answer.stable
        if self._polled is None or not answer.records:
            return False
        self.position = answer.records[-1].offset + 1
        self._feed(answer.records, self._polled)
        self._polled = None
        return True

    def _feed(self, records: Sequence[Record], epoch: int) -> None:
        if self._rules.epochs and epoch != self._epoch:
            if self._ready:
                self.position = self._fed
            return
        self._queue.append(records)
        self._fed = records[-1].offset + 1

    # The task.

    def _run(self) -> Iterator[str]:
        while True:
            try:
                yield from self._recover()
                yield from self._work()
            except FencedError:
                self._producer, self._ready = None, False
                yield "fenced"
            except (RefusedError, LostError):
                self._ready = False
                yield "failed"

    def _recover(self) -> Iterator[str]:
        self._epoch += 1
        if self._rules.epochs:
            self._queue.clear()
        self._answers, self._end, self._latest = (0, 0), None, 0
        fed, note = self._broker.offset, self._broker.note
        if self._producer is None or self._rules.new_producer:
            yield "init"
            self._producer = self._call(self._broker.init, self._id, TRANSACTION_MS)
            self._sequences.clear()
            self._losses = self.connection.losses
        if self._rules.fence_first:
            yield "read offset"
            fed, note = self._call(lambda: (self._broker.offset, self._broker.note))
        self._fed = fed or 0
        note = yield from self._end_open(note)
        yield "check anchor"
        yield from self._restore(Note.of(note))
        yield "check for a split transaction"
        self._repair(Note.of(note))
        yield from self._write_again()
        self.position = self._fed
        self._ready = True

    def _repair(self, note: Note) -> None:
        """Go back if states are missing, as processors/tracking/split_transactions.py does."""
        newest, now = self.store.anchor.timestamp if self.store.anchor else 0, self._broker.now
        back = missing_from(note, newest, self._fed, 0, now)
        if back is not None and self._rules.go_back:
            self._fed = back
        visible = [
            record
            for window in (*periods(note, newest, now), *(Window(t, t) for t in self._left_out))
            for topic in OUTPUTS
            for record in self._broker.logs[topic].committed(0)
            if window.first <= record.time <= window.last
        ]
        if not self._rules.leave_out:
            visible = []
        times = [record.time for record in visible]
        window = Window(min(times), max(times)) if times else None
        self._offset, self._note = self._fed, note._replace(window=window)
        self._seen = frozenset(record.key + b"#" + record.note.encode() for record in visible)

    def _write_again(self) -> Iterator[str]:
        """Write the states again whose newer ones are left out, as partition_task.py does."""
        if self._unrestored:
            result = stored(self._unrestored, self.store.get, PATIENCE)
            anchor = yield from self._transaction(Work([], [], 0, 0), result)
            self._write(result.states, anchor, result.armed)

    def _end_open(self, note: str) -> Generator[str, None, str]:
        """End hanging transactions, as processors/tracking/end_open_transactions.py does."""
        while self._rules.end_open and (left := self._left_open()):
            yield "end a hanging transaction"
            commit = was_committed(left, self._fed, note)
            if not self._rules.ask_elsewhere:
                commit = False
            if commit:
                self._fed, note = once_committed(left, self._fed, note)
            yield from self._end_it(left, "committed" if commit else "aborted", note)
        return note

    def _end_it(
        self, left: Open, outcome: Literal["committed", "aborted"], note: str
    ) -> Iterator[str]:
        """Add its partitions, send the offset, end the transaction.

        An interruption aborts it, which is right for an abort. An interrupted commit would lose
        records, and decision 16 says why this cannot be prevented: here none is interrupted.
        """
        assert self._producer is not None
        token, parts = self._producer, [*(one.topic for one in left.places), GROUP]
        calls = [
            partial(self._broker.add, token, parts),
            partial(self._broker.commit_offset, token, self._fed, note),
            partial(self._broker.end, token, outcome),
        ]
        for call in calls:
            if outcome == "committed":
                call()
            else:
                yield "end it"
                self._call(call)
        yield "wait for markers"
        self._broker.write_markers(token.name)

    def _left_open(self) -> Open | None:
        logs = {topic: self._broker.logs[topic] for topic in OUTPUT_TOPICS}
        first = {p: log.written(log.stable)[0] for p, log in logs.items() if log.stable < log.end}
        if not first:
            return None
        time = min(record.time for record in first.values())
        parts = {p: r for p, r in first.items() if r.time == time}
        others = [log for topic, log in logs.items() if topic not in parts]
        seen = [r for log in others for r in log.committed(0) if r.time == time]
        found = [r.taken_to for r in (*parts.values(), *seen) if r.taken_to is not None]
        notes = (r.metadata for r in (*parts.values(), *seen) if r.metadata is not None)
        partitions = tuple(TopicPartition(topic, 0) for topic in parts)
        return Open(time, max(found, default=None), partitions, bool(seen), next(notes, None))

    def _restore(self, note: Note) -> Iterator[str]:
        """Restore the store, but for the states of incomplete transactions."""
        log = self._broker.logs["messages"]
        end = log.stable
        committed = whole(self._broker, note, self._fed)
        found = incomplete(self._broker, committed)
        self._left_out = found.times if self._rules.whole_only else set()
        self._unrestored = list(found.keys) if self._rules.whole_only else []
        left_out = {log.committed(0)[-1].time} if self._unrestored else set[int]()
        anchor = self.store.anchor
        if anchor is not None and not self._trusted(anchor, end):
            self.store.wipe()
            anchor = None
        if self.store.has_gaps:
            self.store.wipe()
            anchor = None
        if anchor is not None and left_out and committed.may_lack(anchor.timestamp):
            self.store.wipe()
            anchor = None
        position = anchor.offset + 1 if anchor else 0
        while position < end:
            yield "restore"
            records = log.committed(position, _RESTORED)
            if not records:
                return
            position = records[-1].offset + 1
            if any(record.time in left_out for record in records):
                self.store.note_gaps()
                records = [record for record in records if record.time not in left_out]
            if not records:
                continue
            self._write(
                {record.key: record.value for record in records},
                Anchor(records[-1].offset, records[-1].time),
                {r.key: int(r.note) for r in records if r.value is not None},
            )

    def _trusted(self, anchor: Anchor, end: int) -> bool:
        if self._rules.young_stores and anchor.timestamp < self._broker.now - OLDEST_MS:
            return False
        return not self._rules.check_anchor or self._knows(anchor, end)

    def _knows(self, anchor: Anchor, end: int) -> bool:
        if not 0 <= anchor.offset < end:
            return False
        found = self._broker.logs["messages"].committed(anchor.offset, 1)
        return bool(found) and Anchor(found[0].offset, found[0].time) == anchor

    def _work(self) -> Iterator[str]:
        while True:
            self._refuse_loss()
            work = self._next()
            if work is None:
                yield "idle"
            else:
                yield from self._batch(work)

    def _next(self) -> Work | None:
        now = self._broker.now
        horizon = self._horizon(now)
        records: list[Record] = []
        while self._queue and len(records) < _BATCH:
            records += self._queue.popleft()
        timers = self.store.due(horizon, _TIMERS)
        if not records and not timers:
            return None
        return Work(cast("list[Consumed]", records), timers, now, horizon)

    def _horizon(self, now: int) -> int:
        quiet = self.quiet_until() if self._rules.log_time else now
        return horizon(self._latest, quiet, now, GRACE_MS if self._rules.grace else 0)

    def quiet_until(self) -> int | None:
        """Until when all records of the log had been taken, Unix ms; None if there are more."""
        if self._queue or self._end is None or self.position < self._end:
            return None
        return self._answers[0 if self._rules.answer_before else 1]

    def _batch(self, work: Work) -> Iterator[str]:
        yield "reduce"
        result = _driven(reduce(work, self.store.get))
        anchor = None
        if work.records or result.states:
            self._refuse_loss()
            self.connection.most = self.connection.losses if self._rules.leave_after_loss else None
            try:
                anchor = yield from self._transaction(work, result)
            finally:
                self.connection.most = None
        if self._rules.commit_first:
            yield "write store"
            self._write(result.states, anchor, result.armed, result.spent)
        self._latest = max(self._latest, result.latest)
        if rest := work.records[result.taken :]:
            self._queue.appendleft(cast("Sequence[Record]", rest))
        self._refuse_loss()

    def _refuse_loss(self) -> None:
        if self.connection.losses > self._losses and self._rules.leave_after_loss:
            raise LostError

    def _transaction(self, work: Work, result: Reduced) -> Generator[str, None, Anchor | None]:
        assert self._producer is not None
        now, token = self._broker.time(), self._producer
        offset = work.records[result.taken - 1].offset + 1 if result.taken else None
        new, left = without(result, self._seen)
        note = self._note.after(
            now,
            self._offset,
            states=bool(result.states),
            seen=bool(self._seen),
            outputs=len(identities(new)),
        )
        if not self._rules.keep_window:
            note = note._replace(window=None)
        offset = self._offset if offset is None else offset
        outgoing = _outgoing(new, now, offset, note.metadata)
        if not self._rules.offset_inside:
            self._broker.offset = offset
        yield "begin"
        self._call(self._broker.add, token, list(outgoing))
        ends = yield from self._send(token, outgoing)
        end = ends.get("messages")
        anchor = None if end is None else Anchor(end - 1, now)
        if self._rules.offset_inside:
            yield "add offset"
            self._call(self._broker.add, token, [GROUP])
            yield "send offset"
            self._call(self._broker.commit_offset, token, offset, note.metadata)
        if not self._rules.commit_first:
            self._write(result.states, anchor, result.armed, result.spent)
        yield "commit"
        self._call(self._broker.end, token, "committed")
        self._offset, self._note = offset, note
        self._seen = left if note.window or not self._rules.keep_window else frozenset()
        return anchor

    def _send(
        self, token: Token, outgoing: Mapping[str, Sequence[Item]]
    ) -> Generator[str, None, dict[str, int | None]]:
        """Send everything, then check the deliveries."""
        ends: dict[str, int | None] = {}
        failures: list[Exception] = []
        for topic, items in outgoing.items():
            yield f"send {topic}"
            sequence = self._sequences.get(topic, 0)
            self._sequences[topic] = sequence + len(items)
            try:
                first = self._call(self._broker.produce, token, topic, items, sequence)
            except (RefusedError, LostError) as error:
                failures.append(error)
            else:
                ends[topic] = None if first is None else first + len(items)
        if failures and self._rules.look_at_deliveries:
            raise failures[0]
        return ends

    def _write(
        self,
        states: Mapping[bytes, bytes | None],
        anchor: Anchor | None,
        armed: Mapping[bytes, int],
        spent: Sequence[Timer] = (),
    ) -> None:
        if self._rules.one_write:
            self.store.write(states, anchor, armed, spent)
        else:
            self.store.write(states, anchor, {})
            self.store.write({}, None, armed, spent)
        self._on_write(self.store)

    def _call(self, request: Callable[..., T], *given: Any) -> T:
        return self.connection.call(request, *given)


def whole(broker: Broker, note: Note, offset: int) -> Committed:
    """Return what is committed, and whether outputs of its transaction are missing."""
    visible = [r for topic in OUTPUTS for r in broker.logs[topic].committed(0)]
    seen = {(r.key, r.note) for r in visible if r.time == note.stamp}
    known = Committed(offset, note, broker.now - RECENT_MS)
    if note.stamp < known.since:
        return known
    has_states = any(r.time == note.stamp for r in broker.logs["messages"].committed(0))
    return known.compared(has_states=has_states, seen=len(seen))


def incomplete(broker: Broker, committed: Committed) -> LeftOut:
    """Return which states of the log are left out, after all of it is read."""
    records = broker.logs["messages"].committed(0)
    left_out = LeftOut(committed, records[-1].time if records else 0)
    for record in records:
        left_out(cast("Any", _Headed(record)))
    return left_out


class _Headed:
    """A record of the model with what `LeftOut` reads of a real one."""

    def __init__(self, record: Record) -> None:
        self.timestamp = record.time
        self.key = record.key
        self.headers: list[tuple[str, bytes]] = []
        if record.taken_to is not None:
            self.headers.append((TAKEN_TO, b"%d" % record.taken_to))
            self.headers.append((NOTE, (record.metadata or "").encode()))


def _outgoing(result: Reduced, now: int, offset: int, metadata: str) -> dict[str, list[Item]]:
    """Return the records of a batch by topic: outputs first, then the changelog."""
    outgoing: dict[str, list[Item]] = {}
    headers: tuple[Any, ...] = (offset, metadata)
    for out in result.outputs:
        item = Item(out.key, out.value, now, dict(out.headers)["ce_id"].decode())
        outgoing.setdefault(out.topic, []).append(item)
    for key, value in result.states.items():
        note = str(result.armed[key]) if value is not None else ""
        outgoing.setdefault("messages", []).append(Item(key, value, now, note, *headers))
        headers = ()
    return outgoing


def _driven(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that awaits only the event loop's next turn."""
    while True:
        try:
            work.send(None)
        except StopIteration as done:
            result: T = done.value
            return result
