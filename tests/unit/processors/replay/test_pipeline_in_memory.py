"""Lives from the field, in memory: what is published of them, and when an alarm is given."""

from itertools import permutations
from pathlib import Path
from typing import Any

import msgspec
import pytest

from processors.replay.case_file import NotALifeError, is_life, steps_of
from processors.replay.pipeline_in_memory import Delivery, Outcome, Step, Wait, run
from schemas.records import MessageState

LIVES = Path(__file__).parent / "lives"
OURS = "whapi/CEDAR-R7PLX/FldOutboundLife-wQ1zR8"
THEIRS = "whapi/CEDAR-R7PLX/FldInboundLife-gQ1zR8"


def steps(name: str) -> list[Step]:
    return steps_of((LIVES / f"{name}.life.json").read_bytes())


def records(outcome: Outcome, topic: str) -> list[dict[str, Any]]:
    return [msgspec.to_builtins(one.record) for one in outcome.records if one.topic == topic]


def events(outcome: Outcome) -> list[str]:
    return [one.type for one in outcome.records if one.topic == "events"]


def state(outcome: Outcome, key: str) -> MessageState:
    return outcome.messages[key]


CONTENTS = {
    "placeholder-then-text": {"type": "text", "text": "Wo bleibt mein Paket?"},
    "picture-then-its-link": {
        "type": "image",
        "mime_type": "image/jpeg",
        "link": "https://files.example/1.jpg",
        "caption": "Schaden am Paket",
    },
    "edit-of-their-message": {"type": "text", "text": "am 13."},
    "edit-as-an-update": {"type": "text", "text": "am 13."},
    "edit-in-both-forms": {"type": "text", "text": "am 13."},
}


@pytest.mark.parametrize(("name", "content"), CONTENTS.items())
def test_the_better_content_is_published_as_a_correction(name: str, content: Any) -> None:
    """The first content, then the better one with `revision: 1` under the same key, and no more."""
    outcome = run(steps(name))

    inbound = records(outcome, "inbound")
    assert [one.get("revision") for one in inbound] == [None, 1]
    assert [one["message_key"] for one in inbound] == [THEIRS, THEIRS]
    assert inbound[0]["content"] != content
    assert inbound[1]["content"] == content
    assert inbound[1]["sender"] == "4915550100234"
    assert inbound[1]["occurred_at"] == 1763800095000
    assert state(outcome, THEIRS).content == content
    assert state(outcome, THEIRS).revision == 1


@pytest.mark.parametrize(("name", "content"), CONTENTS.items())
def test_the_content_does_not_depend_on_the_order(name: str, content: Any) -> None:
    """In every order the last record has the best content, and so has the state."""
    for order in permutations(steps(name)):
        outcome = run(order)
        assert records(outcome, "inbound")[-1]["content"] == content
        assert state(outcome, THEIRS).content == content
        assert list(outcome.messages) == [THEIRS]


def test_our_reading_is_not_the_customers() -> None:
    """Status and event say that the message is inbound; its sender is not its recipient."""
    outcome = run(steps("our-reading-of-their-message"))

    [status] = records(outcome, "statuses")
    [event] = records(outcome, "events")
    assert (status["status"], status["direction"]) == ("read", "inbound")
    assert (event["event"], event["to"], event["direction"]) == ("advanced", "read", "inbound")
    assert "recipient" not in status
    assert "recipient" not in event
    assert state(outcome, THEIRS).recipient is None


def test_our_reading_may_come_first() -> None:
    """The state is the same, though the receipt named their number as its chat."""
    life = steps("our-reading-of-their-message")
    outcome = run(reversed(life))

    assert records(outcome, "statuses")[0]["direction"] == "unknown"
    assert state(outcome, THEIRS).recipient is None
    before = run(life).messages[THEIRS]
    assert msgspec.structs.replace(before, attempts={}, inbound={}) == msgspec.structs.replace(
        state(outcome, THEIRS), attempts={}, inbound={}
    )


def test_a_quote_of_their_own_message_is_no_reply() -> None:
    """The quoted author is a lid, the sender a number: the message is known to be inbound."""
    outcome = run(steps("self-quote-under-lid"))

    assert "replied" not in events(outcome)
    assert len(records(outcome, "inbound")) == 2
    assert state(outcome, THEIRS).replied_at is None


def test_a_quote_before_the_quoted_message_leaves_no_reply_in_the_state() -> None:
    """An unknown message counts as outbound, until it is known to be inbound."""
    outcome = run(reversed(steps("self-quote-under-lid")))

    assert events(outcome) == ["replied"]
    assert state(outcome, THEIRS).replied_at is None


