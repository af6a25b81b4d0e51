"""The note of a commit about states, and the repair of missing states."""

from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.runtime.exactly_once.offset_note import Note, Window
from processors.tracking.batch_counts import Counts
from processors.tracking.batch_types import Out, Reduced
from processors.tracking.split_transactions import missing_from, periods, without
from processors.tracking.tracking_dead_letters import Letter, unreadable_record

DAY = 24 * 3_600_000
NOW = 100 * DAY
FOREVER = 2**63 - 1

NUMBERS = st.integers(0, 10**18 - 1)
WINDOWS = st.none() | st.builds(Window, NUMBERS, NUMBERS.filter(bool))
NOTES = st.builds(Note, NUMBERS, NUMBERS, NUMBERS, WINDOWS, st.integers(0, 10**6))


@given(NOTES)
def test_a_note_is_read_as_it_was_written(note: Note) -> None:
    """The metadata of the offset has all fields, in less than 100 bytes."""
    assert Note.of(note.metadata) == note
    assert len(note.metadata) < 110


def test_a_note_of_the_first_format_has_no_number_of_outputs() -> None:
    """A release before wrote it."""
    assert Note.of("1:70:60:3") == Note(70, 60, 3)
    assert Note.of("1:70:60:3:50:60") == Note(70, 60, 3, WINDOW)


@pytest.mark.parametrize(
    "metadata",
    ["", "another program's", "2:5:5:5", "3:5:5:5:5", "1:5:5", "1:5:-5:6", "1:5:6:7:8", "1:5:٣:4"],
)
def test_other_metadata_is_no_note(metadata: str) -> None:
    """An offset set by hand, or by another version, is used unchanged."""
    assert Note.of(metadata) == Note()
    assert missing_from(Note.of(metadata), 0, 9, 0, NOW) is None


@pytest.mark.parametrize(
    ("note", "newest", "committed", "beginning", "expected"),
    [
        (Note(NOW, NOW, 5), NOW, 9, 0, None),  # the newest state is of that transaction
        (Note(NOW, NOW, 5), NOW + 1, 9, 0, None),  # timers wrote a state after it
        (Note(NOW, NOW, 5), NOW - 1, 9, 0, 5),
        (Note(NOW, NOW, 5), 0, 9, 0, 5),  # the first transaction
        (Note(NOW, NOW, 0), 0, 9, 0, 0),
        (Note(NOW, NOW, 9), NOW - 1, 9, 0, 9),  # no record, timers only
        (Note(NOW, NOW, 5), NOW - 1, 9, 7, 7),  # retention deleted its first records
        (Note(NOW, NOW, 5), NOW - 1, 9, 12, None),
        (Note(NOW, NOW, 5), NOW - 1, 3, 0, None),  # the offset was set back
        (Note(), 0, 9, 0, None),
        (Note(NOW - 4 * DAY, NOW - 4 * DAY, 5), NOW - 50 * DAY, 9, 0, 5),
        (
            Note(NOW - 6 * DAY, NOW - 6 * DAY, 5),
            NOW - 50 * DAY,
            9,
            0,
            None,
        ),  # or a tombstone that is gone
    ],
)
def test_states_are_missing_if_the_newest_is_older_than_the_note(
    note: Note, newest: int, committed: int, beginning: int, expected: int | None
) -> None:
    """Then their observations are tracked again."""
    assert missing_from(note, newest, committed, beginning, NOW) == expected


@pytest.mark.parametrize(
    ("note", "newest", "expected"),
    [
        (Note(), NOW - 5, [Window(NOW - 4, FOREVER)]),
        (Note(), 0, [Window(NOW - 5 * DAY + 1, FOREVER)]),
        (
            Note(NOW, NOW, 5, Window(NOW - 20, NOW - 10)),
            NOW - 5,
            [Window(NOW - 4, FOREVER), Window(NOW - 20, NOW - 10)],
        ),
        (
            Note(NOW, NOW, 5, Window(NOW - 3 * DAY, NOW - 2 * DAY)),
            NOW - 5,
            [Window(NOW - 4, FOREVER)],
        ),
    ],
)
def test_outputs_without_states_are_left_out(
    note: Note, newest: int, expected: list[Window]
) -> None:
    """After a second incident, the outputs left out before are left out again."""
    assert periods(note, newest, NOW) == expected


