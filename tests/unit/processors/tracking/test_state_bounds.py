"""States far past their bounds: still a function of the set, each fact once, and small."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from processors.normalising.field_bounds import fitted
from processors.tracking import timers
from processors.tracking.lifecycle.facts import fact_id
from processors.tracking.lifecycle.statuses import MESSAGE_RANK
from schemas.bounds import BOUNDS, Bounds
from schemas.codec import encode
from schemas.records import (
    Billing,
    InboundObservation,
    Observation,
    RawOrigin,
    Reason,
    Status,
    StatusObservation,
    StatusRecord,
)
from tests.examples import examples
from tests.unit.messages import KEY, Folded, reply, seen
from tests.unit.processors.tracking.test_lifecycle_laws import (
    STATUSES,
    inbound_observations,
    status_observations,
)

SMALL = BOUNDS._replace(attempts=2, words=1, replies=2, kept_content=40)
GATEWAYS = st.sampled_from(["a", "b", "c", "d", "e"])
REPLIES = st.builds(
    lambda at, identity, received: reply(at, identity, received_at=received),
    st.integers(1, 9),
    st.sampled_from(["r1", "r2", "r3", "r4"]),
    st.integers(1, 9),
)
WORDS = st.builds(
    lambda one, word: replace(one, status="unknown", provider_status=word),
    status_observations(gateways=GATEWAYS),
    st.sampled_from(["a", "b", "c", "d"]),
)
FAR = st.lists(
    status_observations(gateways=GATEWAYS) | WORDS | REPLIES | inbound_observations(),
    min_size=1,
    max_size=24,
)


def published(folded: Folded) -> list[str]:
    return [output.id for output in folded.outputs if output.topic != "events"]


@examples(2)
@given(FAR, st.data())
def test_a_bounded_state_is_a_function_of_the_set(
    history: list[Observation], data: st.DataObject
) -> None:
    """Whatever the order and repetition, the same names are kept, with the same facts."""
    again = data.draw(st.lists(st.sampled_from(history), max_size=6))
    shuffled = data.draw(st.permutations(history + again))

    assert Folded(*shuffled, bounds=SMALL).everything == Folded(*history, bounds=SMALL).everything


@examples(2)
@given(FAR, st.data())
def test_nothing_is_published_twice_past_a_bound(
    history: list[Observation], data: st.DataObject
) -> None:
    """A name that gave way never comes back, so that none of its facts is new again."""
    folded = Folded(*data.draw(st.permutations(history + history)), bounds=SMALL)

    assert len(published(folded)) == len(set(published(folded)))


@examples(2)
@given(FAR)
def test_each_observation_is_known_published_or_past_a_bound(history: list[Observation]) -> None:
    """Nothing is dropped silently: what is not kept has an outcome that makes a dead letter."""
    folded = Folded(*history, bounds=SMALL)
    reported = {(one.message_key, *fact_id(one)) for one in history}
    records = [o.record for o in folded.outputs if o.topic != "events"]
    shown = {(one.message_key, *fact_id(one)) for one in records}  # type: ignore[arg-type]

    assert (reported == shown) or any(one.startswith("too_many_") for one in folded.outcomes)
    assert len(folded.state.attempts) <= 2
    assert len(folded.state.inbound) <= 2


@examples(2)
@given(st.lists(status_observations(gateways=GATEWAYS), min_size=1, max_size=24))
def test_delivery_is_never_taken_back_past_a_bound(history: list[StatusObservation]) -> None:
    """The removal of an attempt does not change the message's status."""
    outputs = Folded(*history, bounds=SMALL).outputs
    records = [one.record for one in outputs if isinstance(one.record, StatusRecord)]
    ranks = [MESSAGE_RANK[one.message_status] for one in records if one.message_status]
    reached = MESSAGE_RANK["delivered"]
    first = next((i for i, rank in enumerate(ranks) if rank >= reached), len(ranks))

    assert ranks[first:] == sorted(ranks[first:])


def test_a_message_that_moves_past_a_bound_says_so() -> None:
    """A delivery by a gateway too many is no fact of the state, but the message is delivered."""
    one = BOUNDS._replace(attempts=1)
    folded = Folded(seen("queued", 1, "a"), bounds=one)
    stalled = timers.fire(folded.state, 600_001, timers.PATIENCE)
    assert stalled.state is not None
    folded.states[KEY] = stalled.state

    delivered = seen("delivered", 2, "z")
    for _ in range(2):
        folded.take(delivered)

    assert folded.outcomes == ["advanced", "too_many_attempts", "too_many_attempts"]
    assert folded.events == ["advanced", "advanced", "resumed"]
    assert (folded.state.status, folded.state.stalled_since) == ("delivered", None)


