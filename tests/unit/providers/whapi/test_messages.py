"""Whapi.Cloud: messages and their changes, as tables."""

from typing import Any

import pytest

from tests.unit.webhooks import changed, fields, one_inbound, one_status, outcome, result_of

CHANNEL = "MANTIS-M72HC"
PEER = "919984351847@s.whatsapp.net"
GROUP = "120363271212442249@g.us"
MESSAGE: dict[str, Any] = {
    "id": "C-d",
    "from_me": False,
    "type": "text",
    "chat_id": PEER,
    "timestamp": 1712995377,
    "text": {"body": "Hi"},
    "from": "919984351847",
}


def body(key: str, entry: Any) -> dict[str, Any]:
    return {key: [entry], "channel_id": CHANNEL}


def messages(**changes: Any) -> dict[str, Any]:
    return body("messages", changed(MESSAGE, changes))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"from_me": ...}, "missing_field"),
        ({"from_me": "true"}, "wrong_type"),
        ({"type": ...}, "missing_field"),
        ({"id": None}, "wrong_type"),
        ({"timestamp": "x"}, "bad_value"),
        ({"type": "action"}, "missing_field"),
        ({"type": "action", "action": {}}, "missing_field"),
        ({"context": 5}, "wrong_type"),
        ({"from": 5}, "wrong_type"),
        ({"type": "location", "location": {"latitude": float("nan")}}, "not_finite"),
    ],
)
def test_refused_messages(changes: dict[str, Any], code: str) -> None:
    """A message without what it needs is a dead letter."""
    result = result_of("whapi", messages(**changes))
    assert outcome(result) == (0, [(code, "/messages/0")], {})


@pytest.mark.parametrize(
    ("status", "occurred_at"),
    [
        ("pending", 1712995377000),
        ("sent", 1712995377000),
        ("delivered", None),
        ("read", None),
        ("failed", None),
    ],
)
def test_what_a_message_event_dates(status: str, occurred_at: int | None) -> None:
    """The message's own time dates its sending, not what happened to it later."""
    observation = one_status("whapi", messages(from_me=True, status=status))
    assert observation.occurred_at == occurred_at
    assert (observation.direction, observation.recipient) == ("outbound", "919984351847")
    assert observation.content == {"type": "text", "text": "Hi"}


@pytest.mark.parametrize(
    ("changes", "sender", "recipient"),
    [
        ({}, "919984351847", None),
        ({"from": ...}, "919984351847", None),
        ({"from": PEER}, "919984351847", None),
        ({"from": {"id": "845@lid", "name": "Ana"}}, "845@lid", None),
        ({"chat_id": ...}, "919984351847", None),
        ({"chat_id": GROUP}, "919984351847", GROUP),
        ({"chat_id": GROUP, "from": ...}, None, GROUP),
        ({"chat_id": "120363@newsletter", "from": ""}, None, "120363@newsletter"),
    ],
)
def test_senders(changes: dict[str, Any], sender: str | None, recipient: str | None) -> None:
    """In a personal chat the sender is the chat; in a group the recipient is."""
    observation = one_inbound("whapi", messages(**changes))
    assert (observation.sender, observation.recipient) == (sender, recipient)


@pytest.mark.parametrize(
    ("changes", "context", "replies"),
    [
        ({}, {"quoted_id": "A-b"}, True),
        ({}, {"quoted_id": "A-b", "quoted_author": ""}, True),
        ({}, {"quoted_id": "A-b", "quoted_author": "61371989950"}, True),
        ({}, {"quoted_id": "A-b", "quoted_author": PEER}, False),
        ({}, {"quoted_id": "A-b", "quoted_author": "919984351847"}, False),
        ({}, {"quoted_id": ""}, False),
        ({}, {}, False),
        ({}, None, False),
        ({"chat_id": GROUP}, {"quoted_id": "A-b"}, False),
        ({"chat_id": "stories"}, {"quoted_id": "A-b"}, False),
        ({"chat_id": "1@newsletter"}, {"quoted_id": "A-b"}, False),
        ({"chat_id": ...}, {"quoted_id": "A-b"}, False),
    ],
)
def test_replies(changes: dict[str, Any], context: Any, *, replies: bool) -> None:
    """Quoting ours in a personal chat is an answer; quoting oneself or in a group is not."""
    observation = one_inbound("whapi", messages(context=context, **changes))
    assert observation.in_reply_to == (f"whapi/{CHANNEL}/A-b" if replies else None)
    assert observation.message_key == f"whapi/{CHANNEL}/C-d"


