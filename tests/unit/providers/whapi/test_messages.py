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
        ({"type": "action"}, "missing_field"),
        ({"type": "action", "action": {}}, "missing_field"),
        ({"type": "action", "action": {"type": 5}}, "wrong_type"),
        ({"type": "action", "action": {"type": "delete"}}, "missing_field"),
        ({"type": "action", "action": {"type": "delete", "target": 5}}, "wrong_type"),
        # The sender and the direction are facts; so is the status of an outbound message.
        ({"chat_id": GROUP, "from": 5}, "wrong_type"),
        ({"chat_id": 5, "from": ...}, "wrong_type"),
        ({"from_me": True, "status": 5}, "wrong_type"),
    ],
)
def test_refused_messages(changes: dict[str, Any], code: str) -> None:
    """A message without what it needs is a dead letter."""
    result = result_of("whapi", messages(**changes))
    assert outcome(result) == (0, [(code, "/messages/0")], {})


@pytest.mark.parametrize(
    ("changes", "unread"),
    [
        ({"timestamp": "x"}, ["timestamp"]),
        ({"context": 5}, ["context"]),
        ({"context": {"quoted_id": 5, "quoted_author": ""}}, ["context.quoted_id"]),
        ({"context": {"quoted_id": "A-b", "quoted_author": 5}}, ["context.quoted_author"]),
        ({"from": 5}, ["from"]),
        ({"chat_id": 5}, ["chat_id"]),
        ({"status": 5}, ["status"]),
        ({"action": 5}, ["action"]),
    ],
)
def test_what_cannot_be_read_is_left_out(changes: dict[str, Any], unread: list[str]) -> None:
    """The message is kept: who wrote it, and what."""
    message = one_inbound("whapi", messages(**changes))
    assert (message.unread, message.in_reply_to) == (unread, None)
    assert (message.sender, message.content) == ("919984351847", {"type": "text", "text": "Hi"})


@pytest.mark.parametrize(
    ("changes", "content", "unread"),
    [
        ({"text": {"body": 5}}, {}, ["content.text"]),
        ({"text": ["Hi"]}, {}, ["content"]),
        ({"text": 5}, {}, ["content"]),
        ({"text": []}, {}, []),
        ({"text": {"body": "Hi", "title": {}}}, {"text": "Hi"}, []),
        (
            {"type": "location", "location": {"latitude": float("nan"), "longitude": 1.5}},
            {"longitude": 1.5},
            ["content.latitude"],
        ),
        ({"type": "location", "location": {"latitude": "north"}}, {}, ["content.latitude"]),
        (
            {"type": "contact_list", "contact_list": {"list": [{"name": "Jo", "vcard": 5}, 7]}},
            {"contacts": [{"name": "Jo"}]},
            ["content.contacts"],
        ),
    ],
)
def test_odd_contents(changes: dict[str, Any], content: dict[str, Any], unread: list[str]) -> None:
    """What is not of the expected shape is left out of the content, and named."""
    message = one_inbound("whapi", messages(**changes))
    assert message.content == {"type": changes.get("type", "text"), **content}
    assert message.unread == unread


def test_half_a_surrogate_pair_in_a_content() -> None:
    """The rest of the message is kept; a field that is not read makes no difference."""
    text = b'{"id":"C-d","from_me":false,"type":"text","from":"1","text":%s,"from_name":%s}'
    odd = b'{"body":"\\ud800"}'
    (message,) = result_of("whapi", b'{"messages":[' + text % (odd, b'"K"') + b"]}").observations
    assert (message.content, message.unread) == ({"type": "text"}, ["content"])
    good = text % (b'{"body":"Hi"}', b'"\\ud800"')
    (message,) = result_of("whapi", b'{"messages":[' + good + b"]}").observations
    assert (message.content, message.unread) == ({"type": "text", "text": "Hi"}, [])


@pytest.mark.parametrize(
    ("vcard", "contact"),
    [
        (
            "BEGIN:VCARD\r\nFN:Jo\r\nitem1.TEL;waid=4915550100999:+49 155 50100999\r\nEND:VCARD",
            {"name": "Jo", "numbers": ["4915550100999"]},
        ),
        (
            'TEL;TYPE="a:b";VALUE=uri:tel:+1-202-555-0100\nTEL:112',
            {"numbers": ["12025550100", "112"]},
        ),
        ("TEL:+4915550\n 100999\nTEL:004915550100999", {"numbers": ["4915550100999"]}),
        ("FN:Al\nTELEX:1\nX-TEL:2\nTEL:", {"name": "Al"}),
    ],
)
def test_contact_cards(vcard: str, contact: dict[str, Any]) -> None:
    """Of a vCard the name and the numbers are kept."""
    cards = [{"vcard": vcard}]
    for contact_list in (cards, {"list": cards}):
        body = messages(type="contact_list", contact_list=contact_list, text=...)
        message = one_inbound("whapi", body)
        assert message.content == {"type": "contact_list", "contacts": [contact]}


@pytest.mark.parametrize("key", ["buttons_reply", "button_reply", "list_reply"])
def test_what_was_tapped(key: str) -> None:
    """It is read under each name it has."""
    reply = {"type": key, key: {"id": "b1", "title": "Yes"}}
    message = one_inbound("whapi", messages(type="reply", text=..., reply=reply))
    assert message.content == {"type": "reply", "text": "Yes", "choice": "b1"}


