"""The tracker's local store: the states of one partition, a cache of the `messages` topic.

Beside the anchor are the counts of messages (standing.py), written with every change of them. They
name the anchor that they belong to: an earlier version of Bluetick that writes to the store moves
the anchor alone, and the restore counts again.

Next to the states is an index of timers: the time at which to check each state. An entry may be
obsolete, as the state has changed since; it costs one check. Every timer has an entry.
"""

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from aiokafka import ConsumerRecord
from rocksdict import Rdict, ReadOptions, WriteBatch

from processors.runtime.exactly_once.changelog_headers import NEXT_TIMER, header_number
from processors.runtime.exactly_once.partition_store import Anchor, PartitionStore, put_all
from processors.tracking.batch_types import Timer
from processors.tracking.standing import Standing, change, of_stored
from providers import NAMES
from service.metrics.labels import CHANNELS

_FORMAT = 3
# State keys are message keys, which begin with a provider's name: they never begin with \x00.
_COUNTS = b"\x00counts"
_FIRST_STATE = b"\x01"
# An entry of the index: this, eight bytes of Unix milliseconds, the message key.
_TIMER = b"\x00timer"
_HEAD = len(_TIMER) + 8
_NEVER = 2**63 - 1
_STEP = 500  # messages counted at a time


class Store(PartitionStore):
    """States by message key, both as bytes, the timers, and the anchor."""

    def __init__(self, directory: Path, identity: str) -> None:
        """Open or create the store; `identity` names its changelog partition."""
        self._read_options = ReadOptions()
        self._read_options.set_iterate_upper_bound(_TIMER + b"\xff" * 9)
        # The known start of the index: before it there are only tombstones of used entries. To skip
        # a million of them at each read would take ever longer.
        self._first = _TIMER
        super().__init__(directory, f"{_FORMAT} {identity}")
        # The number of messages by what they count as; None if they must be counted.
        self.counts: Counter[Standing] | None = self._stored_counts()

    async def prepare_restore(self) -> None:
        """Count what the store holds; an empty one is counted once, at the end of the restore."""
        if self.anchor is None:
            self.counts = None  # counting once costs less than each change
        elif self.counts is None:
            await self._count_messages()

    async def finish_restore(self) -> None:
        """Count the messages, if they are not counted yet."""
        if self.counts is None:
            await self._count_messages()

    async def _count_messages(self) -> None:
        for _ in self.count():
            await asyncio.sleep(0)

    def restored(self, records: Sequence[ConsumerRecord[bytes, bytes]]) -> None:
        """Write records of the changelog; a state without a timer's header is due at once."""
        last = Anchor(records[-1].offset, records[-1].timestamp)
        states = {record.key: record.value for record in records if record.key is not None}
        armed = {
            r.key: header_number(r, NEXT_TIMER) or 0
            for r in records
            if r.key and r.value is not None
        }
        counted = self.counts is not None
        difference = self.change_from(states) if counted else None
        self.write(states, last, armed, difference=difference)

    def count(self) -> Iterator[None]:
        """Count all messages, in steps; nothing else may write meanwhile."""
        found: Counter[Standing] = Counter()
        entries = self._db.iter(ReadOptions())
        entries.seek(_FIRST_STATE)
        for number in itertools.count(1):
            if not entries.valid():
                break
            found.update(of_stored(entries.key(), entries.value()))
            entries.next()
            if number % _STEP == 0:
                yield
        self._read(lambda: self._db.put(_COUNTS, _count_record(found, self.anchor)))
        self.counts = found

    def change_from(self, states: Mapping[bytes, bytes | None]) -> Counter[Standing]:
        """Return the difference that stored states make to the counts, when they are written."""
        known = self._read(lambda: list(self._db.get(list(states)) or ()))
        difference: Counter[Standing] = Counter()
        for (key, value), before in zip(states.items(), known, strict=True):
            was, now = of_stored(key, before), of_stored(key, value)
            if was != now:
                difference.update(change(was, now))
        return difference

    def due(self, until: int, most: int) -> list[Timer]:
        """Return the first `most` timers due at `until` (Unix ms) or before."""
        return self._read(lambda: list(islice(self._timers(until), most)))

    def write(
        self,
        states: Mapping[bytes, bytes | None],
        anchor: Anchor | None,
        armed: Mapping[bytes, int] | None = None,
        spent: Iterable[Timer] = (),
        difference: Mapping[Standing, int] | None = None,
    ) -> None:
        """Write states (None deletes one) and the anchor, all or nothing.

        `armed` has, by key, the time at which to check a state (Unix ms); `spent` timers are
        deleted. `difference` is what the states change in the counts.
        """
        batch = WriteBatch(raw_mode=True)
        put_all(batch, states)
        for timer in spent:
            batch.delete(_entry(timer.due, timer.key.encode()))
        for key, at in (armed or {}).items():
            entry = _entry(at, key)
            batch.put(entry, b"")
            self._first = min(self._first, entry)
        counts = self.counts
        if counts is not None and (difference or anchor is not None):
            counts = counts.copy()
            counts.update(difference)
            batch.put(_COUNTS, _count_record(counts, anchor or self.anchor))
        self._commit(batch, anchor)
        self.counts = counts

    def wipe(self) -> None:
        """Delete everything; the next restore starts from the beginning of the log."""
        super().wipe()
        self.counts = None

    def _stored_counts(self) -> Counter[Standing] | None:
        """Return the stored counts; None if there are none of this anchor and these labels."""
        value = self._read(lambda: self._db.get(_COUNTS))
        if value is None:
            return None
        found = json.loads(value)
        counts = {Standing(provider, channel): n for provider, channel, n in found["counts"]}
        return Counter(counts) if value == _count_record(Counter(counts), self.anchor) else None

    def _timers(self, until: int) -> Iterator[Timer]:
        """Yield the entries of the index in order, and keep its start."""
        entries = self._db.iter(self._read_options)
        entries.seek(self._first)
        first = True
        while entries.valid():
            key = entries.key()
            if first:
                self._first, first = key, False
            due = int.from_bytes(key[len(_TIMER) : _HEAD])
            if due > until:
                return
            yield Timer(due, key[_HEAD:].decode())
            entries.next()

    def _open_empty(self) -> Rdict:
        self._first = _TIMER
        return super()._open_empty()


def _count_record(counts: Counter[Standing], anchor: Anchor | None) -> bytes:
    """Return the counts as stored, with the anchor and the labels that they belong to."""
    return json.dumps(
        {
            "anchor": anchor and [*anchor],
            "labels": [*NAMES, *CHANNELS],
            "counts": [[*one, number] for one, number in counts.items() if number],
        }
    ).encode()


def _entry(due: int, key: bytes) -> bytes:
    # A time outside of the range of clocks is checked first, or never.
    return _TIMER + min(max(due, 0), _NEVER).to_bytes(8) + key
