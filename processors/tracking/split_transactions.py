"""Repair of a transaction that Kafka ended in two ways: its states are lost, other parts are not.

Kafka may write commit markers for some parts of a transaction and abort markers for the rest, if
brokers die between two decisions (decision 16). Outputs or the group's offset are then committed,
and the states on `messages` are aborted. A later report of the same fact would be published again.
If the states are committed, and other parts are not, the states are left out of the restore
(incomplete_transactions.py), and are missing here too.

Each commit of the group's offset has a note as its metadata: when states were last written, and
from which offset. At recovery the note and the times of the outputs are compared with the newest
state. If states are missing, their observations are tracked again, without the outputs that
consumers see already.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition

from processors.dead_letters import record
from processors.runtime.exactly_once.offset_note import KEPT_MS, Note, Window
from processors.runtime.exactly_once.restore import OLDEST_MS
from processors.tracking.batch_types import Out, Reduced
from processors.tracking.incomplete_transactions import RECENT_MS, Committed
from processors.tracking.tracking_dead_letters import Letter, headers_of
from schemas.webhook import to_iso
from service.kafka import clients
from service.kafka.clock import clock
from service.kafka.read_to_end import read_to_end
from service.logger import logger
from service.settings import Settings

log = logger(__name__)

_SILENCE_SECONDS = 60
_POLL_MS = 100
_BATCH = 100
_FOREVER = 2**63 - 1
_STATE = b"state"
# More outputs than one transaction has: then the states of many transactions are missing.
_MOST = 100_000
Headers = Sequence[tuple[str, bytes]]
Identify = Callable[[bytes | None, Headers], bytes | None]


class Split(NamedTuple):
    """The offset and the note to continue with, and the identities of outputs to leave out.

    Records before `repaired_to` were committed before.
    """

    offset: int
    note: Note
    seen: frozenset[bytes] = frozenset()
    repaired_to: int = 0


def missing_from(note: Note, newest: int, committed: int, beginning: int, now: int) -> int | None:
    """Return the offset to continue at if the states of the note's transaction are missing.

    Return None if they are not. `newest` is the time of the newest visible state (0: none). The log
    of observations begins at `beginning`. After some days a state may be missing for another
    reason: it was deleted, and its tombstone was compacted.
    """
    if note.stamp <= max(newest, now - OLDEST_MS):
        return None
    begin = max(note.begin, beginning)
    return begin if begin <= committed else None


def periods(note: Note, newest: int, now: int) -> list[Window]:
    """Return the times of outputs to leave out: those without states, those left out before."""
    without_states = Window(max(newest, now - OLDEST_MS) + 1, _FOREVER)
    if note.window and now - note.window.last <= KEPT_MS:
        return [without_states, note.window]
    return [without_states]


def without(result: Reduced, seen: frozenset[bytes]) -> tuple[Reduced, frozenset[bytes]]:
    """Return a batch without the outputs that consumers see already, and the remaining identities.

    Each identity leaves out one output: an expired message may start again, with the same facts.
    """
    if not seen:
        return result, seen
    left = set(seen)
    gone: Counter[tuple[str, ...]] = Counter()

    def is_new(one: bytes | None) -> bool:
        if one not in left:
            return True
        left.remove(one)
        return False

    outputs: list[Out] = []
    for out in result.outputs:
        if is_new(output_id(out.key, out.headers)):
            outputs.append(out)
        elif out.topic == "events":
            gone[dict(out.headers)["ce_type"].decode().rpartition(".")[2],] += 1
    letters = [letter for letter in result.letters if is_new(_of_letter(letter))]
    counts = replace(result.counts, events=result.counts.events - gone)
    new = replace(result, outputs=outputs, letters=letters, counts=counts)
    return new, frozenset(left)


def output_id(key: bytes | None, headers: Headers) -> bytes | None:
    """Return the identity of an output: its key and its id, which depends on the fact alone.

    A reply to two messages is published for each, with the same id.
    """
    if key is None:
        return None
    for name, value in headers:  # for each output of each batch: quicker than a dictionary
        if name == "ce_id":
            return key + b"#" + value
    return None


def letter_id(_: bytes | None, headers: Headers) -> bytes | None:
    """Return the identity of a dead letter of tracking; None for one of normalise."""
    known = dict(headers)
    observed = known.get(record.OBSERVED)
    return None if observed is None else observed + b"#" + known.get(record.CODE, b"")


def identities(result: Reduced) -> frozenset[bytes | None]:
    """Return the identities of a batch's outputs and dead letters."""
    outputs = (output_id(out.key, out.headers) for out in result.outputs)
    return frozenset([*outputs, *(_of_letter(letter) for letter in result.letters)])


