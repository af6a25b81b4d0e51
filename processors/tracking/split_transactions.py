"""Repair of a transaction that Kafka ended in two ways: its states are lost, other parts are not.

Kafka may write commit markers for some parts of a transaction and abort markers for the rest, if
brokers die between two decisions (decision 16). Outputs or the group's offset are then committed,
and the states on `messages` are aborted. A later report of the same fact would be published again.

Each commit of the group's offset has a note as its metadata: when states were last written, and
from which offset. At recovery the note and the times of the outputs are compared with the newest
state. If states are missing, their observations are tracked again, without the outputs that
consumers see already.
"""

import asyncio
import contextlib
import logging
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple, Self

from aiokafka import AIOKafkaConsumer, TopicPartition

from processors.dead_letters import record
from processors.tracking.batch import Reduced
from processors.tracking.restore import OLDEST_MS
from processors.tracking.set_aside import Letter, headers_of
from schemas.webhook import to_iso
from service.kafka import clients
from service.kafka.clock import clock
from service.settings import Settings

log = logging.getLogger(__name__)

_SILENCE_SECONDS = 60
_POLL_MS = 100
_BATCH = 100
_FOREVER = 2**63 - 1
# More outputs than one transaction has: then it is not one transaction whose states are missing.
_MOST = 100_000
# After so long, no output is left out any more.
_KEPT_MS = 24 * 3_600_000

_NUMBER = r":(\d{1,18})"
_NOTE = re.compile(f"1{_NUMBER * 3}(?:{_NUMBER * 2})?", re.ASCII)

Headers = Sequence[tuple[str, bytes]]
Identify = Callable[[bytes | None, Headers], bytes | None]


class Window(NamedTuple):
    """The times of the first and the last of some transactions, Unix milliseconds."""

    first: int
    last: int


class Note(NamedTuple):
    """What is committed with the group's offset, as its metadata.

    `time` is that of the transaction, Unix milliseconds (0: not known), `stamp` that of the newest
    transaction that wrote states, `begin` the offset that was committed before that one. While
    observations are tracked again, `window` has the times of the outputs that were visible before.
    """

    time: int = 0
    stamp: int = 0
    begin: int = 0
    window: Window | None = None

    @classmethod
    def of(cls, metadata: str) -> Self:
        """Read it; metadata of another program, or of another format, tells nothing."""
        found = _NOTE.fullmatch(metadata)
        if not found:
            return cls()
        time, stamp, begin, first, last = (int(each or 0) for each in found.groups())
        return cls(time, stamp, begin, Window(first, last) if last else None)

    @property
    def metadata(self) -> str:
        parts = (1, self.time, self.stamp, self.begin, *(self.window or ()))
        return ":".join(map(str, parts))

    @property
    def latest(self) -> int:
        """The latest time it names."""
        return max(self.time, self.window.last if self.window else 0)

    def after(self, time: int, begin: int, *, states: bool, seen: bool) -> Self:
        """The note of the next transaction, of that time, which begins at that offset.

        `states` says whether it writes states, `seen` whether outputs may be left out of it: if
        this one is split too, they are left out again.
        """
        window = self.window if seen else None
        if window and time - window.last > _KEPT_MS:
            window = None
        if states:
            return type(self)(time, time, begin, window)
        return self._replace(time=time, window=window)


class Split(NamedTuple):
    """Where to go on, the note to go on with, and the identities of outputs to leave out."""

    offset: int
    note: Note
    seen: frozenset[bytes] = frozenset()


def missing_from(note: Note, newest: int, committed: int, beginning: int, now: int) -> int | None:
    """The offset at which to go on, as the states of the note's transaction are missing.

    None if they are not. `newest` is the time of the newest visible state (0: there is none); the
    log of observations begins at `beginning`. After some days a state may be missing for another
    reason: it was dropped, and its tombstone is gone too.
    """
    if note.stamp <= max(newest, now - OLDEST_MS):
        return None
    begin = max(note.begin, beginning)
    return begin if begin <= committed else None


def periods(note: Note, newest: int, now: int) -> list[Window]:
    """The times of outputs to leave out: those without states, and those left out before."""
    without_states = Window(max(newest, now - OLDEST_MS) + 1, _FOREVER)
    if note.window and now - note.window.last <= _KEPT_MS:
        return [without_states, note.window]
    return [without_states]


def without(result: Reduced, seen: frozenset[bytes]) -> tuple[Reduced, frozenset[bytes]]:
    """A batch without the outputs that consumers see already, and the identities left.

    Each leaves out one output: a message that expired begins again, with the same facts.
    """
    if not seen:
        return result, seen
    left = set(seen)

    def is_new(one: bytes | None) -> bool:
        if one not in left:
            return True
        left.remove(one)
        return False

    new = replace(
        result,
        outputs=[out for out in result.outputs if is_new(output_id(out.key, out.headers))],
        letters=[letter for letter in result.letters if is_new(_of_letter(letter))],
    )
    return new, frozenset(left)


