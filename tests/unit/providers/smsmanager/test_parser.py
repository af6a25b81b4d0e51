"""SmsManager: what the samples leave open, as tables."""

from typing import Any

import pytest

from providers.smsmanager.parser import STATUSES
from schemas.records import Billing, home_key, message_key, record_keys
from tests.unit.webhooks import (
    RECEIVED_AT,
    changed,
    one_inbound,
    one_status,
    outcome,
    result_of,
)

UUID = "e27ff0ac-87b5-4e1d-b644-5fc6029e2a11"
REPORT: dict[str, Any] = {
    "message_id": UUID,
    "gateway": "sms",
    "timestamp": 1700000000,
    "type": "outgoing",
    "to": {"phone_number": "420777123456"},
    "result": "sent",
}
INBOUND: dict[str, Any] = {
    "gateway": "sms",
    "timestamp": 1700000000,
    "type": "incoming",
    "sender": "420777123456",
    "recipient": "420777654321",
    "body": "Ano",
}


def report(**changes: Any) -> list[dict[str, Any]]:
    return [changed(REPORT, changes)]


def inbound(**changes: Any) -> list[dict[str, Any]]:
    return [changed(INBOUND, changes)]


@pytest.mark.parametrize(
    ("word", "status"),
    [
        *STATUSES.items(),
        ("Delivered", "unknown"),
        ("expired", "unknown"),
    ],
)
def test_statuses(word: str, status: str) -> None:
    """The vendor's seven words have a Bluetick status; any other is unknown and kept."""
    observation = one_status("smsmanager", report(result=word))
    assert (observation.status, observation.provider_status) == (status, word)


def test_the_vendor_has_seven_words() -> None:
    """The table has the words of the OpenAPI document, no more."""
    words = {"sending", "sent", "delivered", "seen", "undelivered", "rejected", "failed"}
    assert set(STATUSES) == words
    assert STATUSES["seen"] == "read"


@pytest.mark.parametrize(
    ("gateway", "channel"),
    [
        ("sms", "sms"),
        ("viber", "viber"),
        ("rcs", "rcs"),
        ("whatsapp_text", "whatsapp"),
        ("whatsapp_template", "whatsapp"),
        ("whatsapp_body", "whatsapp"),
        ("whatsapp", "whatsapp"),
        ("pigeon", "pigeon"),
    ],
)
def test_channels(gateway: str, channel: str) -> None:
    """The gateway is kept, the channel is what it travels on."""
    observation = one_status("smsmanager", report(gateway=gateway))
    assert (observation.gateway, observation.channel) == (gateway, channel)


@pytest.mark.parametrize(
    ("info", "code", "text"),
    [
        ("[0] Delivered", "0", "Delivered"),
        ("[368]", "368", None),
        ("[307]Insufficient credit", "307", "Insufficient credit"),
        ("Unauthorized error", None, "Unauthorized error"),
        ("[x] odd", None, "[x] odd"),
        ("[1] two\nlines", "1", "two\nlines"),
    ],
)
def test_reasons(info: str, code: str | None, text: str | None) -> None:
    """`result_info` is a code, a text, or both."""
    reason = one_status("smsmanager", report(result_info=info)).reason
    assert reason is not None
    assert (reason.code, reason.text) == (code, text)


@pytest.mark.parametrize("info", ["", None, ...])
def test_no_reason(info: Any) -> None:
    """An empty or absent `result_info` is no reason."""
    assert one_status("smsmanager", report(result_info=info)).reason is None


@pytest.mark.parametrize(
    ("message_id", "index"),
    [
        (UUID, None),
        (f"{UUID}-0", 0),
        (f"{UUID}-12", 12),
        (f"{UUID}-x", None),
        ("not-a-uuid-7", None),
        (f"{UUID}-1-2", None),
    ],
)
def test_recipient_index(message_id: str, index: int | None) -> None:
    """The index is what follows a full UUID; the id is kept whole."""
    observation = one_status("smsmanager", report(message_id=message_id))
    assert (observation.message_id, observation.recipient_index) == (message_id, index)
    assert observation.message_key == f"smsmanager/-/{message_id}"


