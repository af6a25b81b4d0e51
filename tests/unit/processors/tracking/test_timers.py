"""Timers: when a message stalls, resumes and expires; and when they fire is no matter."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.tracking import timers
from processors.tracking.next_state import track
from processors.tracking.timers import PATIENCE, Patience
from schemas.codec import encode
from schemas.records import Advanced, Forgotten, MessageState, Resumed, Stalled, Status
from tests.examples import examples
from tests.unit.messages import KEY, Folded, reply, seen

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
TTL = 45 * DAY
STATUSES: st.SearchStrategy[Status] = st.sampled_from(
    ["queued", "sending", "sent", "delivered", "failed"]
)


def folded(*observations: Any) -> MessageState:
    return Folded(*observations).state


@pytest.mark.parametrize(
    ("observations", "expected"),
    [
        ([seen("queued", 5)], 5 + 10 * MINUTE),
        ([seen("sending", 5)], 5 + 10 * MINUTE),
        ([seen("sent", 5)], 5 + 24 * HOUR),
        ([seen("queued", 5), seen("sent", 9)], 9 + 24 * HOUR),
        # A fallback is news, though the status stays the same.
        ([seen("sent", 5, "viber"), seen("queued", 9, "sms")], 9 + 24 * HOUR),
        ([seen("delivered", 5)], 5 + TTL),
        ([seen("undelivered", 5)], 5 + TTL),
        ([seen("unknown", 5)], 5 + TTL),
        ([reply(5)], 5 + TTL),
        # Groups and stories are seen by viewers and never move; people's messages go nowhere.
        ([seen("sent", 5), seen("read", 9, viewer="v")], 9 + TTL),
        ([seen("sent", 5, direction="inbound")], 5 + TTL),
        # After a deletion nothing need come; another gateway's deletion is no news of this one.
        ([seen("sent", 5), seen("deleted", 9)], 9 + TTL),
        ([seen("queued", 5), seen("deleted", 9)], 9 + TTL),
        ([seen("deleted", 4), seen("sent", 5)], 5 + TTL),
        ([seen("sent", 5, "sms"), seen("deleted", 9, "viber")], 5 + 24 * HOUR),
        # A chat without receipts, whichever observation says so.
        ([seen("sent", 5, receipts=False)], 5 + TTL),
        ([seen("sent", 5), seen("queued", 4, receipts=False)], 5 + TTL),
        # What a replay brings to light is old.
        ([seen("sent", 5, replay="r")], 5 + TTL),
        ([seen("queued", 5, catch_up=True)], 5 + TTL),
        # Live traffic says the same: it counts, and the message stalls.
        ([seen("sent", 5, replay="r"), seen("sent", 5)], 5 + 24 * HOUR),
        ([seen("sent", 5, catch_up=True), seen("sent", 5)], 5 + 24 * HOUR),
    ],
)
def test_when_the_next_timer_is_due(observations: list[Any], expected: int) -> None:
    """Ten minutes, a day, or the end of the state's life, whichever applies and comes first."""
    assert timers.due(folded(*observations), PATIENCE) == expected


@pytest.mark.parametrize(
    ("status", "channel", "expected"),
    [("queued", "viber", 7), ("queued", "sms", 5), ("sent", "rcs", 9), ("sent", "sms", 6)],
)
def test_patience_is_by_channel(status: Status, channel: str, expected: int) -> None:
    """A channel's own patience goes before the general one."""
    patience = Patience(5, 6, {"viber": 7}, {"rcs": 9})
    assert timers.due(folded(seen(status, 0, channel)), patience) == expected


def test_the_alarm_names_the_last_report() -> None:
    """It is given once, with the status, the wait and the fact it waits since."""
    state = folded(seen("queued", 5), seen("sending", 9, "sms"))
    due = 9 + 10 * MINUTE

    before = timers.fire(state, due - 1, PATIENCE)
    fired = timers.fire(state, due + HOUR, PATIENCE)

    assert (before.state, before.outputs) == (state, [])
    assert fired.state is not None
    assert fired.state.stalled_since == due
    [output] = fired.outputs
    assert (output.type, output.time) == ("bluetick.message.stalled", due)
    assert isinstance(output.record, Stalled)
    assert output.record.status == "sending"
    assert output.record.waiting_ms == 10 * MINUTE
    assert output.record.cause.status == "sending"
    assert output.record.cause.gateway == "sms"
    assert timers.fire(fired.state, due + HOUR, PATIENCE).outputs == []


def stalled(*observations: Any) -> MessageState:
    state = folded(*observations)
    fired = timers.fire(state, timers.due(state, PATIENCE), PATIENCE).state
    assert fired is not None
    assert fired.stalled_since is not None
    return fired


