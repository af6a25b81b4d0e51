"""The shorter judgement of usual observations: it gives what the rules of the lifecycle give."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.tracking.lifecycle import observed_status, usual_fact
from processors.tracking.lifecycle.verdicts import Judged
from schemas.bounds import BOUNDS, Bounds
from schemas.codec import encode
from schemas.records import (
    STATE_VERSION,
    Billing,
    MessageState,
    Observation,
    RawOrigin,
    Status,
    StatusObservation,
)
from tests.examples import examples
from tests.unit.messages import KEY, Folded, seen
from tests.unit.processors.tracking.test_lifecycle_laws import (
    CONTENTS,
    HISTORIES,
    status_observations,
)

STATUSES: tuple[Status, ...] = Status.__args__  # type: ignore[attr-defined]


def first() -> MessageState:
    """Return the state of message m1 without facts."""
    return MessageState(
        message_key=KEY,
        version=STATE_VERSION,
        provider="smsmanager",
        account="-",
        message_id="m1",
        first_seen_at=5,
        updated_at=5,
    )


@st.composite
def usual_observations(draw: st.DrawFn) -> StatusObservation:
    """One observation of a message with one gateway and no viewers: most of them are usual."""
    received_at = draw(st.integers(1, 9))
    fields: dict[str, Any] = {
        "provider_status": draw(st.sampled_from(["x", "y"])),
        "received_at": received_at,
        "raw": RawOrigin("raw", 0, received_at, draw(st.integers(0, 1))),
        "recipient": draw(st.sampled_from([None, "1", "2"])),
        "recipient_index": draw(st.sampled_from([None, 0, 1])),
        "request_id": draw(st.sampled_from([None, "r", "s"])),
        "payload": draw(st.sampled_from([None, 1, 1.0, True, "text"])),
        "direction": draw(st.sampled_from(["outbound", "unknown", "inbound"])),
        "content": draw(st.none() | CONTENTS),
        "receipts": draw(st.booleans()),
        "billing": draw(st.none() | st.builds(Billing, parts=st.integers(1, 2))),
        "replay": draw(st.sampled_from([None, None, "r-1"])),
        "catch_up": draw(st.booleans()),
    }
    at = draw(st.none() | st.integers(1, 9))
    return seen(draw(st.sampled_from(STATUSES)), at, "sms", **fields)


def plain(state: MessageState, new: StatusObservation, bounds: Bounds = BOUNDS) -> Judged:
    return observed_status.observe(state, new, None, bounds)


def compare(state: MessageState, new: StatusObservation, bounds: Bounds) -> bool:
    """Compare both judgements, byte for byte; return whether the observation is a usual one."""
    before = encode(state)
    judged = usual_fact.observe(state, new, bounds)
    assert encode(state) == before
    if judged is None:
        return False
    expected = plain(state, new, bounds)
    assert encode(judged) == encode(expected)
    assert (judged.state is state) == (expected.state is state)
    return True


# The history is made with larger bounds.
ONE = Bounds(attempts=1)
TIGHT = Bounds(attempts=1, words=3)
BOUNDED = st.builds(Bounds, attempts=st.integers(1, 3), words=st.integers(1, 9))


@examples(4)
@given(st.lists(usual_observations(), min_size=1, max_size=6), BOUNDED)
def test_a_usual_history_is_judged_as_by_the_rules(
    history: list[StatusObservation], bounds: Bounds
) -> None:
    """One gateway, any sequence of facts, repeated, refined or contradicted."""
    state = first()
    for new in history:
        compare(state, new, bounds)
        state = plain(state, new, bounds).state


@examples(2)
@given(HISTORIES, status_observations(), BOUNDED)
def test_any_history_is_judged_as_by_the_rules(
    history: list[Observation], new: StatusObservation, bounds: Bounds
) -> None:
    """Viewers, replies, contents, several gateways and channels, in both directions."""
    folded = Folded(*history, bounds=bounds)
    if KEY in folded.states:
        compare(folded.state, new, bounds)


@pytest.mark.parametrize(
    ("history", "new", "usual"),
    [
        ([], seen("queued", 1), True),
        ([seen("sent", 1)], seen("delivered", 2), True),
        ([seen("read", 3)], seen("delivered", 2), True),
        ([seen("sent", 1)], seen("sent", 1), True),
        ([seen("sent", 1)], seen("sent", 2, received_at=3, recipient="1"), True),
        ([seen("sent", 1)], seen("undelivered", 2), True),
        ([seen("sent", 2)], seen("sent", 1), False),
        ([seen("read", 1)], seen("failed", 2), False),
        ([seen("failed", 1)], seen("read", 2), False),
        ([seen("sent", 1)], seen("sent", 2, "viber"), False),
        ([seen("sent", 1)], seen("read", 2, viewer="v"), False),
        ([seen("sent", 1)], seen("read", 2, channel="other"), False),
        ([seen("delivered", 1), seen("failed", 2)], seen("read", 3), False),
        ([seen("sent", 1), seen("read", 2, "viber")], seen("read", 3), False),
        ([*(seen("unknown", 1, provider_status=f"{n}") for n in range(4))], seen("sent", 3), False),
    ],
)
def test_the_most_frequent_observations_are_usual_ones(
    history: list[StatusObservation], new: StatusObservation, *, usual: bool
) -> None:
    """The next facts and repeats of a message; a test without one usual case would test nothing."""
    state = first()
    for one in history:
        state = plain(state, one, ONE).state
    assert compare(state, new, TIGHT) is usual