@pytest.mark.parametrize(
    ("number", "recipient"),
    [
        ("420777123456", "420777123456"),
        ("+420 777 123 456", "420777123456"),
        ("+420-777/123.456", "420777123456"),
        (" 420777123456 ", "420777123456"),
        ("+420\u00a0602\u202f000\u2009111", "420602000111"),
        ("(+420) 602\u2011000\u2013111", "420602000111"),
        ("00420 602 000 111", "420602000111"),
        ("00420602000111", "420602000111"),
        ("\u202a+420602000111\u202c", "420602000111"),
        ("0602 000 111", "0602000111"),
        ("00000", "00000"),  # no country's code begins with 0
        ("0012", "0012"),
        ("MySender 24", "MySender 24"),
        ("00-INFO", "00-INFO"),
        ("+", "+"),
        ("", None),
        (None, None),
    ],
)
def test_recipients(number: str | None, recipient: str | None) -> None:
    """A phone number is digits; what is none stays as it is."""
    observation = one_status("smsmanager", report(to={"phone_number": number}))
    assert observation.recipient == recipient


@pytest.mark.parametrize(
    ("given", "occurred_at"),
    [
        (1700000000, 1700000000000),
        ("1700000000", 1700000000000),
        (1700000000.25, 1700000000250),
        (1700000000123, 1700000000123),
        ("1700000000123", 1700000000123),
        (1700000000123456, 1700000000123),
        ("1700000000.25", 1700000000250),
        (" 1700000000 ", 1700000000000),
        ({"low": 1700000000, "high": 0, "unsigned": True}, 1700000000000),
        ({"low": -807049093, "high": 395, "unsigned": False}, 1700000000123),
        (946684800, 946684800000),
        (RECEIVED_AT // 1000 + 86_400, RECEIVED_AT // 1000 * 1000 + 86_400_000),
        (None, None),
        (..., None),
    ],
)
def test_times(given: Any, occurred_at: int | None) -> None:
    """Seconds, a number or its digits, become milliseconds; more digits are finer units."""
    observation = one_status("smsmanager", report(timestamp=given))
    assert (observation.occurred_at, observation.unread) == (occurred_at, [])


@pytest.mark.parametrize(
    "given",
    [
        *(0, "0", -1, -1700000000, 1.5, "", [], {}, True, ["1700000000"]),
        *("soon", "-1700000000", "1.7e9", "9" * 5000, float("nan"), float("inf"), 10**400),
        *({"low": 1}, {"low": "1", "high": 0}, {"low": 2**32, "high": 0}, {"low": 0, "high": -1}),
        *(946684799, RECEIVED_AT // 1000 + 86_402, 253402300799, 17 * 10**13, 17 * 10**17),
    ],
)
def test_what_is_no_time(given: Any) -> None:
    """Before 2000, more than a day after the reception, or unreadable: the fact has no time."""
    observation = one_status("smsmanager", report(timestamp=given))
    assert (observation.occurred_at, observation.unread) == (None, ["timestamp"])
    assert observation.status == "sent"


PRICE = b'[{"message_id":"m","gateway":"sms","result":"sent","sms":{"price_czk":%s}%s}]'


@pytest.mark.parametrize(
    "text", [b"0.95", b"0.950", b"1", b"1.0", b"1e-7", b"0.12345678901234567890123", b"-0.5"]
)
@pytest.mark.parametrize("other", [b"", b',"odd":NaN', b',"payload":{"price_czk":9.99}'])
def test_prices_keep_their_digits(text: bytes, other: bytes) -> None:
    """A price is the decimal text as it was sent, whatever else the item holds."""
    billing = one_status("smsmanager", PRICE % (text, other)).billing
    assert billing is not None
    assert billing.prices == {"CZK": text.decode()}


def test_prices_may_be_strings() -> None:
    """A price in a string, as the vendor's REST interface writes it, is taken as well."""
    billing = one_status("smsmanager", report(sms={"price_eur": "0.040"})).billing
    assert billing is not None
    assert billing.prices == {"EUR": "0.040"}


@pytest.mark.parametrize(
    ("country", "operator", "mcc", "mnc"),
    [
        (230, 1, "230", "01"),
        (230, 0, "230", None),
        ("230", "02", "230", "02"),
        (310, 410, "310", "410"),
        (0, None, None, None),
        ("", [], None, None),
    ],
)
def test_networks(country: Any, operator: Any, mcc: str | None, mnc: str | None) -> None:
    """MCC and MNC are padded strings; the vendor's 0 is unknown."""
    observation = one_status("smsmanager", report(sms={"country": country, "operator": operator}))
    assert observation.billing is not None
    assert (observation.billing.mcc, observation.billing.mnc) == (mcc, mnc)


@pytest.mark.parametrize("payload", [{"a": [1, None, 0.5]}, {}, [], "x", 2**64, 10**4299])
def test_payload_is_the_callers_own(payload: Any) -> None:
    """Whatever the caller attached comes back as it was, integers of any size too."""
    assert one_status("smsmanager", report(payload=payload)).payload == payload


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"result": ...}, "missing_field", "result"),
        ({"result": None}, "missing_field", "result"),
        ({"result": 7}, "wrong_type", "result"),
        ({"result": ""}, "missing_field", "result"),
        ({"message_id": ...}, "missing_field", "message_id"),
        ({"message_id": ""}, "missing_field", "message_id"),
        ({"message_id": "m" * 513}, "bad_value", "message_id"),
        ({"message_id": 5}, "wrong_type", "message_id"),
        ({"gateway": ...}, "missing_field", "gateway"),
        ({"gateway": None}, "wrong_type", "gateway"),
        ({"type": None}, "wrong_type", "type"),
        ({"type": "reply"}, "bad_value", "type"),
        ({"type": ..., "result": ...}, "missing_field", "result"),
    ],
)
def test_refused_reports(changes: dict[str, Any], code: str, field: str) -> None:
    """A field that is missing, mistyped or out of range makes one dead letter that names it."""
    result = result_of("smsmanager", report(**changes))
    assert outcome(result) == (0, [(code, "/0")], {})
    assert field in result.dead_letters[0].reason
    assert "420777123456" not in result.dead_letters[0].reason