def _of_letter(letter: Letter) -> bytes | None:
    return letter_id(None, headers_of(letter))


async def committed(
    settings: Settings, source: TopicPartition, offset: int, note: Note
) -> Committed:
    """Return what is committed, and what is missing of the last transaction that wrote states.

    Outputs do not count as missing if retention may have deleted them. No transaction is open.
    """
    known = Committed(offset, note, clock.now() - RECENT_MS)
    if note.stamp < known.since:
        return known
    outputs = (*_outputs_of(settings), settings.topics.dead_letters)
    places = [TopicPartition(topic, source.partition) for topic in outputs]
    reader = clients.reader(settings)
    try:
        async with asyncio.timeout(_SILENCE_SECONDS):
            await clients.begin(reader, [settings.topics.messages, *outputs])
            deleted = await _may_be_deleted(reader, places, note.stamp)
            visible = _Visible(reader, settings, source.partition)
            await visible.read_all(Window(note.stamp, note.stamp))
    finally:
        await clients.leave(reader)
    has_states = _STATE in visible.ids
    seen = len(visible.ids) - has_states
    return known.compared(has_states=has_states, seen=note.outputs if deleted else seen)


async def last_time(settings: Settings, changelog: TopicPartition) -> int:
    """Return the time of the last visible record of a changelog, 0 without one."""
    reader = clients.reader(settings)
    try:
        async with asyncio.timeout(_SILENCE_SECONDS):
            await clients.begin(reader, [changelog.topic])
            reader.assign([changelog])
            [end] = (await reader.end_offsets([changelog])).values()
            [beginning] = (await reader.beginning_offsets([changelog])).values()
            last, step = 0, _BATCH
            while not last and (start := max(beginning, end - step)) < end:
                reader.seek(changelog, start)
                async for read in read_to_end(reader, {changelog: end}):
                    for record in read.records.get(changelog, ()):
                        last = record.timestamp
                # Markers, aborted records and compaction leave gaps.
                end, step = start, 10 * step
            return last
    finally:
        await clients.leave(reader)


async def _may_be_deleted(
    reader: AIOKafkaConsumer, places: Sequence[TopicPartition], time: int
) -> bool:
    """Whether one of the logs begins at or after a time because retention deleted records."""
    starts = await reader.offsets_for_times(dict.fromkeys(places, time))
    beginnings = await reader.beginning_offsets(places)
    ends = await reader.end_offsets(places)
    found = {place: ends[place] if at is None else at.offset for place, at in starts.items()}
    return any(0 < beginnings[place] == offset for place, offset in found.items())


async def find(
    settings: Settings,
    source: TopicPartition,
    committed: int,
    note: Note,
    newest: int,
    *,
    left_out: Collection[int] = (),
) -> Split:
    """Compare the states with the other committed parts; return how to continue.

    No transaction is open, and the store is restored; `newest` is the time of its newest state,
    `left_out` has the times of transactions whose states are not restored.
    """
    reader, now = clients.reader(settings), clock.now()
    try:
        async with asyncio.timeout(_SILENCE_SECONDS):
            await clients.begin(reader, [source.topic, *_outputs_of(settings)])
            [beginning] = (await reader.beginning_offsets([source])).values()
            back = missing_from(note, newest, committed, beginning, now)
            visible = _Visible(reader, settings, source.partition)
            without_states, *before = periods(note, newest, now)
            before += [Window(time, time) for time in sorted(left_out)]
            await visible.read_outputs(without_states)
            split = back is not None or bool(visible.ids or left_out)
            if split:
                first = min([visible.first, _FOREVER if back is None else note.stamp, *left_out])
                await visible.read_letters(Window(first, _FOREVER))
            for window in before:
                with contextlib.suppress(_TooManyError):  # then it spans two incidents
                    await visible.read_outputs(window)
                    await visible.read_letters(window)
    except _TooManyError:
        _warn_too_many(settings, source.partition)
        return Split(committed, note._replace(window=None))
    finally:
        await clients.leave(reader)
    offset = committed if back is None else back
    note, seen = note._replace(window=visible.window), frozenset(visible.ids)
    found = Split(offset, note, seen, 0 if back is None else committed)
    if split:
        last = max([visible.last, *left_out])
        _warn(settings, source.partition, found, last if back is None else note.stamp)
    return found