def output_id(key: bytes | None, headers: Headers) -> bytes | None:
    """What identifies an output: its key and its id, which depends on the fact alone.

    A reply to two messages is published for each, with the same id.
    """
    id_ = dict(headers).get("ce_id")
    return None if key is None or id_ is None else key + b"#" + id_


def letter_id(_: bytes | None, headers: Headers) -> bytes | None:
    """What identifies a dead letter of tracking; None if it is one of normalising."""
    known = dict(headers)
    observed = known.get(record.OBSERVED)
    return None if observed is None else observed + b"#" + known.get(record.CODE, b"")


def _of_letter(letter: Letter) -> bytes | None:
    return letter_id(None, headers_of(letter))


async def find(
    settings: Settings, source: TopicPartition, committed: int, note: Note, newest: int
) -> Split:
    """Compare the states with what is committed beside them; where and how to go on.

    Nothing is open any more, and the store is restored; `newest` is the time of its newest state.
    """
    reader, now = clients.reader(settings), clock.now()
    try:
        async with asyncio.timeout(_SILENCE_SECONDS):
            await reader.start()
            [beginning] = (await reader.beginning_offsets([source])).values()
            back = missing_from(note, newest, committed, beginning, now)
            visible = _Visible(reader, settings, source.partition)
            without_states, *before = periods(note, newest, now)
            await visible.look_at_outputs(without_states)
            split = back is not None or bool(visible.ids)
            if split:
                first = min(visible.first, _FOREVER if back is None else note.stamp)
                await visible.look_at_letters(Window(first, _FOREVER))
            for window in before:
                with contextlib.suppress(_TooManyError):  # then it spans two accidents
                    await visible.look_at_outputs(window)
                    await visible.look_at_letters(window)
    except _TooManyError:
        _refuse(settings, source.partition)
        return Split(committed, note._replace(window=None))
    finally:
        await clients.leave(reader)
    offset = committed if back is None else back
    found = Split(offset, note._replace(window=visible.window), frozenset(visible.ids))
    if split:
        _warn(settings, source.partition, found, visible.last if back is None else note.stamp)
    return found


def _warn(settings: Settings, partition: int, found: Split, time: int) -> None:
    log.warning(
        "partition %d: Kafka committed parts of a transaction of %s, but not its states on %s; "
        "observations are tracked again from offset %d, without the %d outputs that are visible "
        "already",
        partition,
        to_iso(time),
        settings.topics.messages,
        found.offset,
        len(found.seen),
    )


def _refuse(settings: Settings, partition: int) -> None:
    log.warning(
        "partition %d: more than %d outputs are newer than the newest state on %s: the states of "
        "many transactions are missing and are not restored; repeated reports of their facts are "
        "published again",
        partition,
        _MOST,
        settings.topics.messages,
    )


class _TooManyError(Exception):
    """More is visible than is kept in memory."""


class _Visible:
    """The identities of the records that consumers see, and the times of the first and last."""

    def __init__(self, reader: AIOKafkaConsumer, settings: Settings, partition: int) -> None:
        self.ids: set[bytes] = set()
        self.first = _FOREVER
        self.last = 0
        self._reader = reader
        self._topics = settings.topics
        self._partition = partition

    @property
    def window(self) -> Window | None:
        return Window(self.first, self.last) if self.ids else None

    async def look_at_outputs(self, window: Window) -> None:
        for topic in (self._topics.statuses, self._topics.events, self._topics.inbound):
            await self._look(topic, window, output_id)

    async def look_at_letters(self, window: Window) -> None:
        await self._look(self._topics.dead_letters, window, letter_id)

    async def _look(self, topic: str, window: Window, identify: Identify) -> None:
        place = TopicPartition(topic, self._partition)
        [at] = (await self._reader.offsets_for_times({place: window.first})).values()
        if at is None:
            return
        self._reader.assign([place])
        self._reader.seek(place, at.offset)
        [end] = (await self._reader.end_offsets([place])).values()
        # The log may end in transaction markers: the position passes them, records do not.
        while await self._reader.position(place) < end:
            got = await self._reader.getmany(place, timeout_ms=_POLL_MS, max_records=_BATCH)
            known = ((identify(r.key, r.headers), r.timestamp) for r in got.get(place, []))
            if not self._take(((one, at) for one, at in known if one is not None), window):
                return

    def _take(self, records: Iterable[tuple[bytes, int]], window: Window) -> bool:
        """Note what lies in the window; whether more of it may follow."""
        for one, at in records:
            if at > window.last:
                return False  # the tracker's times increase along a partition
            if at >= window.first:
                self.ids.add(one)
                self.first, self.last = min(self.first, at), max(self.last, at)
        if len(self.ids) > _MOST:
            raise _TooManyError
        return True
