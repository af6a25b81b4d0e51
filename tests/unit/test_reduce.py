"""A batch of records to states and outputs; what cannot be read stops it, with coordinates."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from processors.runtime.reduce import reduce
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


def nothing(keys: Sequence[str]) -> list[bytes | None]:
    return [None] * len(keys)


async def test_a_batch_gives_the_last_state_of_each_key() -> None:
    """Three observations of a message, one repeated: two facts, one state."""
    records = [Record(encode(one)) for one in (seen("sent", 1), seen("sent", 1), seen("read", 2))]

    result = await reduce(records, nothing)

    statuses = [out for out in result.outputs if out.topic == "statuses"]
    assert [decode_status(out.value).status for out in statuses] == ["sent", "read"]
    assert list(result.states) == [KEY.encode()]
    assert decode_state(result.states[KEY.encode()]).status == "read"
    assert result.outcomes == {("smsmanager", "advanced"): 2, ("smsmanager", "duplicate"): 1}


async def test_nothing_new_is_nothing_to_write() -> None:
    """A batch of repeats changes no state, so none is written."""
    first = await reduce([Record(encode(seen("sent", 1)))], nothing)

    again = await reduce([Record(encode(seen("sent", 1)))], lambda _: [*first.states.values()])

    assert (again.outputs, again.states) == ([], {})


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
        await reduce([record], nothing)


async def test_an_unreadable_state_is_named() -> None:
    """A stored state that cannot be read is not taken for none."""
    with pytest.raises(Problem, match=f"state of {KEY} cannot be read"):
        await reduce([Record(encode(seen("sent", 1)))], lambda _: [b"{}"])
