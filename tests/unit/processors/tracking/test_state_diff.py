"""Where two states differ: the reasons, and what is no difference."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from cli.namespaces.compare import reason
from processors.tracking.next_state import track
from processors.tracking.state_diff import differences, same
from schemas.codec import encode
from schemas.records import MessageState, Observation
from tests.unit.messages import KEY, seen

SENT, DELIVERED = seen("sent", 1000), seen("delivered", 2000)


def state(*observations: Observation) -> MessageState:
    known = None
    for one in observations:
        known = track(known, KEY, one).state
    assert known is not None
    return known


def reasons(a: MessageState, b: MessageState) -> list[str]:
    return [reason(one) for one in differences(a, b)]


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((SENT,), (SENT, DELIVERED), ["status: sent → delivered"]),
        ((SENT,), (SENT, DELIVERED), ["attempts.sms.facts: + delivered"]),
        ((SENT, DELIVERED), (SENT,), ["attempts.sms.facts: - delivered"]),
        ((SENT,), (seen("sent", 999),), ["attempts.sms.facts.sent.occurred_at: 1000 → 999"]),
        (
            (SENT,),
            (SENT, seen("sent", 1000, gateway="viber")),
            ["attempts: + viber"],
        ),
        (
            (seen("sent", 1000, recipient="420777123456"),),
            (seen("sent", 1000, recipient="420777654321"),),
            ["recipient: …456 → …321"],
        ),
        (
            (seen("sent", 1000, payload={"secret": 1}),),
            (seen("sent", 1000, payload={"secret": True}),),
            ["payload: differs"],
        ),
        (
            (seen("read", 1000, viewer="420777123456"),),
            (SENT,),
            ["audience: - delivered", "audience: - read"],
        ),
        (
            (DELIVERED,),
            (DELIVERED, seen("undelivered", 3000)),
            ["contradictions: + sms undelivered"],
        ),
    ],
)
def test_reasons(a: Sequence[Observation], b: Sequence[Observation], expected: list[str]) -> None:
    """A difference is listed by field, with personal values masked."""
    reported = reasons(state(*a), state(*b))
    assert set(expected) <= set(reported), reported
    assert not [line for line in reported if "420777" in line or "secret" in line]


def test_the_status_comes_first() -> None:
    """The most important difference is first."""
    assert reasons(state(SENT), state(SENT, DELIVERED))[0] == "status: sent → delivered"


@pytest.mark.parametrize(
    "other",
    [
        replace(state(SENT), stalled_since=5000),
        replace(state(SENT), revision=3),
        state(seen("sent", 1000, replay="r-1")),
    ],
    ids=["an alarm", "corrections", "a replay"],
)
def test_no_difference(other: MessageState) -> None:
    """Alarms, and how an observation came, are not what a message is."""
    assert other != state(SENT)
    assert differences(state(SENT), other) == []
    assert same(KEY, encode(state(SENT)), encode(other))


_SEEN: list[dict[str, Any]] = [
    {"status": status, "at": at, "gateway": gateway}
    for status in ("sent", "delivered", "undelivered", "read")
    for at in (1000, 2000)
    for gateway in ("sms", "viber")
]


@given(st.lists(st.sampled_from(_SEEN), min_size=1, max_size=8), st.randoms())
def test_the_order_makes_no_difference(reported: list[dict[str, Any]], random: Any) -> None:
    """States of the same observations do not differ, in whatever order they came."""
    observations = [seen(one["status"], one["at"], gateway=one["gateway"]) for one in reported]
    shuffled = list(observations)
    random.shuffle(shuffled)
    assert differences(state(*observations), state(*shuffled)) == []


@given(st.sampled_from(_SEEN), st.sampled_from(_SEEN))
def test_differences_are_those_of_the_states(a: dict[str, Any], b: dict[str, Any]) -> None:
    """Two states differ exactly if their observations do, and the same way round both ways."""
    one, other = (state(seen(x["status"], x["at"], gateway=x["gateway"])) for x in (a, b))
    there, back = differences(one, other), differences(other, one)
    assert bool(there) == (a != b)
    assert [(d.path, d.b, d.a) for d in there] == [tuple(d) for d in back]