@pytest.mark.parametrize(
    ("changes", "unread"),
    [
        ({"request_id": 5}, ["request_id"]),
        ({"request_id": "r" * 513}, ["request_id"]),
        ({"to": "420777123456"}, ["to"]),
        ({"to": {"phone_number": 420777123456}}, ["to.phone_number"]),
        ({"result_info": 5}, ["result_info"]),
        ({"payload": {"a": [float("nan")]}}, ["payload"]),
        ({"payload": float("-inf")}, ["payload"]),
        ({"payload": "\ud800"}, ["payload"]),
        ({"sms": "x"}, ["sms"]),
        ({"sms": [1]}, ["sms"]),
        ({"sms": {"sender": 5}}, ["sms.sender"]),
        ({"sms": {"country": 23.5}}, ["sms.country"]),
        ({"sms": {"country": 2300}}, ["sms.country"]),
        ({"sms": {"operator": "x"}}, ["sms.operator"]),
        ({"sms": {"count": -1}}, ["sms.count"]),
        ({"sms": {"price_czk": "cheap"}}, ["sms.price_czk"]),
        ({"sms": {"price_czk": True}}, ["sms.price_czk"]),
        ({"sms": {"price_czk": float("inf")}}, ["sms.price_czk"]),
        ({"viber": {"count": "2"}}, ["viber.count"]),
        ({"sender": 5, "body": 6}, ["body", "sender"]),
        ({"to": 1, "sms": {"count": 2.5}, "timestamp": "soon"}, ["sms.count", "timestamp", "to"]),
    ],
)
def test_what_cannot_be_read_is_left_out(changes: dict[str, Any], unread: list[str]) -> None:
    """Any field but a fact may be odd: it is absent, named, and no other is lost with it."""
    observation = one_status("smsmanager", report(**changes))
    assert observation.unread == unread
    assert (observation.message_id, observation.status) == (UUID, "sent")
    if "to" not in changes:
        assert observation.recipient == "420777123456"