@pytest.mark.parametrize(
    ("before", "then", "resumes"),
    [
        ([seen("queued", 1)], seen("sent", 9), True),
        ([seen("sent", 1)], seen("delivered", 9), True),
        ([seen("sent", 1)], seen("failed", 9), True),
        ([seen("sent", 1, "viber")], seen("sent", 9, "sms"), True),
        ([seen("sent", 1)], seen("read", 9, viewer="v"), True),
        # A gateway that only a viewer's receipt names has no attempt.
        ([seen("sent", 1)], seen("read", 9, "rcs", viewer="v"), True),
        ([seen("sent", 1)], seen("queued", 9), False),
        ([seen("sent", 1)], seen("sent", 9), False),
        ([seen("sent", 1)], seen("unknown", 9), False),
        ([seen("sent", 1)], reply(9), False),
    ],
)
def test_a_receipt_withdraws_the_alarm(before: list[Any], then: Any, resumes: bool) -> None:  # noqa: FBT001
    """Only news that move the message do; a late, repeated or odd word does not."""
    state = stalled(*before)

    step = track(state, KEY, then)

    resumed = [out.record for out in step.outputs if isinstance(out.record, Resumed)]
    assert bool(resumed) == resumes
    assert (step.state.stalled_since is None) == resumes
    if resumed:
        assert resumed[0].stalled_since == state.stalled_since
        assert resumed[0].status == step.state.status
        assert (resumed[0].gateway, resumed[0].channel) == (then.gateway, then.channel)


def test_an_observation_fires_what_was_due_before_it() -> None:
    """A receipt after 11 minutes: first the alarm, then the receipt, then the alarm withdrawn."""
    at = 11 * MINUTE
    step = track(folded(seen("queued", 0)), KEY, seen("sent", at))

    kinds = [out.type.rpartition(".")[2] for out in step.outputs]
    assert kinds == ["stalled", "status", "advanced", "resumed"]


def test_a_stall_after_a_stall_has_another_id() -> None:
    """A message may have the same status by the same gateway twice, and stall there twice."""
    first = stalled(seen("queued", 1, "viber"))
    moved = track(first, KEY, seen("sent", 2, "sms")).state
    back = track(moved, KEY, seen("failed", 3, "sms")).state
    assert back.status == "queued"
    ids = [
        timers.fire(state, DAY, PATIENCE).outputs[0].id
        for state in (folded(seen("queued", 1, "viber")), back)
    ]
    assert len(set(ids)) == 2


def test_the_end_sums_a_life_up() -> None:
    """Times from the first fact, attempts, what it cost; the state is gone."""
    state = folded(
        seen("queued", 1000),
        seen("sent", 3000),
        seen("read", 9000, reason=None),
    )

    fired = timers.fire(state, 9000 + TTL, PATIENCE)

    assert fired.state is None
    [output] = fired.outputs
    assert output.time == 9000 + TTL
    assert isinstance(output.record, Forgotten)
    assert output.record.status == "read"
    assert output.record.attempts == 1
    took = output.record.to_sent_ms, output.record.to_delivered_ms, output.record.to_read_ms
    assert took == (2000, 8000, 8000)
    assert output.record.cause.status == "read"


def test_the_end_of_an_inbound_message_names_it() -> None:
    """Where nothing but a person's message is known, that is the cause."""
    fired = timers.fire(folded(reply(5)), 5 + TTL, PATIENCE)

    [output] = fired.outputs
    assert isinstance(output.record, Forgotten)
    assert output.record.cause.reply == reply(5).message_key
    assert output.record.to_sent_ms is None


def test_after_the_end_a_message_begins_anew() -> None:
    """A receipt after 45 days finds no state: the end comes first, then a new beginning."""
    step = track(folded(seen("delivered", 0)), KEY, seen("read", TTL))

    kinds = [out.type.rpartition(".")[2] for out in step.outputs]
    assert kinds == ["forgotten", "status", "advanced"]
    advanced = step.outputs[-1].record
    assert isinstance(advanced, Advanced)
    assert advanced.from_ is None


@st.composite
def lives(draw: st.DrawFn) -> list[Any]:
    """Observations of one message in the order in which they were received."""
    at = 0
    life = []
    for _ in range(draw(st.integers(1, 6))):
        at += draw(st.sampled_from([1, MINUTE, 11 * MINUTE, 25 * HOUR, 46 * DAY]))
        life.append(seen(draw(STATUSES), at, draw(st.sampled_from(["sms", "viber"]))))
    return life


@examples(2)
@given(lives(), st.data())
def test_when_timers_are_looked_at_is_no_matter(life: list[Any], data: st.DataObject) -> None:
    """Fired in the background or by the next observation: the same records, the same ids."""
    end = life[-1].received_at + TTL

    def run(*, eager: bool) -> tuple[list[tuple[str, str, bytes]], MessageState | None]:
        state: MessageState | None = None
        outputs = []
        for observation in life:
            if eager and state is not None and data.draw(st.booleans()):
                fired = timers.fire(state, observation.received_at - 1, PATIENCE)
                state = fired.state
                outputs += fired.outputs
            step = track(state, KEY, observation)
            state = step.state
            outputs += step.outputs
        assert state is not None
        last = timers.fire(state, end, PATIENCE)
        return [(o.type, o.id, encode(o.record)) for o in [*outputs, *last.outputs]], last.state

    outputs, state = run(eager=True)

    assert (outputs, state) == run(eager=False)
    assert state is None
    ids = [id_ for type_, id_, _ in outputs if type_.endswith(("stalled", "resumed", "forgotten"))]
    assert len(set(ids)) == len(ids)
