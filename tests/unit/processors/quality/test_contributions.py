"""What one message contributes: each count, from its facts."""

from typing import Any

import pytest
from msgspec.structs import asdict, replace

from processors.quality.contributions import NOTHING, contribution
from processors.tracking.next_state import track
from schemas.quality import NO_TIMES, OTHER, QualityChange, Sketch
from schemas.records import Billing, MessageState, Observation, Reason
from tests.unit.messages import KEY, inbound, reply, seen
from tests.unit.processors.quality.states import BEGAN

MINUTE = 60_000


def state(*observations: Observation) -> MessageState:
    known = None
    for one in observations:
        known = track(known, KEY, one).state
    assert known is not None
    return known


def counted(change: QualityChange) -> dict[str, Any]:
    """Return the counts of a change that are not 0, without times and place."""
    place = {"start_at", "provider", "account", "channel", "gateway", "country", "operator"}
    return {
        name: value
        for name, value in asdict(change).items()
        if name not in place and value and not isinstance(value, Sketch)
    }


def only(*observations: Observation) -> QualityChange:
    [one] = contribution(state(*observations), NOTHING).attempts
    return one


WHOLE = {"messages": 1, "attempts": 1}
DELIVERED = {**WHOLE, "messages_delivered": 1, "sent": 1, "delivered": 1}
FAILED = {**WHOLE, "messages_failed": 1}


@pytest.mark.parametrize(
    ("observations", "counts"),
    [
        ([seen("queued", BEGAN)], WHOLE),
        ([seen("sent", BEGAN)], WHOLE | {"sent": 1}),
        ([seen("delivered", BEGAN)], DELIVERED),
        ([seen("played", BEGAN)], DELIVERED | {"read": 1}),
        ([seen("failed", BEGAN)], FAILED | {"failed": 1, "reasons": {"-": 1}}),
        (
            [seen("undelivered", BEGAN, reason=Reason(code="42"))],
            FAILED | {"failed": 1, "reasons": {"42": 1}},
        ),
        ([seen("rejected", BEGAN)], FAILED | {"rejected": 1, "reasons": {"-": 1}}),
        (
            [seen("sent", BEGAN), seen("expired", BEGAN + 5)],
            FAILED | {"sent": 1, "expired": 1, "reasons": {"-": 1}},
        ),
        # A failure beside a delivery, by the times of the events.
        ([seen("delivered", BEGAN), seen("failed", BEGAN + 5)], DELIVERED | {"contradictions": 1}),
        ([seen("delivered", BEGAN + 5), seen("failed", BEGAN)], DELIVERED | {"recoveries": 1}),
        ([seen("sent", BEGAN, receipts=False)], WHOLE | {"sent": 1, "without_receipts": 1}),
        ([seen("delivered", BEGAN, receipts=False)], DELIVERED),
        ([seen("delivered", BEGAN), reply(BEGAN + 9)], DELIVERED | {"replies": 1}),
        (
            [seen("sent", BEGAN, billing=Billing(parts=2, prices={"CZK": "0.890"}))],
            WHOLE | {"sent": 1, "parts": 2, "cost": {"CZK": "0.89"}},
        ),
    ],
)
def test_counts(observations: list[Observation], counts: dict[str, Any]) -> None:
    assert counted(only(*observations)) == counts


def test_its_place_is_the_minute_of_the_first_fact() -> None:
    """A fact that is learned later and happened earlier moves it."""
    late = only(seen("delivered", BEGAN + 3 * MINUTE), seen("sent", BEGAN + 59_999))
    assert (late.start_at, late.provider, late.account) == (BEGAN, "smsmanager", "-")
    assert (late.channel, late.gateway, late.country, late.operator) == ("sms", "sms", None, None)
    known = seen("sent", BEGAN, recipient="421905000001", billing=Billing(mcc="231", mnc="01"))
    assert (only(known).country, only(known).operator) == ("SK", "231-01")
    odd = seen("sent", BEGAN, billing=Billing(mcc="23x", mnc="01"))
    assert only(odd).operator == OTHER


def test_times_count_from_a_known_beginning() -> None:
    """Without an earlier status the time is unknown, not 0."""
    facts = seen("sent", BEGAN), seen("delivered", BEGAN + 40), seen("read", BEGAN + 49)
    one = only(*facts)
    assert (one.to_delivered.count, one.to_read.count) == (1, 1)
    assert one.to_delivered != one.to_read
    assert only(facts[1], facts[2]).to_read == NO_TIMES


def test_an_attempt_is_counted_by_its_own_route() -> None:
    """The message is counted once, with its first attempt."""
    found = contribution(
        state(
            seen("delivered", BEGAN + 2 * MINUTE, "sms"),
            seen("failed", BEGAN + MINUTE, "viber"),
            seen("sent", BEGAN, "viber"),
        ),
        NOTHING,
    )
    viber, sms = found.attempts
    failed = {"sent": 1, "failed": 1, "reasons": {"-": 1}, "fall_backs": 1}
    assert counted(viber) == WHOLE | {"messages_delivered": 1} | failed
    assert counted(sms) == {"attempts": 1, "sent": 1, "delivered": 1}
    assert [one.start_at for one in found.attempts] == [BEGAN, BEGAN + 2 * MINUTE]


def test_an_alarm_that_ends_is_counted_once() -> None:
    """It is remembered, as the state does not hold it any more."""
    sent = state(seen("sent", BEGAN))
    stalled = contribution(replace(sent, stalled_since=BEGAN), NOTHING)
    resumed = contribution(state(seen("sent", BEGAN), seen("delivered", BEGAN + 5)), stalled)
    later = contribution(state(seen("sent", BEGAN), seen("read", BEGAN + 5)), resumed)
    assert [one.attempts[0].stalled for one in (stalled, resumed, later)] == [1, 0, 0]
    assert [one.attempts[0].resumed for one in (stalled, resumed, later)] == [0, 1, 1]


@pytest.mark.parametrize(
    "observation", [inbound(BEGAN), reply(BEGAN), seen("read", BEGAN, viewer="420777000001")]
)
def test_other_messages_contribute_nothing(observation: Observation) -> None:
    """Inbound messages, and those of which only a reply or a viewer is known."""
    assert contribution(state(observation), NOTHING) == NOTHING