def test_a_bad_part_of_a_price_leaves_the_rest() -> None:
    """Each field of a detail object is read alone."""
    sms = {"sender": "ACME", "country": 230, "price_czk": 0.9, "price_eur": "x", "count": "2"}
    observation = one_status("smsmanager", report(sms=sms))
    assert observation.billing == Billing(sender="ACME", mcc="230", prices={"CZK": "0.9"})
    assert observation.unread == ["sms.count", "sms.price_eur"]


@pytest.mark.parametrize("empty", ["", None, [], {}])
@pytest.mark.parametrize("field", ["request_id", "result_info", "to", "sms", "viber", "rcs"])
def test_what_is_empty_is_absent(field: str, empty: Any) -> None:
    """It is not even unread."""
    assert one_status("smsmanager", report(**{field: empty})) == one_status(
        "smsmanager", report(**{field: ...})
    )


@pytest.mark.parametrize("field", ["message_id", "result", "gateway", "type"])
def test_a_repeated_field(field: str) -> None:
    """An item with a repeated field, in any spelling, is ambiguous."""
    start = b'[{"message_id":"m","gateway":"sms","timestamp":1,"type":"outgoing","result":"sent"'
    for spelt in (field, f"\\u{ord(field[0]):04x}{field[1:]}"):
        text = start + f', "{spelt}" : "sent"}}]'.encode()
        result = result_of("smsmanager", text)
        assert outcome(result) == (0, [("duplicate_key", "/0")], {})
        assert field in result.dead_letters[0].reason


def test_a_repeated_time_is_unknown() -> None:
    """Which one is meant cannot be known, and the fact does not depend on it."""
    text = b'[{"message_id":"m","gateway":"sms","timestamp":1,"result":"sent","timestamp":2}]'
    observation = one_status("smsmanager", text)
    assert (observation.occurred_at, observation.unread) == (None, ["timestamp"])


@pytest.mark.parametrize(
    "text",
    [
        b'[{"message_id":"m","gateway":"sms","result":"sent","sms":{"gateway":"high"}}]',
        b'[{"message_id":"m","gateway":"sms","result":"sent","payload":{"gateway":1,"type":2}}]',
        b'[{"message_id":"m","gateway":"sms","result":"sent","payload":{"type":1,"type":2}}]',
        b'[{"message_id":"m","gateway":"sms","result":"sent","request_id":"a","request_id":"b"}]',
        b'[{"message_id":"m","gateway":"sms","result":"sent","payload":["\\u0067ateway","\\u00e1"]}]',
    ],
)
def test_a_field_that_is_not_repeated(text: bytes) -> None:
    """The same name deeper down, or a field no one depends on, is not ambiguous."""
    assert one_status("smsmanager", text).status == "sent"


def test_a_detail_of_another_gateway_is_not_billed() -> None:
    """Billing comes from the gateway's own detail object."""
    observation = one_status("smsmanager", report(gateway="viber", sms={"price_czk": 1}))
    assert observation.billing is None


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"sender": ...}, "missing_field"),
        ({"sender": ""}, "missing_field"),
        ({"body": 5}, "wrong_type"),
        ({"sender": ["1"]}, "wrong_type"),
        ({"gateway": ...}, "missing_field"),
    ],
)
def test_refused_inbound(changes: dict[str, Any], code: str) -> None:
    """An inbound message without sender or gateway, or with an odd text, is a dead letter."""
    result = result_of("smsmanager", inbound(**changes))
    assert outcome(result) == (0, [(code, "/0")], {})
    assert "Ano" not in result.dead_letters[0].reason


