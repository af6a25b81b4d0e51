"""States of a transaction whose other parts Kafka aborted: they are not restored.

Kafka may end one transaction in two ways (decision 16). If the states are committed, and the
offset or some outputs are not, a restore would make the facts known, and these outputs would never
be published. So such states are left out: their observations are tracked again, without the outputs
that consumers see already (split_transactions.py). The states before them are written again first,
so that a later restore finds these, whatever it leaves out.
"""

from collections.abc import Sequence
from typing import NamedTuple, Self

from aiokafka import ConsumerRecord

from processors.runtime.exactly_once.changelog_headers import NOTE, TAKEN_TO, header_number
from processors.runtime.exactly_once.offset_note import Note
from processors.tracking import timers
from processors.tracking.batch_states import Read, States
from processors.tracking.batch_types import Reduced
from processors.tracking.timers import Patience
from schemas.codec import encode
from schemas.records import MessageState, message_of
from schemas.topics import COMPACTION_LAG_MS

# Older states are restored in any case: compaction may have removed the ones before them.
RECENT_MS = COMPACTION_LAG_MS - 10 * 60_000


class Committed(NamedTuple):
    """What the group has committed: its offset, and the note that is the offset's metadata.

    `incomplete`: states or outputs are missing of the note's last transaction that wrote states.
    Then `offset` is the one that was committed before it. Transactions before `since`, in Unix
    milliseconds, count as complete.
    """

    offset: int
    note: Note
    since: int
    incomplete: bool = False

    def compared(self, *, has_states: bool, seen: int) -> Self:
        """Take what consumers see of the note's transaction: states, the number of its outputs."""
        if has_states and seen >= self.note.outputs:
            return self
        return self._replace(offset=min(self.offset, self.note.begin), incomplete=True)

    def lacks(self, time: int, begin: int, taken_to: int) -> bool:
        """Whether the offset or outputs of a transaction with visible states are missing.

        `time` is that of its records, `begin` the offset that was committed before it, `taken_to`
        the one that it was to commit. Each transaction commits an offset with a note, so a newer
        one has not committed its own. While its observations are tracked again, in several
        transactions, those commit smaller offsets. A transaction that began beyond the committed
        offset was committed: the offset was lost later, or set by hand.
        """
        if time < self.since:
            return False
        if not self.note.time:
            return begin == self.offset  # the first transaction; else the offset was set by hand
        if begin <= self.offset and (taken_to > self.offset or time > self.note.time):
            return True
        # Timers alone commit the same offset again, so it does not tell these from one another.
        same = begin == taken_to == self.offset or time == self.note.stamp
        return self.incomplete and same

    def may_lack(self, time: int) -> bool:
        """Whether a store may hold states that are left out; `time` is that of its last record."""
        return time >= self.since and (time > self.note.time or self.incomplete)


class LeftOut:
    """The states to leave out of a restore of `messages`; call it with each record, in order.

    Only those of the last transaction, if it has outputs that may be lost: a later one builds on
    the states before it. `times` has all that are incomplete: their visible outputs are not
    published again.
    """

    def __init__(self, committed: Committed, last: int) -> None:
        """`last` is the time of the last visible state, 0 without one."""
        self.times: set[int] = set()
        self.keys: dict[bytes, None] = {}  # in their order
        self._committed = committed
        self._last = last
        self._leaves = False

    def __call__(self, record: ConsumerRecord[bytes, bytes]) -> bool:
        """Whether the state is left out: one of the same transaction, and so of the same time."""
        time = record.timestamp
        if time < self._committed.since:
            return False
        taken_to = header_number(record, TAKEN_TO)  # the first state of a transaction has it
        if taken_to is not None:
            note = Note.of(dict(record.headers).get(NOTE, b"").decode())
            if self._committed.lacks(time, note.begin, taken_to):
                self.times.add(time)
                # Only if all of its observations are tracked again.
                again = note.begin == self._committed.offset
                self._leaves |= again and time == self._last and note.outputs > 0
        if time != self._last or not self._leaves:
            return False
        if record.key is not None:
            self.keys[record.key] = None
        return True


def stored(keys: Sequence[bytes], read: Read, patience: Patience) -> Reduced:
    """Return a batch that writes the stored states of some keys again, None for one without."""
    states = States(read)
    names = [key.decode() for key in keys]
    states.load([*names, *map(message_of, names)])
    result = Reduced()
    for key, name in zip(keys, names, strict=True):
        if states.unusable(name) or states.unusable(message_of(name)):
            continue
        state, message = states.after(name), states.message(message_of(name))
        result.states[key] = None if state is None else encode(state)
        if isinstance(state, MessageState):
            result.armed[key] = timers.due(state, patience)
        elif state is not None:
            result.armed[key] = 0 if message is None else timers.outlives(message)
    return result
