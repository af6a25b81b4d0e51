"""Bodies that users of delivery webhooks report: each has the result that its file expects."""

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cli.up.examples import Sample
from schemas.codec import decode_observation, encode
from schemas.records import InboundObservation, record_keys
from tests.unit.webhooks import changed, fields, one_inbound, one_status, outcome, result_of

CASES = sorted(Path(__file__).with_name("cases").glob("*.json"))
REPLY: dict[str, Any] = {
    "gateway": "sms",
    "timestamp": 1763800600,
    "type": "incoming",
    "sender": "420602000111",
    "recipient": "420777000999",
    "body": "Ano",
    "message_id": "m01b",
}


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_case_amounts_to_what_is_expected(path: Path) -> None:
    """A field that is expected to be null is absent."""
    case = msgspec.json.decode(path.read_bytes(), type=Sample)
    result = result_of(case.source, bytes(case.body))
    assert len(result.observations) == len(case.expect.observations)
    for found, wanted in zip(result.observations, case.expect.observations, strict=True):
        assert {name: fields(found).get(name) for name in wanted} == wanted
        assert decode_observation(encode(found)) == found
    assert Counter(letter.code for letter in result.dead_letters) == case.expect.dead_letters
    assert result.ignored == case.expect.ignored


def test_there_are_cases() -> None:
    """The directory was found."""
    assert len(CASES) > 30


def key(*items: dict[str, Any], **rest: Any) -> list[str]:
    return [one.message_key for one in result_of("smsmanager", list(items), **rest).observations]


def test_a_header_is_no_part_of_an_identity() -> None:
    """A proxy that writes a new `X-Request-Id` for a retry makes no second message of it."""
    first, second = ({"x-request-id": name} for name in ("edge-7f01", "edge-9c44"))
    assert key(REPLY, headers=first) == key(REPLY, headers=second) == key(REPLY)


def test_two_messages_under_one_header_are_two() -> None:
    """A client that sends one `X-Request-Id` for all it sends loses no message."""
    headers = {"x-request-id": "1"}
    other = changed(REPLY, {"sender": "420602000222", "body": "Kdy prijede kuryr?"})
    assert key(REPLY, headers=headers) != key(other, headers=headers)


def test_equal_messages_of_one_body_are_numbered() -> None:
    """The n-th equal message has the same key in each delivery, whatever else is in the body."""
    first, second, third = key(REPLY, REPLY, REPLY)
    assert (second, third) == (f"{first}-2", f"{first}-3")
    other = changed(REPLY, {"body": "Ne"})
    assert key(other, REPLY, other, REPLY) == [*key(other), first, f"{key(other)[0]}-2", second]
    # What is no part of the content makes no difference.
    assert key(REPLY, changed(REPLY, {"request_id": "r", "payload": 1})) == [first, second]


def test_a_numbered_reply_still_answers_its_message() -> None:
    """It lives with the message it answers."""
    replies = result_of("smsmanager", [REPLY, REPLY]).observations
    assert {record_keys(one) for one in replies} == {("smsmanager/-/m01b",)}
    assert all(isinstance(one, InboundObservation) for one in replies)


def test_an_identity_does_not_depend_on_the_reception() -> None:
    """A time that is no time when a message is received first may be one when it is retried."""
    ahead = changed(REPLY, {"timestamp": 1763800600 + 90_000_000})
    (one,) = result_of("smsmanager", [ahead]).observations
    assert (one.occurred_at, one.unread) == (None, ["timestamp"])
    assert key(ahead) != key(REPLY)
    odd = [key(changed(REPLY, {"timestamp": time})) for time in ("soon", "later", 0, None)]
    assert len({one for (one,) in odd}) == len(odd)


STORY: dict[str, Any] = {
    "id": "stoA001_M7fgwWD4XwHu-hIwA",
    "from_me": False,
    "type": "story",
    "chat_id": "stories",
    "timestamp": 1712995245,
    "from": "919984351847",
    "text": {"body": "Sunny"},
}


@pytest.mark.parametrize(
    "changes", [{}, {"chat_id": "status@broadcast"}, {"type": "image"}, {"chat_id": ...}]
)
def test_a_contacts_story_is_left_alone_unless_wanted(changes: dict[str, Any]) -> None:
    """It is counted; with the setting it is an inbound message."""
    body = {"messages": [changed(STORY, changes)], "channel_id": "C"}
    assert outcome(result_of("whapi", body)) == (0, [], {"messages.story": 1})
    story = one_inbound("whapi", body, stories=True)
    assert (story.message_id, story.sender) == (STORY["id"], "919984351847")


def test_our_own_story_is_followed() -> None:
    """Its status is one of an outbound message, whatever the setting."""
    body = {"messages": [changed(STORY, {"from_me": True, "status": "sent"})], "channel_id": "C"}
    assert one_status("whapi", body).recipient == "stories"