def test_a_reply_is_not_the_message_it_answers() -> None:
    """A reply has its own key and lives with the outbound message, which alone has the id."""
    reply = one_inbound("smsmanager", inbound(message_id=UUID))
    assert reply.in_reply_to == message_key("smsmanager", None, UUID)
    assert reply.message_key != reply.in_reply_to
    assert reply.message_id is None
    assert record_keys(reply) == (home_key(reply),) == (reply.in_reply_to,)


@pytest.mark.parametrize("body", ["", None, ..., [], {}])
def test_a_message_without_a_text(body: Any) -> None:
    """A picture, say: who sent it and when is kept."""
    message = one_inbound("smsmanager", inbound(body=body))
    assert (message.sender, message.content) == ("420777123456", {"type": "text"})
    assert message.message_key == one_inbound("smsmanager", inbound(body=...)).message_key


@pytest.mark.parametrize(
    ("changes", "unread"),
    [
        ({"timestamp": "x"}, ["timestamp"]),
        ({"recipient": 5}, ["recipient"]),
        ({"message_id": 5}, ["message_id"]),
        ({"payload": float("nan")}, ["payload"]),
        ({"result": 5}, ["result"]),
    ],
)
def test_an_odd_field_of_a_message_is_left_out(changes: dict[str, Any], unread: list[str]) -> None:
    """The sender and the text are kept."""
    message = one_inbound("smsmanager", inbound(**changes))
    assert (message.sender, message.content) == ("420777123456", {"type": "text", "text": "Ano"})
    assert (message.unread, message.in_reply_to) == (unread, None)


@pytest.mark.parametrize("header", [{}, {"x-request-id": "r-1"}])
def test_a_message_without_an_id_names_itself(header: dict[str, str]) -> None:
    """The hash depends on everything said, and on nothing else."""
    changes: list[dict[str, Any]] = [
        {},
        {"gateway": "viber"},
        {"sender": "420777123457"},
        {"recipient": "420777654322"},
        {"timestamp": 1700000001},
        {"body": "Ne"},
        {"message_id": UUID},
        {"message_id": f"{UUID}-1"},
    ]
    keys = [
        one_inbound("smsmanager", inbound(**change), headers=header).message_key
        for change in changes
    ]
    assert len(set(keys)) == len(keys)
    same: list[dict[str, Any]] = [
        {"timestamp": "1700000000"},
        {"sender": "+420 777 123 456"},
        {"message_id": ""},
        {"request_id": "r", "payload": {"a": 1}},
    ]
    for change in same:
        assert one_inbound("smsmanager", inbound(**change)).message_key == keys[0]


def test_other_members_next_to_notifications_are_counted() -> None:
    """Of an object with `notifications` nothing is dropped silently."""
    body = {"version": 2, "notifications": report(), "cursor": None}
    assert outcome(result_of("smsmanager", body)) == (1, [], {"version": 1, "cursor": 1})


def test_reports_beside_notifications_are_read() -> None:
    """An array of another name that holds reports is no cursor."""
    body = {"notifications": [], "events": [*report(), {"gateway": "sms"}], "pages": [1]}
    result = result_of("smsmanager", body)
    assert outcome(result) == (1, [("missing_field", "/events/1")], {"pages": 1})


def test_pointers_lead_to_the_item() -> None:
    """A dead letter's pointer and value are the item's, verbatim; its index counts all items."""
    text = b'{"notifications": [ {"gateway": "sms" } ,%s]}' % (b'{"bad": 1}')
    result = result_of("smsmanager", text)
    assert [letter.pointer for letter in result.dead_letters] == [
        "/notifications/0",
        "/notifications/1",
    ]
    assert [letter.value for letter in result.dead_letters] == [
        b'{"gateway": "sms" }',
        b'{"bad": 1}',
    ]