WINDOW = Window(50, 60)


@pytest.mark.parametrize(
    ("before", "time", "states", "seen", "expected"),
    [
        (Note(), 70, True, False, Note(70, 70, 4)),
        (Note(), 70, False, False, Note(70, 0, 0)),
        (Note(60, 60, 3), 70, True, False, Note(70, 70, 4)),
        (Note(60, 60, 3), 70, False, False, Note(70, 60, 3)),  # it knew all its facts
        (Note(60, 60, 3, WINDOW), 70, True, True, Note(70, 70, 4, WINDOW)),
        (Note(60, 60, 3, WINDOW), 70, False, True, Note(70, 60, 3, WINDOW)),
        (
            Note(60, 60, 3, WINDOW),
            70,
            True,
            False,
            Note(70, 70, 4),
        ),  # the one before left out the last
        (Note(60, 60, 3, WINDOW), 61 + DAY, True, True, Note(61 + DAY, 61 + DAY, 4)),
    ],
)
def test_the_note_of_the_next_transaction(
    before: Note,
    time: int,
    states: bool,  # noqa: FBT001
    seen: bool,  # noqa: FBT001
    expected: Note,
) -> None:
    """It names the transaction if it writes states, the window while outputs are left out."""
    assert before.after(time, 4, states=states, seen=seen) == expected


def _out(topic: str, identity: bytes, key: bytes = b"key") -> Out:
    type_ = b"bluetick.message.late"
    return Out(topic, key, b"{}", [("ce_id", identity), ("ce_type", type_)])


@dataclass
class _Consumed:
    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None


def _letter(offset: int, value: bytes = b"no") -> Letter:
    record = _Consumed("observations", 1, offset, b"key", value)
    return unreadable_record(record, "it is no JSON", None)


SEEN = frozenset([b"key#a", b"key#c", b"observations/1/7#not_an_observation"])


def test_outputs_that_are_visible_are_left_out() -> None:
    """Outputs that consumers see already are left out; each identity is used once."""
    batch = Reduced(
        taken=3,
        outputs=[_out("statuses", b"a"), _out("events", b"b"), _out("inbound", b"c", b"other")],
        letters=[_letter(7), _letter(8)],
        states={b"key": b"{}"},
    )
    new, left = without(batch, SEEN)
    assert new.outputs == [_out("events", b"b"), _out("inbound", b"c", b"other")]
    assert new.letters == [_letter(8)]
    assert (new.taken, new.states) == (batch.taken, batch.states)
    assert left == {b"key#c"}


def test_an_identity_leaves_out_one_output() -> None:
    """A second output with the same id, after an expiry, is new."""
    batch = Reduced(outputs=[_out("statuses", b"a")] * 2)
    new, left = without(batch, frozenset([b"key#a"]))
    assert (new.outputs, left) == ([_out("statuses", b"a")], frozenset())


def test_an_event_that_is_left_out_is_not_counted() -> None:
    """It was published, and counted, before."""
    counts = Counts(events=Counter({("late",): 2, ("viewed",): 1}))
    batch = Reduced(outputs=[_out("events", b"a"), _out("events", b"z")], counts=counts)
    new, _ = without(batch, SEEN)
    assert new.counts.events == {("late",): 1, ("viewed",): 1}


def test_a_batch_is_unchanged_if_nothing_is_left_out() -> None:
    batch = Reduced(outputs=[_out("statuses", b"a")], letters=[_letter(7)])
    assert without(batch, frozenset()) == (batch, frozenset())


@given(st.lists(st.sampled_from([b"a", b"b", b"c", b"d"]), unique=True), st.integers(0, 4))
def test_the_order_of_batches_does_not_matter(ids: list[bytes], cut: int) -> None:
    """Any division of the observations into batches leaves out the same outputs."""
    outs = [_out("events", one) for one in ids]
    whole, left = without(Reduced(outputs=outs), SEEN)
    first, between = without(Reduced(outputs=outs[:cut]), SEEN)
    second, end = without(Reduced(outputs=outs[cut:]), between)
    assert (first.outputs + second.outputs, end) == (whole.outputs, left)