def test_an_inbound_message_with_a_status_tells_two_things() -> None:
    """The message, and a status of it that is inbound."""
    result = result_of("whapi", messages(status="sent"))
    told = [(fields(o)["kind"], o.message_key, o.raw.index) for o in result.observations]
    key = f"whapi/{CHANNEL}/C-d"
    assert told == [("inbound", key, 0), ("status", key, 0)]
    status = fields(result.observations[1])
    # Nobody tells our own number: in a personal chat `chat_id` is the sender.
    assert (status["direction"], status.get("recipient")) == ("inbound", None)


@pytest.mark.parametrize(
    ("changes", "content"),
    [
        ({"text": {"body": "Hi"}}, {"type": "text", "text": "Hi"}),
        ({"text": "Hi"}, {"type": "text", "text": "Hi"}),
        ({"text": {"body": 5}}, {"type": "text"}),
        ({"text": ...}, {"type": "text"}),
        ({"text": ["Hi"]}, {"type": "text"}),
        (
            {"type": "interactive", "interactive": {"body": {"text": "Pick"}, "header": {}}},
            {"type": "interactive", "text": "Pick"},
        ),
        (
            {
                "type": "documentWithCaption",
                "text": ...,
                "document": {"filename": "a.pdf", "caption": "A"},
            },
            {"type": "documentWithCaption", "filename": "a.pdf", "caption": "A"},
        ),
        (
            {"type": "reply", "text": ..., "reply": {"list_reply": {"id": "r1", "title": "One"}}},
            {"type": "reply", "text": "One", "choice": "r1"},
        ),
        (
            {"type": "image", "image": {"link": "data:image/png;base64,AA", "preview": "AA"}},
            {"type": "image"},
        ),
        ({"type": "hologram", "text": ...}, {"type": "hologram"}),
    ],
)
def test_contents(changes: dict[str, Any], content: dict[str, Any]) -> None:
    """A content is its texts and what describes it, whatever its shape."""
    assert one_inbound("whapi", messages(**changes)).content == content


@pytest.mark.parametrize(
    ("action", "ignored"),
    [
        ({"type": "delete"}, "messages.action.delete"),
        ({"type": "delete", "target": PEER}, "messages.action.delete"),
        ({"type": "media_notify", "target": "A-b"}, "messages.action.media_notify"),
        ({"type": "odd\n\ud83d" + "x" * 100, "target": "A-b"}, None),
        ({"type": "odd\n" + "x" * 100, "target": "A-b"}, "messages.action.odd?" + "x" * 60),
    ],
)
def test_actions(action: dict[str, Any], ignored: str | None) -> None:
    """An action opens no state machine, not even one that carries a status."""
    result = result_of("whapi", messages(type="action", action=action, status="sent"))
    if ignored is None:
        assert outcome(result) == (0, [("not_unicode", "/messages/0")], {})
    else:
        assert outcome(result) == (0, [], {ignored: 1})


@pytest.mark.parametrize(
    ("before", "after", "status"),
    [
        ({"status": "sent"}, {"status": "read"}, "read"),
        (None, {"status": "sent"}, "sent"),
        ({}, {"status": "pending"}, "queued"),
        ({"status": "sent"}, {"status": "sent"}, None),
        ({"status": "sent"}, {}, None),
        ({"status": "sent"}, {"status": ""}, None),
    ],
)
def test_updates(before: Any, after: Any, status: str | None) -> None:
    """An update is a status only if the status changed; when is not told."""
    update = {"id": "A-b", "before_update": before, "after_update": after | {"timestamp": 1}}
    result = result_of("whapi", body("messages_updates", update))
    if status is None:
        assert outcome(result) == (0, [], {"messages_updates": 1})
    else:
        (observation,) = result.observations
        assert fields(observation)["status"] == status
        assert observation.occurred_at is None


@pytest.mark.parametrize(
    ("from_me", "direction"), [(True, "outbound"), (False, "inbound"), (None, "unknown")]
)
def test_updates_tell_the_direction(from_me: Any, direction: str) -> None:
    """An update says whose message it is, if it does."""
    update = {"id": "A-b", "after_update": {"status": "read", "from_me": from_me}}
    assert one_status("whapi", body("messages_updates", update)).direction == direction


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        (("messages_updates", {"after_update": {}}), "missing_field"),
        (("messages_updates", {"id": "A-b"}), "missing_field"),
        (("messages_removed", 5), "wrong_type"),
        (("messages_removed", ""), "bad_value"),
        (("messages_removed", None), "wrong_type"),
    ],
)
def test_refused_changes(entry: tuple[str, Any], code: str) -> None:
    """A change of a message nobody names is a dead letter."""
    key, value = entry
    assert outcome(result_of("whapi", body(key, value))) == (0, [(code, f"/{key}/0")], {})
