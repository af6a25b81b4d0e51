"""Whapi.Cloud: what the samples leave open, as tables."""

from typing import Any

import pytest

from providers.whapi.parser import ASIDE, STATUSES
from tests.unit.webhooks import changed, fields, one_status, outcome, result_of

CHANNEL = "MANTIS-M72HC"
PEER = "919984351847@s.whatsapp.net"
GROUP = "120363271212442249@g.us"
STATUS: dict[str, Any] = {
    "id": "A-b",
    "code": 3,
    "status": "delivered",
    "recipient_id": PEER,
    "timestamp": "1712995378",
}


def statuses(**changes: Any) -> dict[str, Any]:
    return {"statuses": [changed(STATUS, changes)], "channel_id": CHANNEL}


@pytest.mark.parametrize(
    ("word", "status"), [*STATUSES.items(), ("seen", "unknown"), ("Read", "unknown")]
)
def test_statuses(word: str, status: str) -> None:
    """The vendor's seven words have a Bluetick status; any other is unknown and kept."""
    observation = one_status("whapi", statuses(status=word))
    assert (observation.status, observation.provider_status) == (status, word)


def test_the_vendor_has_seven_words() -> None:
    """The table has the words of the OpenAPI document, no more."""
    assert set(STATUSES) == {"failed", "pending", "sent", "delivered", "read", "played", "deleted"}
    assert STATUSES["pending"] == "queued"


@pytest.mark.parametrize(
    ("recipient_id", "viewer_id", "recipient", "viewer"),
    [
        (PEER, ..., "919984351847", None),
        ("919984351847@c.us", "", "919984351847", None),
        ("919984351847", None, "919984351847", None),
        ({"id": PEER, "name": "Ana"}, ..., "919984351847", None),
        # In a personal chat the viewer is the recipient, under whatever name.
        (PEER, "919984351847", "919984351847", None),
        (PEER, "845@lid", "919984351847", None),
        ("845@lid", "919984351847", "845@lid", None),
        (GROUP, "919984351847", GROUP, "919984351847"),
        (GROUP, PEER, GROUP, "919984351847"),
        (GROUP, {"id": "845@lid", "name": "Ana"}, GROUP, "845@lid"),
        (GROUP, ..., GROUP, None),
        ("420777123456-1612345678@g.us", "1234567", "420777123456-1612345678@g.us", "1234567"),
        ("stories", "919984351847", "stories", "919984351847"),
        ("status@broadcast", "919984351847", "status@broadcast", "919984351847"),
        ("120363@newsletter", "919984351847", "120363@newsletter", "919984351847"),
        # A group, a channel and stories always name their chat: without one the chat is personal.
        (None, "919984351847", "919984351847", None),
        (..., PEER, "919984351847", None),
        ("", "919984351847:3@s.whatsapp.net", "919984351847", None),
        ({}, {"id": "845:11@lid", "name": "Ana"}, "845@lid", None),
        # What is no person is no recipient of a personal chat.
        (None, GROUP, None, GROUP),
        # A chat that cannot be read may be a group.
        (919984351847, "919984351847", None, "919984351847"),
        ({}, ..., None, None),
        # WhatsApp's devices are no people, and a lid is no number.
        ("919984351847:7@s.whatsapp.net", ..., "919984351847", None),
        ("919984351847.0:12@c.us", ..., "919984351847", None),
        ("919984351847_1:12@s.whatsapp.net", ..., "919984351847", None),
        ("845:11@lid", ..., "845@lid", None),
        (GROUP, "919984351847:3@s.whatsapp.net", GROUP, "919984351847"),
        (GROUP, {"id": "845:11@lid"}, GROUP, "845@lid"),
        (GROUP, "+91 99843\u00a051847", GROUP, "919984351847"),
        ([], "", None, None),
    ],
)
def test_recipients_and_viewers(
    recipient_id: Any, viewer_id: Any, recipient: str | None, viewer: str | None
) -> None:
    """A viewer is kept only where there can be many."""
    observation = one_status("whapi", statuses(recipient_id=recipient_id, viewer_id=viewer_id))
    assert (observation.recipient, observation.viewer) == (recipient, viewer)


