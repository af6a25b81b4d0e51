"""A batch of records to states and outputs; what cannot be read stops it, with coordinates."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from processors.runtime.reduce import Read, Reduced, Timer, Work, reduce
from schemas.codec import decode_state, decode_status, encode
from schemas.problem import Problem
from tests.unit.messages import KEY, seen


@dataclass
class Record:
    """What is read of a consumed record."""

    value: bytes | None
    key: bytes | None = KEY.encode()
    topic: str = "observations"
    partition: int = 3
    offset: int = 7


NOW = 100 * 24 * 3_600_000


async def reduced(
    records: Sequence[Record],
    read: Read,
    *,
    timers: Sequence[Timer] = (),
    horizon: int = 0,
) -> Reduced:
    return await reduce(Work(records, timers, NOW, horizon), read)


def nothing(keys: Sequence[str]) -> list[bytes | None]:
    return [None] * len(keys)


async def test_a_batch_gives_the_last_state_of_each_key() -> None:
    """Three observations of a message, one repeated: two facts, one state."""
    records = [Record(encode(one)) for one in (seen("sent", 1), seen("sent", 1), seen("read", 2))]

    result = await reduced(records, nothing)

    statuses = [out for out in result.outputs if out.topic == "statuses"]
    assert [decode_status(out.value).status for out in statuses] == ["sent", "read"]
    assert list(result.states) == [KEY.encode()]
    assert decode_state(result.states[KEY.encode()]).status == "read"
    assert result.outcomes == {("smsmanager", "advanced"): 2, ("smsmanager", "duplicate"): 1}


async def test_nothing_new_is_nothing_to_write() -> None:
    """A batch of repeats changes no state, so none is written."""
    first = await reduced([Record(encode(seen("sent", 1)))], nothing)

    again = await reduced([Record(encode(seen("sent", 1)))], lambda _: [*first.states.values()])

    assert (again.outputs, again.states) == ([], {})


async def test_a_state_is_armed_and_its_old_timer_spent() -> None:
    """Each change of a state puts one entry into the index and takes one out."""
    queued = await reduced([Record(encode(seen("queued", 1)))], nothing)
    stored = queued.states[KEY.encode()]

    sent = await reduced([Record(encode(seen("sent", 5)))], lambda _: [stored])

    assert (queued.armed, queued.spent) == ({KEY.encode(): 1 + 600_000}, [])
    assert sent.armed == {KEY.encode(): 5 + 86_400_000}
    assert sent.spent == [Timer(1 + 600_000, KEY)]


async def test_a_timer_fires_once_and_is_armed_anew() -> None:
    """The alarm changes the state, and the next timer is the end of its life."""
    first = await reduced([Record(encode(seen("queued", 1)))], nothing)
    timer = Timer(1 + 600_000, KEY)

    fired = await reduced([], lambda _: [*first.states.values()], timers=[timer], horizon=timer.due)

    assert [out.topic for out in fired.outputs] == ["events"]
    assert fired.events == {("stalled",): 1}
    assert timer in fired.spent
    assert fired.armed == {KEY.encode(): 1 + 45 * 24 * 3_600_000}
    assert decode_state(fired.states[KEY.encode()]).stalled_since == timer.due


async def test_a_void_timer_is_only_moved() -> None:
    """An entry whose message moved on fires nothing, and leaves the state's own timer behind."""
    first = await reduced([Record(encode(seen("sent", 1)))], nothing)
    void = Timer(7, KEY)

    looked = await reduced([], lambda _: [*first.states.values()], timers=[void], horizon=8)

    assert (looked.outputs, looked.states) == ([], {})
    assert looked.spent == [void]
    assert looked.armed == {KEY.encode(): 1 + 86_400_000}


async def test_records_go_before_timers() -> None:
    """A receipt that arrived in time is taken first, so that nobody is alarmed in vain."""
    first = await reduced([Record(encode(seen("queued", 1)))], nothing)

    result = await reduced(
        [Record(encode(seen("delivered", 9)))],
        lambda _: [*first.states.values()],
        timers=[Timer(1 + 600_000, KEY)],
        horizon=600_001,
    )

    assert result.events == {("advanced",): 1}


async def test_the_end_of_a_life_leaves_a_tombstone() -> None:
    """An expired state is written as None, and no timer is left."""
    first = await reduced([Record(encode(seen("read", 1)))], nothing)
    timer = Timer(1 + 45 * 24 * 3_600_000, KEY)

    gone = await reduced([], lambda _: [*first.states.values()], timers=[timer], horizon=timer.due)

    assert gone.states == {KEY.encode(): None}
    assert gone.armed == {}
    assert gone.events == {("expired",): 1}


async def test_a_timer_of_a_state_that_is_gone_is_spent() -> None:
    """An entry without a state costs a look and nothing else."""
    result = await reduced([], nothing, timers=[Timer(7, KEY)], horizon=8)

    assert (result.spent, result.states, result.outputs) == ([Timer(7, KEY)], {}, [])


async def test_no_record_is_from_the_future() -> None:
    """A sender's clock that runs ahead takes no state's life."""
    first = await reduced([Record(encode(seen("queued", NOW - 1)))], nothing)
    ahead = seen("sent", NOW, received_at=NOW + 50 * 24 * 3_600_000)

    result = await reduced([Record(encode(ahead))], lambda _: [*first.states.values()])

    assert result.events == {("advanced",): 1}
    assert result.latest == NOW


@pytest.mark.parametrize(
    "record",
    [
        Record(b"not an observation"),
        Record(b'{"kind":"status"}'),
        Record(b'{"kind":"rumour"}'),
        Record(None),
        Record(encode(seen("sent", 1)), key=None),
        Record(encode(seen("sent", 1)), key=b""),
        Record(encode(seen("sent", 1)), key=b"\xff"),
        Record(encode(seen("sent", 1)), key=b"smsmanager/-/another"),
    ],
    ids=[
        "no JSON",
        "fields missing",
        "unknown kind",
        "null",
        "no key",
        "empty key",
        "not UTF-8",
        "another",
    ],
)
async def test_an_unreadable_record_is_named(record: Record) -> None:
    """The sentence has topic, partition and offset."""
    with pytest.raises(Problem, match=r"observations\[3\] offset 7 is not an observation"):
        await reduced([record], nothing)


async def test_an_unreadable_state_is_named() -> None:
    """A stored state that cannot be read is not taken for none."""
    with pytest.raises(Problem, match=f"state of {KEY} cannot be read"):
        await reduced([Record(encode(seen("sent", 1)))], lambda _: [b"{}"])