def _outputs_of(settings: Settings) -> tuple[str, ...]:
    topics = settings.topics
    return topics.statuses, topics.events, topics.inbound


def _warn(settings: Settings, partition: int, found: Split, time: int) -> None:
    log.warning(
        "transaction_split",
        topic=settings.topics.messages,
        partition=partition,
        time=to_iso(time),
        offset=found.offset,
        outputs=len(found.seen),
    )


def _warn_too_many(settings: Settings, partition: int) -> None:
    log.warning("states_missing", topic=settings.topics.messages, partition=partition, most=_MOST)


class _TooManyError(Exception):
    """More outputs are visible than are kept in memory."""


class _Visible:
    """The identities of the records that consumers see, and the times of the first and last."""

    def __init__(self, reader: AIOKafkaConsumer, settings: Settings, partition: int) -> None:
        self.ids: set[bytes] = set()
        self.first = _FOREVER
        self.last = 0
        self._reader = reader
        self._outputs, self._letters = _outputs_of(settings), settings.topics.dead_letters
        self._states = settings.topics.messages
        self._partition = partition

    @property
    def window(self) -> Window | None:
        return Window(self.first, self.last) if self.ids else None

    async def read_all(self, window: Window) -> None:
        """Read outputs, dead letters and states; all states have the same identity."""

        def identify(key: bytes | None, headers: Headers) -> bytes | None:
            state = None if key is None else _STATE
            return letter_id(key, headers) or output_id(key, headers) or state

        topics = [*self._outputs, self._letters, self._states]
        await self._read(topics, window, identify)

    async def read_outputs(self, window: Window) -> None:
        await self._read(self._outputs, window, output_id)

    async def read_letters(self, window: Window) -> None:
        await self._read([self._letters], window, letter_id)

    async def _read(self, topics: Iterable[str], window: Window, identify: Identify) -> None:
        """Read the records of a window.

        All questions come before the first fetch: a broker answers a connection's requests in
        order, and holds a fetch for half a second. A window is seldom without an offset, since
        Kafka finds transaction markers by time as well.
        """
        places = [TopicPartition(topic, self._partition) for topic in topics]
        times = dict.fromkeys(places, window.first)
        starts = {
            place: at.offset
            for place, at in (await self._reader.offsets_for_times(times)).items()
            if at is not None
        }
        if not starts:
            return
        ends = await self._reader.end_offsets(list(starts))
        self._reader.assign(list(starts))
        for place, offset in starts.items():
            self._reader.seek(place, offset)
        # A log may end in transaction markers: the position passes them, no record does.
        while left := [one for one in starts if await self._reader.position(one) < ends[one]]:
            got = await self._reader.getmany(*left, timeout_ms=_POLL_MS, max_records=_BATCH)
            for place, records in got.items():
                known = ((identify(r.key, r.headers), r.timestamp) for r in records)
                if not self._add(((one, at) for one, at in known if one is not None), window):
                    del starts[place]

    def _add(self, records: Iterable[tuple[bytes, int]], window: Window) -> bool:
        """Add the records in the window; return whether more of them may follow."""
        for one, at in records:
            if at > window.last:
                return False  # the tracker's times increase along a partition
            if at >= window.first:
                self.ids.add(one)
                self.first, self.last = min(self.first, at), max(self.last, at)
        if len(self.ids) > _MOST:
            raise _TooManyError
        return True