@pytest.mark.parametrize(
    ("errors", "code", "text"),
    [
        ([{"code": 463, "message": "no", "details": "why"}], "463", "no: why"),
        ([{"code": "E1"}, {"code": 2}], "E1", None),
        ([{"details": "why"}], None, "why"),
        ({"code": 131026, "message": "undeliverable"}, "131026", "undeliverable"),
        ([{"code": "", "message": "no", "details": None}], None, "no"),
    ],
)
def test_reasons(errors: Any, code: str | None, text: str | None) -> None:
    """The first error is the reason."""
    reason = one_status("whapi", statuses(status="failed", errors=errors)).reason
    assert reason is not None
    assert (reason.code, reason.text) == (code, text)


@pytest.mark.parametrize("errors", [..., None, [], {}, "", [{}], [[]], [{"code": None}]])
def test_no_reason(errors: Any) -> None:
    """No error is no reason."""
    observation = one_status("whapi", statuses(errors=errors))
    assert (observation.reason, observation.unread) == (None, [])


@pytest.mark.parametrize(
    ("channel_id", "key", "account"),
    [
        (CHANNEL, f"whapi/{CHANNEL}/A-b", CHANNEL),
        ("a/b", "whapi/a%2Fb/A-b", "a/b"),
        (None, "whapi/-/A-b", "-"),
        ("", "whapi/-/A-b", "-"),
        ([], "whapi/-/A-b", "-"),
        ({}, "whapi/-/A-b", "-"),
    ],
)
def test_the_channel_is_part_of_the_key(channel_id: Any, key: str, account: str) -> None:
    """Two channels can report the same id; a body without a channel has the account `-`."""
    observation = one_status("whapi", statuses() | {"channel_id": channel_id})
    assert (observation.message_key, observation.account) == (key, account)


@pytest.mark.parametrize(
    ("channel_id", "code"), [(5, "wrong_type"), (["x"], "wrong_type"), ("x" * 513, "bad_value")]
)
def test_a_channel_that_is_none(channel_id: Any, code: str) -> None:
    """A mistyped channel would make wrong keys, so the whole body is refused."""
    result = result_of("whapi", statuses() | {"channel_id": channel_id})
    assert outcome(result) == (0, [(code, "")], {})


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"id": ...}, "missing_field", "id"),
        ({"id": ""}, "bad_value", "id"),
        ({"id": "x" * 513}, "bad_value", "id"),
        ({"status": ...}, "missing_field", "status"),
        ({"status": None}, "wrong_type", "status"),
        ({"status": 3}, "wrong_type", "status"),
        # In a group the viewer is a fact; it is one, too, if the chat cannot be read.
        ({"recipient_id": GROUP, "viewer_id": ["1"]}, "wrong_type", "viewer_id"),
        ({"recipient_id": GROUP, "viewer_id": "1" * 513}, "bad_value", "viewer_id"),
        ({"recipient_id": 5, "viewer_id": 5}, "wrong_type", "viewer_id"),
    ],
)
def test_refused_statuses(changes: dict[str, Any], code: str, field: str) -> None:
    """A field that is missing, mistyped or out of range makes one dead letter that names it."""
    result = result_of("whapi", statuses(**changes))
    assert outcome(result) == (0, [(code, "/statuses/0")], {})
    assert field in result.dead_letters[0].reason
    assert "919984351847" not in result.dead_letters[0].reason


@pytest.mark.parametrize(
    ("changes", "unread"),
    [
        ({"timestamp": {}}, ["timestamp"]),
        ({"timestamp": "-5"}, ["timestamp"]),
        ({"recipient_id": 919984351847}, ["recipient_id"]),
        ({"viewer_id": ["1"]}, ["viewer_id"]),
        ({"recipient_id": ..., "viewer_id": 5}, ["viewer_id"]),
        ({"errors": "x"}, ["errors"]),
        ({"errors": [5]}, ["errors"]),
        (
            {"errors": {"code": 1.5, "message": 5, "details": "why"}},
            ["errors.code", "errors.message"],
        ),
    ],
)
def test_what_cannot_be_read_is_left_out(changes: dict[str, Any], unread: list[str]) -> None:
    """The status is kept, and the name of what is missing."""
    observation = one_status("whapi", statuses(**changes))
    assert observation.unread == unread
    assert (observation.message_id, observation.status) == ("A-b", "delivered")


@pytest.mark.parametrize("key", sorted(ASIDE))
@pytest.mark.parametrize(("value", "count"), [({"id": "1"}, 1), ([1, 2], 2), ("x", 1), ([], 0)])
def test_what_is_no_message_is_counted(key: str, value: Any, count: int) -> None:
    """Every other data key is counted by entry, of whatever shape it is."""
    ignored = {key: count} if count else {}
    assert outcome(result_of("whapi", {key: value, "channel_id": CHANNEL})) == (0, [], ignored)