def test_an_attempt_that_gives_way_moves_nothing_back() -> None:
    """The state follows from the kept gateways; no event says that the message went back."""
    one = BOUNDS._replace(attempts=1)

    folded = Folded(seen("sent", 1, "z"), seen("queued", 2, "a"), bounds=one)

    assert folded.outcomes == ["advanced", "late"]


def test_a_bound_that_is_raised_lets_a_retry_in() -> None:
    """What was past it is new once the bound allows it, and published then."""
    reported = [seen("sent", n, gateway) for n, gateway in enumerate("abc", start=1)]
    before = Folded(*reported, bounds=SMALL)
    raised = Folded(bounds=SMALL._replace(attempts=3))
    raised.states = before.states

    raised.take(replace(reported[2], replay="r"))

    assert before.outcomes == ["advanced", "late", "too_many_attempts"]
    assert raised.outcomes == ["late"]
    assert len(published(raised)) == 1


def worst(status: Status, number: int, gateway: str, **fields: Any) -> StatusObservation:
    """An observation with every field as long as its bound allows, or longer."""
    one = seen(
        status,
        253_402_300_799_000,
        gateway,
        message_key="p/a/" + "m" * 1000,
        message_id="m" * 1000,
        request_id="q" * 1000,
        recipient="r" * 500,
        received_at=253_402_300_799_000 - number,
        raw=RawOrigin("t" * 249, 10**9, 2**63 - 1, 10**4),
        reason=Reason(code="c" * 500, text="t" * 5000),
        billing=Billing(sender="s" * 60, parts=10**9, prices={"C" * 60: "0." + "1" * 60}),
        payload="p" * (BOUNDS.payload - 2),
        content={"type": "text", "text": "t" * (BOUNDS.kept_content - 30)},
        replay="r" * 64,
        catch_up=True,
        **fields,
    )
    return fitted(one)  # type: ignore[return-value]


def wide(name: str, most: int) -> str:
    """A name as wide in JSON as its bound allows."""
    return name + "g" * (most - 2 - len(name))


def hostile(bounds: Bounds) -> Sequence[Observation]:
    """Twice as many of everything as the bounds allow, each as large as it may be."""
    reported: list[Observation] = []
    number = 0
    for attempt in range(2 * bounds.attempts):
        gateway = wide(f"{attempt:03}", bounds.gateway)
        known = [status for status in STATUSES if status != "unknown"]
        for status in known:
            number += 1
            word = wide("w", bounds.word)
            reported.append(worst(status, number, gateway, provider_status=word))
        for unknown in range(2 * bounds.words):
            number += 1
            word = wide(f"{unknown:03}", bounds.word)
            reported.append(worst("unknown", number, gateway, provider_status=word))
    for answer in range(2 * bounds.replies):
        one = reply(answer + 1, raw=RawOrigin("t" * 249, 10**9, 2**63 - 1, 10**4))
        own = wide(f"p/a/{answer:04}", bounds.key)
        reported.append(
            replace(one, message_key=own, in_reply_to=reported[0].message_key, replay="r" * 64)
        )
    return reported


def test_the_largest_state_stays_below_its_bound() -> None:
    """All bounds reached at once: the state's bytes, uncompressed, are below the topic's."""
    folded = Folded(*hostile(BOUNDS))

    state = folded.states["p/a/" + "m" * 1000]
    assert len(state.attempts) == BOUNDS.attempts
    assert len(state.inbound) == BOUNDS.replies
    assert BOUNDS.state // 2 < len(encode(state)) <= BOUNDS.state


@pytest.mark.parametrize("viewers", [1, 10_000])
def test_a_viewer_makes_no_larger_state(viewers: int) -> None:
    """A message's state does not grow with its viewers; each has a small one of its own."""
    reported = [
        seen(status, n, "whatsapp", viewer=f"{n:012}@s.whatsapp.net")
        for n in range(1, viewers + 1)
        for status in ("delivered", "read")
    ]
    folded = Folded(*reported)

    assert folded.state.audience == {"delivered": viewers, "read": viewers}
    assert len(folded.viewers) == viewers
    assert len(encode(folded.state)) < 1000
    assert max(len(encode(one)) for one in folded.viewers.values()) < 1000


def test_every_reply_past_the_bound_is_named() -> None:
    """Replies are kept by their keys; the others have an outcome of their own."""
    reported = [reply(n, f"{n:04}") for n in range(1, BOUNDS.replies + 11)]

    folded = Folded(*reported)

    assert folded.outcomes.count("inbound") == BOUNDS.replies
    assert folded.outcomes.count("too_many_replies") == 10
    assert isinstance(reported[0], InboundObservation)