def test_a_pin_is_left_alone() -> None:
    """As a type, too, it changes no status; nor does it open a message."""
    for kind in ("pin", "unpin"):
        for from_me in (True, False):
            pin = messages(type=kind, pin={"target": "A-b"}, from_me=from_me, status="sent")
            assert outcome(result_of("whapi", pin)) == (0, [], {f"messages.{kind}": 1})


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
        ({}, {"quoted_id": "A-b", "quoted_author": "919984351847:12@s.whatsapp.net"}, False),
        ({"from": "845:2@lid"}, {"quoted_id": "A-b", "quoted_author": PEER}, False),
        ({"from": "845:2@lid"}, {"quoted_id": "A-b", "quoted_author": "845:9@lid"}, False),
        ({"chat_id": GROUP}, {"quoted_id": "A-b"}, False),
        ({"chat_id": "1@broadcast"}, {"quoted_id": "A-b"}, False),
        ({"chat_id": "1@newsletter"}, {"quoted_id": "A-b"}, False),
        ({"chat_id": ...}, {"quoted_id": "A-b"}, False),
    ],
)
def test_replies(changes: dict[str, Any], context: Any, *, replies: bool) -> None:
    """A quoted outbound message in a personal chat is a reply; one's own, or in a group, is not."""
    observation = one_inbound("whapi", messages(context=context, **changes))
    assert observation.in_reply_to == (f"whapi/{CHANNEL}/A-b" if replies else None)
    assert observation.message_key == f"whapi/{CHANNEL}/C-d"


def test_an_inbound_message_with_a_status_tells_two_things() -> None:
    """The message, and a status of it that is inbound."""
    result = result_of("whapi", messages(status="sent"))
    outcomes = [(fields(o)["kind"], o.message_key, o.raw.index) for o in result.observations]
    key = f"whapi/{CHANNEL}/C-d"
    assert outcomes == [("inbound", key, 0), ("status", key, 0)]
    status = fields(result.observations[1])
    # The account's own number is not given: in a personal chat `chat_id` is the sender.
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
        ({"type": "reaction", "target": "", "emoji": ""}, "messages.action.reaction"),
        ({"type": "reaction"}, "messages.action.reaction"),
        ({"type": "unpin", "target": None}, "messages.action.unpin"),
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
    """An update is a status only if the status changed; its time is unknown."""
    update = {"id": "A-b", "before_update": before, "after_update": after | {"timestamp": 1}}
    result = result_of("whapi", body("messages_updates", update))
    if status is None:
        assert outcome(result) == (0, [], {"messages_updates": 1})
    else:
        (observation,) = result.observations
        assert fields(observation)["status"] == status
        assert observation.occurred_at is None


@pytest.mark.parametrize(
    ("action", "deleted"),
    [
        ({"type": "delete", "target": "A-b"}, True),
        ({"type": "delete", "target": ""}, True),
        ({"type": "delete"}, True),
        ({"type": "delete", "target": "another"}, False),
        ({"type": "edit", "target": "A-b"}, False),
    ],
)
@pytest.mark.parametrize("after", [{"status": "sent", "type": "text", "chat_id": PEER}, ...])
def test_an_update_by_a_deletion(action: Any, after: Any, *, deleted: bool) -> None:
    """The message is deleted, at the time of the action."""
    trigger = {"id": "T-u", "timestamp": 1712995500, "action": action}
    update = {"id": "A-b", "trigger": trigger, "before_update": {"status": "sent"}}
    update |= {} if after is ... else {"after_update": after}
    result = result_of("whapi", body("messages_updates", update))
    if deleted:
        (observation,) = result.observations
        assert fields(observation)["status"] == "deleted"
        assert (observation.occurred_at, observation.content) == (1712995500000, None)
    elif after is ...:
        assert outcome(result) == (0, [("missing_field", "/messages_updates/0")], {})
    else:
        assert outcome(result) == (0, [], {"messages_updates": 1})


@pytest.mark.parametrize("trigger", [5, {"action": 5}, {"action": {"type": 5}}])
def test_an_update_that_may_be_a_deletion(trigger: Any) -> None:
    """It is not left alone: a dead letter, unless it has a status."""
    same = {"id": "A-b", "trigger": trigger, "after_update": {}}
    moved = {"id": "A-b", "trigger": trigger, "after_update": {"status": "read"}}
    letters = [("wrong_type", "/messages_updates/0")]
    assert outcome(result_of("whapi", body("messages_updates", same))) == (0, letters, {})
    assert one_status("whapi", body("messages_updates", moved)).status == "read"


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
        (("messages_updates", {"id": "A-b", "after_update": {"status": 5}}), "wrong_type"),
        (("messages_updates", {"id": "A-b", "after_update": 5}), "wrong_type"),
        (("messages_removed", 5), "wrong_type"),
        (("messages_removed", ""), "bad_value"),
        (("messages_removed", None), "wrong_type"),
    ],
)
def test_refused_changes(entry: tuple[str, Any], code: str) -> None:
    """A change of an unnamed message is a dead letter."""
    key, value = entry
    assert outcome(result_of("whapi", body(key, value))) == (0, [(code, f"/{key}/0")], {})