@pytest.mark.parametrize(
    ("event", "path", "method", "ignored"),
    [
        ({"type": "messages", "event": "post"}, "", "POST", "messages.post"),
        ({"type": "messages", "method": "put"}, "", "POST", "messages.put"),
        ({"type": "ack", "event": "post"}, "", "POST", "statuses.post"),
        ({"type": "message", "event": "post"}, "", "POST", "messages.post"),
        ({"type": "chat", "event": "patch"}, "", "POST", "chats.patch"),
        ({"type": "status", "event": "put"}, "", "POST", "statuses.put"),
        ({"type": "newborn", "event": "post"}, "", "POST", "newborn.post"),
        ({"type": "users"}, "", "DELETE", "users.delete"),
        (..., "/messages/post", "POST", "messages.post"),
        (..., "/a/b/message/patch?x=1", "POST", "messages.patch"),
        (..., "/statuses", "PUT", "statuses.put"),
        (..., "/statuses/", "PUT", "statuses.put"),
        ({}, "/users/delete", "POST", "users.delete"),
        (5, "/users/delete", "POST", "users.delete"),
    ],
)
def test_events_without_data(event: Any, path: str, method: str, ignored: str) -> None:
    """A body without data is counted as what its event, or else its URL and verb, calls it.

    An unknown member makes no difference, unless the event is one of statuses or messages.
    """
    text = {"channel_id": CHANNEL, "statuses": None} | ({} if event is ... else {"event": event})
    assert outcome(result_of("whapi", text, path=path, method=method)) == (0, [], {ignored: 1})
    del text["statuses"]
    strange = result_of("whapi", text | {"strange": 1}, path=path, method=method)
    speaks = ignored.startswith(("statuses", "messages"))
    assert outcome(strange) == ((0, [("wrong_root", "")], {}) if speaks else (0, [], {ignored: 1}))


MESSAGE: dict[str, Any] = {
    "id": "C-d",
    "from_me": True,
    "type": "text",
    "chat_id": PEER,
    "timestamp": 1712995377,
    "status": "sent",
    "text": {"body": "Hi"},
}
UPDATE: dict[str, Any] = {"id": "E-f", "after_update": {"status": "read"}}


@pytest.mark.parametrize(
    ("event", "data", "statuses", "letters", "ignored"),
    [
        # Deprecated names of the vendor's.
        ("ack.post", {"ack": [STATUS, STATUS]}, ["delivered"] * 2, [], {}),
        ("status.post", {"status": STATUS}, ["delivered"], [], {}),
        ("statuses.post", {"ack": [STATUS | {"status": "odd"}]}, ["unknown"], [], {}),
        ("message.post", {"message": [MESSAGE]}, ["sent"], [], {}),
        ("message.patch", {"message": UPDATE}, ["read"], [], {}),
        ("messages.delete", {"message": ["G-h"]}, ["deleted"], [], {}),
        (None, {"ack": [STATUS]}, ["delivered"], [], {}),
        ("chat.post", {"chat": {"id": "1"}}, [], [], {"chats.post": 1}),
        ("ack.post", {"ack": [{"id": "A-b"}, STATUS]}, ["delivered"], ["/ack/0"], {}),
        ("ack.post", {"ack": []}, [], [], {"statuses.post": 1}),
        ("ack.post", {"ack": "ok"}, [], [""], {}),
        # Unknown names: what has a known shape is read.
        ("statuses.post", {"receipts": [STATUS]}, ["delivered"], [], {}),
        ("statuses.post", {"receipts": STATUS, "n": 1}, ["delivered"], [], {"n": 1}),
        ("statuses.post", {"receipts": [STATUS | {"status": "odd"}]}, [], ["/receipts/0"], {}),
        ("statuses.post", {"receipts": {"A-b": "read"}}, [], ["/receipts"], {}),
        ("messages.post", {"texts": [MESSAGE, UPDATE, 5]}, ["sent", "read"], ["/texts/2"], {}),
        ("messages.post", {"receipts": [STATUS]}, ["delivered"], [], {}),
        ("newborn.post", {"newborns": [STATUS, {}]}, ["delivered"], [], {"newborn.post": 1}),
        (None, {"receipts": [STATUS, {}]}, ["delivered"], ["/receipts/1"], {}),
        # Next to the event's own key, or others, there may be anything.
        (
            "statuses.post",
            {"statuses": [STATUS], "meta": {"id": 1}},
            ["delivered"],
            [],
            {"meta": 1},
        ),
        ("statuses.post", {"statuses": [], "more": [STATUS]}, ["delivered"], [], {}),
        ("statuses.post", {"chats": [1], "more": [{}]}, [], ["/more/0"], {"chats": 1}),
        ("messages.post", {"messages": [], "meta": 5}, [], [], {"meta": 1}),
        # An event that is known to be about something else.
        ("calls.post", {"ring": [STATUS]}, [], [], {"calls.post": 1}),
        ("calls.post", {"calls": [], "ring": [STATUS]}, [], [], {"ring": 1}),
    ],
)
def test_keys_that_are_deprecated_or_unknown(
    event: str | None,
    data: dict[str, Any],
    statuses: list[str],
    letters: list[str],
    ignored: dict[str, int],
) -> None:
    """Nothing that may be a status is left alone: it is read, or a dead letter."""
    kind, _, verb = (event or "").partition(".")
    text = {"channel_id": CHANNEL, **data} | (
        {"event": {"type": kind, "event": verb}} if event else {}
    )
    result = result_of("whapi", text)
    assert [fields(one)["status"] for one in result.observations] == statuses
    assert [letter.pointer for letter in result.dead_letters] == letters
    assert result.ignored == ignored


