"""The lifecycle as a table: sequences of statuses, with their verdicts, events and state."""

from typing import Any, NamedTuple, get_args

import pytest

from processors.tracking import timers
from processors.tracking.lifecycle.facts import began, earlier, fact_of, when
from processors.tracking.lifecycle.statuses import ATTEMPT_RANK, MESSAGE_RANK
from schemas.bounds import BOUNDS
from schemas.codec import decode_event, encode
from schemas.records import (
    Advanced,
    Billing,
    Contradiction,
    Event,
    Forgotten,
    InboundRecord,
    Observation,
    Reason,
    Replied,
    Status,
)
from tests.unit.messages import KEY, Folded, inbound, reply, seen


class Case(NamedTuple):
    """Statuses in order of arrival, and their complete result."""

    label: str
    observations: list[Observation]
    outcomes: list[str]
    events: list[str]
    status: Status | None


CASES = [
    Case(
        "the usual way",
        [seen("sent", 1), seen("delivered", 2), seen("read", 3), seen("played", 4)],
        ["advanced"] * 4,
        ["advanced"] * 4,
        "played",
    ),
    Case("steps may be skipped", [seen("read", 1)], ["advanced"], ["advanced"], "read"),
    Case(
        "an older status does not rewind",
        [seen("delivered", 2), seen("sent", 1)],
        ["advanced", "late"],
        ["advanced", "late"],
        "delivered",
    ),
    Case(
        "the same status again is dropped, not published",
        [seen("sent", 1), seen("sent", 1), seen("sent", 2)],
        ["advanced", "duplicate", "duplicate"],
        ["advanced"],
        "sent",
    ),
    Case(
        "an earlier telling refines the fact in silence",
        [seen("sent", 5), seen("sent", 3)],
        ["advanced", "refined"],
        ["advanced"],
        "sent",
    ),
    Case(
        "a failure ends what was under way",
        [seen("sent", 1), seen("failed", 2)],
        ["advanced", "advanced"],
        ["advanced", "advanced"],
        "failed",
    ),
    Case(
        "what precedes a failure may come after it",
        [seen("undelivered", 2), seen("sent", 1)],
        ["advanced", "late"],
        ["advanced", "late"],
        "undelivered",
    ),
    Case(
        "a failure after delivery contradicts and changes nothing",
        [seen("delivered", 1), seen("failed", 2)],
        ["advanced", "contradiction"],
        ["advanced", "contradicted"],
        "delivered",
    ),
    Case(
        "delivery after a failure recovers",
        [seen("failed", 1), seen("delivered", 2)],
        ["advanced", "recovered"],
        ["advanced", "recovered"],
        "delivered",
    ),
    Case(
        "deleted and unknown are outside of the ladder",
        [
            seen("delivered", 1),
            seen("deleted", 2),
            seen("unknown", 3, provider_status="parked"),
            seen("unknown", 4, provider_status="lost"),
            seen("unknown", 5, provider_status="parked"),
        ],
        ["advanced", "aside", "aside", "aside", "duplicate"],
        ["advanced"],
        "delivered",
    ),
    Case(
        "nothing but an unknown word is unknown",
        [seen("unknown", 1, provider_status="parked")],
        ["aside"],
        [],
        "unknown",
    ),
    Case(
        "the next gateway takes over from a failed one",
        [
            seen("undelivered", 1, "viber"),
            seen("sent", 2, "sms"),
            seen("delivered", 3, "sms"),
        ],
        ["advanced", "advanced", "advanced"],
        ["advanced", "fell_back", "advanced", "advanced"],
        "delivered",
    ),
    Case(
        "a failure of one gateway does not contradict another's delivery",
        [seen("delivered", 2, "sms"), seen("undelivered", 1, "viber")],
        ["advanced", "late"],
        ["advanced", "fell_back", "late"],
        "delivered",
    ),
    Case(
        "a late read on the first gateway still counts",
        [
            seen("undelivered", 1, "viber"),
            seen("delivered", 2, "sms"),
            seen("read", 3, "viber"),
        ],
        ["advanced", "advanced", "recovered"],
        ["advanced", "fell_back", "advanced", "recovered"],
        "read",
    ),
    Case(
        "a reply is known by itself, not by the message it answers",
        [seen("delivered", 1), reply(2), reply(2), reply(3, "r2")],
        ["advanced", "inbound", "duplicate", "inbound"],
        ["advanced", "replied", "replied"],
        "delivered",
    ),
    Case(
        "a reply may precede every status",
        [reply(2), seen("sent", 1)],
        ["inbound", "advanced"],
        ["replied", "advanced"],
        "sent",
    ),
    Case(
        "a viewer never finishes a group's message",
        [
            seen("sent", 1, "whatsapp"),
            seen("read", 2, "whatsapp", viewer="420777000001"),
            seen("delivered", 3, "whatsapp", viewer="420777000001"),
            seen("delivered", 3, "whatsapp", viewer="420777000002"),
        ],
        ["advanced", "advanced", "late", "advanced"],
        ["advanced", "viewed", "viewed"],
        "sent",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_a_sequence_comes_to(case: Case) -> None:
    """Verdicts, events and status of each sequence are those of the table."""
    folded = Folded(*case.observations)

    assert folded.outcomes == case.outcomes
    assert folded.events == case.events
    assert folded.state.status == case.status


def test_every_status_has_a_place() -> None:
    """Both orders rank every status there is."""
    every = set(Status.__args__)  # type: ignore[attr-defined]

    assert set(ATTEMPT_RANK) == every
    assert set(MESSAGE_RANK) == every


def test_contradictions_are_kept_in_the_state() -> None:
    """The failure and its counter-evidence are reported, in any order."""
    expected = [Contradiction("sms", "failed", "read")]

    facts = seen("delivered", 1), seen("failed", 2), seen("read", 3)

    assert Folded(*facts).state.contradictions == expected
    assert Folded(*reversed(facts)).state.contradictions == expected


def test_viewers_are_counted_by_rung() -> None:
    """The audience says how many viewers reached at least each rung."""
    state = Folded(
        seen("read", 1, "whatsapp", viewer="a"),
        seen("delivered", 1, "whatsapp", viewer="b"),
        seen("sent", 1, "whatsapp", viewer="c"),
    ).state

    assert state.audience == {"delivered": 2, "read": 1}
    assert state.status is None


def test_the_cost_of_all_attempts_is_summed() -> None:
    """Prices add up by currency, exactly; sender and network are the best attempt's."""
    state = Folded(
        seen("undelivered", 1, "viber", billing=Billing(parts=1, prices={"CZK": "0.10"})),
        seen("sent", 2, billing=Billing(sender="shop", mcc="230", parts=2, prices={"CZK": "0.89"})),
    ).state

    assert state.billing == Billing(sender="shop", mcc="230", parts=3, prices={"CZK": "0.99"})


def test_the_newest_description_wins() -> None:
    """A later payload replaces an older one, in any order of arrival."""
    old, new = seen("sent", 1, payload={"v": 1}), seen("delivered", 2, payload={"v": 2})

    assert Folded(old, new).state.payload == {"v": 2}
    assert Folded(new, old).state.payload == {"v": 2}


def test_a_reported_time_precedes_an_assumed_one() -> None:
    """A fact without its provider's time gives way to one with it, even if that is later."""
    assumed = seen("sent", None, received_at=5)
    reported = seen("sent", 9, received_at=9)

    assert Folded(assumed, reported).state.attempts["sms"].facts["sent"].occurred_at == 9


def test_replaying_a_known_fact_changes_nothing() -> None:
    """The same raw item, read again under a replay's id, leaves the state as it was."""
    before = Folded(seen("sent", 1)).state

    after = Folded(seen("sent", 1), seen("sent", 1, replay="r-1")).state

    assert after == before


def test_what_is_published_says_that_it_comes_from_a_replay() -> None:
    """Fact, event and its cause carry the replay's id, and that the provider was catching up."""
    old: dict[str, Any] = {"replay": "r-1", "catch_up": True}
    folded = Folded(seen("sent", 1), seen("delivered", 2, **old), reply(3, **old))

    reported = [output.record for output in folded.outputs[2:]]

    assert [(output.topic, output.type.rpartition(".")[2]) for output in folded.outputs[2:]] == [
        ("statuses", "status"),
        ("events", "advanced"),
        ("inbound", "inbound"),
        ("events", "replied"),
    ]
    assert [record.replay for record in reported] == ["r-1"] * 4
    causes = [record.cause for record in reported if isinstance(record, Advanced | Replied)]
    assert [(cause.replay, cause.catch_up) for cause in causes] == [("r-1", True)] * 2
    assert b'"catch_up":true' in encode(reported[0])
    assert b"catch_up" not in encode(folded.outputs[0].record)


def test_events_tell_how_long_it_took() -> None:
    """`elapsed_ms` counts from the message's first fact."""
    last = Folded(seen("sent", 1000), seen("delivered", 4500)).outputs[-1].record

    assert getattr(last, "elapsed_ms", None) == 3500
    assert (getattr(last, "from_", None), getattr(last, "to", None)) == ("sent", "delivered")


def test_a_fact_keeps_its_reason_and_origin() -> None:
    """The state has the reason and raw coordinates of a fact as observed."""
    failed = seen("failed", 7, reason=Reason(code="302", text="bad number"))

    fact = Folded(failed).state.attempts["sms"].facts["failed"]

    assert fact.reason == Reason(code="302", text="bad number")
    assert fact.raw == failed.raw


def test_a_reply_is_published_once_and_marks_the_message() -> None:
    """The reply goes to `inbound` under the outbound message's key, which is then replied."""
    folded = Folded(seen("delivered", 1), reply(5), reply(5))

    assert [output.topic for output in folded.outputs].count("inbound") == 1
    assert folded.state.replied_at == 5
    assert list(folded.states) == [KEY]


def test_an_inbound_message_with_an_id_lives_under_its_own_key() -> None:
    """It is published once, and noted once more at the message it answers."""
    own = "whapi/C1/in-1"
    quoted = "whapi/C1/out-1"
    observation = reply(5, message_key=own, message_id="in-1", in_reply_to=quoted)

    folded = Folded(observation)

    assert set(folded.states) == {own, quoted}
    assert [output.topic for output in folded.outputs] == ["inbound", "events"]
    assert folded.states[own].direction == "inbound"
    assert folded.states[own].replied_at is None
    assert folded.states[quoted].replied_at == 5


TEXTS = [{"type": "text", "text": text} for text in ("one", "two", "one")]


def corrections(folded: Folded) -> list[tuple[int, Any]]:
    records = [out.record for out in folded.outputs if isinstance(out.record, InboundRecord)]
    return [(record.revision, record.content) for record in records]


def test_an_edit_taken_back_is_a_correction_of_its_own() -> None:
    """The content of old is there again, later: each revision has its own id."""
    edits = [inbound(1, content=TEXTS[0])]
    edits += [inbound(1, content=text, edited_at=at) for at, text in enumerate(TEXTS[1:], 2)]

    folded = Folded(*edits, *edits)

    assert corrections(folded) == [(0, TEXTS[0]), (1, TEXTS[1]), (2, TEXTS[0])]
    assert len({output.id for output in folded.outputs}) == 3
    assert folded.outcomes == ["inbound", "corrected", "corrected", *["duplicate"] * 3]
    assert corrections(Folded(*reversed(edits))) == [(0, TEXTS[0])]


def test_an_edit_that_cannot_be_read_replaces_nothing() -> None:
    """A placeholder is the poorest content, whenever it came."""
    text = inbound(1, content=TEXTS[0])
    folded = Folded(text, inbound(1, content={"type": "unknown"}, edited_at=9))

    assert corrections(folded) == [(0, TEXTS[0])]
    assert folded.state.content == TEXTS[0]


def test_a_content_too_large_for_the_state_is_corrected_once() -> None:
    """The state knows its rank, so a repeat publishes nothing."""
    long = inbound(1, content={"type": "text", "text": "x" * BOUNDS.kept_content})
    folded = Folded(inbound(1, content={"type": "unknown"}), long, long)

    assert [revision for revision, _ in corrections(folded)] == [0, 1]
    assert folded.state.content is None


def test_a_status_never_holds_back_an_inbound_content() -> None:
    """What a receipt says of an inbound message's content is not taken for published."""
    receipt = seen("read", 9, direction="inbound", content=TEXTS[0])
    placeholder, text = inbound(1, content={"type": "unknown"}), inbound(1, content=TEXTS[0])

    assert corrections(Folded(placeholder, receipt, text))[-1] == (1, TEXTS[0])
    assert corrections(Folded(receipt, text)) == [(0, TEXTS[0])]


def test_what_an_observation_lacks_is_completed() -> None:
    """A bare report of a known message has its direction, recipient and payload."""
    known: dict[str, Any] = {"recipient": "420777000001", "payload": {"order": 7}}
    bare = seen("read", 2, direction="unknown")

    status, event = [out.record for out in Folded(seen("sent", 1, **known), bare).outputs[2:]]

    for record in (status, event):
        assert getattr(record, "direction", None) == "outbound"
        assert getattr(record, "recipient", None) == "420777000001"
        assert getattr(record, "payload", None) == {"order": 7}


def test_direction_is_written_even_if_unknown() -> None:
    """Every status and event says `direction`."""
    for output in Folded(seen("sent", 1, direction="unknown")).outputs:
        assert b'"direction":"unknown"' in encode(output.record)


def test_every_event_names_its_message() -> None:
    """Provider, account, id, gateway, channel: whatever happened, and under whatever key."""
    folded = Folded(
        seen("failed", 1, "viber"),
        seen("sent", 2),
        seen("queued", 1),
        seen("failed", 3),
        seen("delivered", 4),
        seen("rejected", 5),
        seen("read", 6, viewer="v"),
        reply(7),
    )
    reported = [out.record for out in folded.outputs if isinstance(out.record, get_args(Event))]

    assert {str(one.__struct_config__.tag) for one in reported} == {
        *("advanced", "recovered", "late", "contradicted", "fell_back", "viewed", "replied")
    }
    for one in reported:
        assert isinstance(one, get_args(Event))
        assert (one.message_key, one.provider, one.account) == (KEY, "smsmanager", "-")
        assert (one.message_id, one.direction) == ("m1", "outbound")
        assert one.gateway == one.channel == one.cause.gateway


def test_the_former_name_of_forgotten_is_read() -> None:
    """`events` may hold `expired` of an earlier release for as long as it keeps anything."""
    forgotten = timers.fire(Folded(seen("sent", 1)).state, 2**62, timers.PATIENCE).outputs[-1]
    former = encode(forgotten.record).replace(b'"forgotten"', b'"expired"')

    assert isinstance(decode_event(former), Forgotten)


def test_a_stored_time_of_0_is_no_time() -> None:
    """States of earlier versions hold such times: a known time counts more, and so in durations."""
    zero = seen("sent", 0, received_at=1000)
    assert when(zero) == 1000
    known = fact_of(seen("sent", 4000, received_at=5000))
    assert earlier(fact_of(zero), known) == known

    folded = Folded(zero, seen("delivered", 7000))

    assert began(folded.state) == 1000
    [moved] = [o.record for o in folded.outputs if isinstance(o.record, Advanced)][1:]
    assert moved.elapsed_ms == 6000