def test_a_viewer_without_a_chat_is_the_recipient() -> None:
    """In any order the receipt moves the message of a personal chat, and nobody has viewed it."""
    life = steps("viewer-without-recipient")
    for order in (life, life[::-1]):
        outcome = run(order)
        reached = state(outcome, OURS)
        assert (reached.status, reached.recipient) == ("delivered", "4915550100234")
        assert (reached.audience, reached.viewed) == ({}, None)
        assert "viewed" not in events(outcome)
        assert [one.get("viewer") for one in records(outcome, "statuses")] == [None, None]


def test_a_reply_delivered_twice_is_one() -> None:
    """A proxy gave each delivery another request id: one inbound message, one reply."""
    outcome = run(steps("reply-delivered-twice"))

    assert len(records(outcome, "inbound")) == 1
    assert events(outcome) == ["replied"]


def test_a_time_of_zero_is_no_time() -> None:
    """The right time counts, and durations are computed from it."""
    outcome = run(steps("time-zero-and-a-reply"))

    assert events(outcome) == ["advanced", "advanced", "replied"]
    elapsed = [one["elapsed_ms"] for one in records(outcome, "events")]
    assert elapsed == [0, 10_000, 20_000]
    assert state(outcome, OURS).attempts["whatsapp"].facts["sent"].occurred_at == 1763800100000


@pytest.mark.parametrize(
    "name", ["deleted-then-silence", "channel-post-then-silence", "story-then-silence"]
)
def test_no_alarm_where_no_receipt_can_come(name: str) -> None:
    """After a deletion, in a channel and for a story silence says nothing."""
    assert events(run(steps(name))) == ["advanced"]


def test_an_alarm_names_all_that_is_known() -> None:
    """`stalled` needs no join: provider, account, ids, channel, gateway, whose, to whom."""
    outcome = run(steps("sent-then-silence"))

    assert events(outcome) == ["advanced", "stalled"]
    stalled = records(outcome, "events")[1]
    assert {name: stalled.get(name) for name in ABOUT} == ABOUT
    at = [one.at for one in outcome.records if one.type == "stalled"]
    assert at == [1763800096000 + 24 * 3_600_000]


ABOUT = {
    "message_key": OURS,
    "provider": "whapi",
    "account": "CEDAR-R7PLX",
    "message_id": "FldOutboundLife-wQ1zR8",
    "channel": "whatsapp",
    "gateway": "whatsapp",
    "direction": "outbound",
    "recipient": "4915550100234",
}


def test_viewers_have_an_event() -> None:
    """One for each rung a viewer reaches, with how many have reached it; a late fact has none."""
    outcome = run(steps("viewers-of-a-group-message"))

    seen = [one for one in records(outcome, "events") if one["event"] == "viewed"]
    assert [(one["viewer"], one["rung"], one["reached"]) for one in seen] == [
        ("420777000001", "delivered", 1),
        ("420777000001", "read", 1),
        ("420777000002", "read", 2),
    ]
    assert {one["direction"] for one in seen} == {"outbound"}
    assert {one["recipient"] for one in seen} == {"120363000000000001@g.us"}


def test_a_state_is_forgotten_in_the_end() -> None:
    """After 45 days `forgotten` is the last event; no state is left, of viewers either."""
    outcome = run([*steps("viewers-of-a-group-message"), Wait(46 * 24 * 3_600_000)])

    assert events(outcome)[-1] == "forgotten"
    assert (outcome.messages, outcome.viewers) == ({}, {})
    last = records(outcome, "events")[-1]
    assert (last["status"], last["direction"], last["gateway"]) == ("sent", "outbound", "whatsapp")


def test_what_cannot_be_read_is_a_dead_letter() -> None:
    """A body that is no JSON has a code and a reason."""
    outcome = run(steps_of(b"{oops", "whapi"))

    assert [one.type for one in outcome.records] == ["not_json"]


def test_a_body_needs_a_provider() -> None:
    """A file with one body does not name whose it is."""
    assert steps_of(b'[{"gateway": "sms", "body": "x"}]', "smsmanager") == [
        Delivery("smsmanager", b'[{"gateway": "sms", "body": "x"}]')
    ]
    with pytest.raises(NotALifeError, match="name its provider"):
        steps_of(b"{}")


@pytest.mark.parametrize(
    "text",
    [b'[{"wait_hours": "x"}]', b'[{"provider": "whapi", "body": {}, "recieved_at": 1}]'],
)
def test_a_life_with_a_mistake_says_so(text: bytes) -> None:
    """A misspelt or ill-typed field is named."""
    assert is_life(text)
    with pytest.raises(NotALifeError, match=r"wait_hours|recieved_at"):
        steps_of(text)