@pytest.mark.parametrize(
    ("event", "path", "method", "catch_up"),
    [
        ({"type": "statuses", "event": "put"}, "", "POST", True),
        ({"type": "statuses", "event": "post"}, "", "POST", False),
        ({"type": "statuses", "event": "post"}, "/statuses/put", "PUT", False),
        (..., "/statuses", "PUT", True),
        (..., "/statuses/put", "POST", True),
        (..., "", "POST", False),
    ],
)
def test_catching_up_is_marked(event: Any, path: str, method: str, catch_up: bool) -> None:  # noqa: FBT001
    """Reports after being offline are marked, wherever the verb is given."""
    text: dict[str, Any] = statuses()
    text |= {} if event is ... else {"event": event}

    assert one_status("whapi", text, path=path, method=method).catch_up is catch_up


@pytest.mark.parametrize("path", ["", "/", "/hook", "/post", "?messages/post"])
@pytest.mark.parametrize("text", [{"strange": 1}, {"event": {}}, {"statuses": None}])
def test_a_body_about_nothing(text: Any, path: str) -> None:
    """Without data and event a body is kept as a dead letter."""
    assert outcome(result_of("whapi", text, path=path)) == (0, [("wrong_root", "")], {})


def test_items_are_counted_across_the_body() -> None:
    """`raw.index` continues over data keys, whether they are read or not."""
    text = {
        "chats": [1, 2],
        "statuses": [STATUS, 5, STATUS],
        "event": {"type": "statuses", "event": "post"},
        "user": {},
        "messages_removed": ["C-d"],
    }
    result = result_of("whapi", text)
    assert [observation.raw.index for observation in result.observations] == [2, 4, 6]
    assert outcome(result)[1:] == ([("wrong_type", "/statuses/1")], {"chats": 2, "user": 1})


def test_one_entry_need_not_be_in_an_array() -> None:
    """A lone object under a data key is one entry."""
    assert one_status("whapi", {"statuses": STATUS}).status == "delivered"
    assert outcome(result_of("whapi", {"statuses": "x"}))[1] == [("wrong_type", "/statuses")]


@pytest.mark.parametrize(
    ("text", "pointer"),
    [
        (b'{"statuses":[],"event":{"type":"statuses"},"statuses" :[1]}', ""),
        (b'{"channel_id":"a","statuses":[],"channel_id":"b"}', ""),
        (b'{"messages":[],"m\\u0065ssages":[]}', ""),
        (b'{"statuses":[{"id":"a","status":"sent","id":"b"}]}', "/statuses/0"),
        (b'{"statuses":[{"id":"a","status":"sent","st\\u0061tus":"read"}]}', "/statuses/0"),
    ],
)
def test_repeated_fields(text: bytes, pointer: str) -> None:
    """A data key or a field that is there twice is ambiguous."""
    assert outcome(result_of("whapi", text)) == (0, [("duplicate_key", pointer)], {})
