"""Records as lines for people and as JSON for programs."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.contracts.examples import examples
from cli.output.json_escaping import as_text
from cli.output.records import Record, as_fields, as_line, elapsed, masked
from processors.tracking.next_state import track
from providers import NAMES
from schemas.codec import encode
from schemas.contract import KINDS
from schemas.records import MessageState, Observation, Reason
from schemas.topics import Topics
from schemas.webhook import RawWebhook, to_headers
from tests.unit.messages import KEY, Folded, reply, seen

AT = 1_750_000_000_123
TIME = "2025-06-15T15:06:40.123Z"


def record(value: bytes | None, key: str | None = KEY, **fields: Any) -> Record:
    defaults: dict[str, Any] = {
        "topic": "bluetick.statuses",
        "partition": 2,
        "offset": 17,
        "timestamp": AT,
        "headers": [],
    }
    return Record(**(defaults | fields), key=key.encode() if key else None, value=value)


def line(kind: str, value: bytes | None, key: str | None = KEY, **fields: Any) -> str:
    """The line's text without its time and key."""
    shown = as_line(kind, record(value, key, **fields)).plain
    begin = f"{TIME}  {KEY}  " if key else f"{TIME}  "
    assert shown.startswith(begin)
    assert "\n" not in shown
    return shown.removeprefix(begin)


def published(topic: str, *observations: Observation, place: int = -1) -> bytes:
    """The last record on a topic after these observations, or the one at `place`."""
    outputs = [out for out in Folded(*observations).outputs if out.topic == topic]
    return encode(outputs[place].record)


def state(*observations: Observation) -> MessageState:
    return Folded(*observations).state


SENT = seen("sent", 1000)
DELIVERED = seen("delivered", 5200, recipient="447700900123")
FAILED = seen("failed", 9000, reason=Reason(code="3", text="secret"))
READ_BY = seen("read", 7000, "whatsapp", viewer="447700900456")
VIBER = seen("undelivered", 500, "viber")
WORD = seen("unknown", 100, provider_status="parked\x1b[2J")
REPLY = reply(65_000, sender="447700900789", recipient="447700900123")

TABLE = [
    ("statuses", published("statuses", SENT), "advanced  sent  sms"),
    ("statuses", published("statuses", SENT, DELIVERED), "advanced  delivered  sms  to …123"),
    (
        "statuses",
        published("statuses", DELIVERED, SENT),
        "late  sent  sms  to …123  message is delivered",
    ),
    (
        "statuses",
        published("statuses", DELIVERED, FAILED),
        "contradiction  failed  sms  to …123  [3]  message is delivered",
    ),
    ("statuses", published("statuses", WORD), "aside  unknown (parked?[2J)  sms"),
    ("statuses", published("statuses", READ_BY), "advanced  read  whatsapp  viewer …456"),
    ("observations", encode(READ_BY), "read  whatsapp  viewer …456"),
    ("observations", encode(seen("sent", 1, replay="r7")), "sent  sms  replay r7"),
    ("observations", encode(REPLY), f"reply  text  sms  from …789  to …123  answers {KEY}"),
    ("inbound", encode(REPLY), f"reply  text  sms  from …789  to …123  answers {KEY}"),
    (
        "inbound",
        encode(reply(1, in_reply_to=None, sender="Alerts", content={"type": "image"})),
        "inbound  image  sms  from Alerts",
    ),
    ("inbound", encode(SENT), "not readable: it is not an inbound message"),
    ("events", published("events", SENT), "advanced  sent  sms  after 0.0 s"),
    (
        "events",
        published("events", SENT, DELIVERED),
        "advanced  sent → delivered  sms  after 4.2 s",
    ),
    (
        "events",
        published("events", FAILED, seen("delivered", 9500)),
        "recovered  failed → delivered  sms  after 0.5 s",
    ),
    ("events", published("events", DELIVERED, SENT), "late  sent  message is delivered  sms"),
    (
        "events",
        published("events", DELIVERED, FAILED),
        "contradicted  failed  after delivered  sms",
    ),
    ("events", published("events", SENT, VIBER, place=-2), "fell back  sms → viber"),
    ("events", published("events", SENT, REPLY), "replied  sms  after 1 min 4 s"),
    ("messages", encode(state(SENT)), "sent"),
    (
        "messages",
        encode(state(VIBER, SENT, DELIVERED, FAILED, REPLY)),
        "delivered  to …123  sms: delivered  viber: undelivered  replied  contradictions: 1",
    ),
    (
        "messages",
        encode(state(seen("sent", 1, "whatsapp"), READ_BY)),
        "sent  delivered by 1, read by 1",
    ),
    ("messages", encode(track(None, KEY, reply(1)).state), "-  replied"),
    ("messages", encode(state(seen("read", 1, direction="inbound"))), "read  inbound"),
    ("messages", None, "forgotten"),
    (
        "messages",
        encode({"version": 1}),
        "not readable: Object missing required field `message_key`",
    ),
    ("statuses", b"\xff\x1b", "not readable: JSON is malformed: invalid character (byte 0)"),
    ("statuses", None, "not readable: the value is null"),
]


@pytest.mark.parametrize(("kind", "value", "expected"), TABLE)
def test_a_line_says_what_happened(kind: str, value: bytes | None, expected: str) -> None:
    """A keyed record's line says what happened, without texts or whole phone numbers."""
    assert line(kind, value) == expected


def test_a_dead_letter_says_where_it_came_from() -> None:
    """A dead letter's line has its code, reason, pointer and origin, and nothing of its value."""
    headers = [
        ("dead-letter-code", b"missing_field"),
        ("__streams.errors.message", b"`result` is missing"),
        ("dead-letter-pointer", b"/3"),
        ("__streams.errors.topic", b"bluetick.raw.smsmanager"),
        ("__streams.errors.partition", b"2"),
        ("__streams.errors.offset", b"41"),
    ]
    shown = line("dead-letters", b'{"body":"secret"}', key=None, headers=headers)
    assert shown == "missing_field  `result` is missing  /3  bluetick.raw.smsmanager[2]@41"
    headers[2] = ("dead-letter-pointer", b"")
    assert "  whole body  " in line("dead-letters", b"", key=None, headers=headers)


def test_a_dead_letter_without_headers_is_still_a_line() -> None:
    """Every record of the topic has a line."""
    assert line("dead-letters", b"", key=None) == "no code  no reason  whole body  ?[?]@?"


def test_a_raw_body_is_told_by_its_size_and_source() -> None:
    """A raw record's line has its size, verb and source; what follows may be a secret."""
    webhook = RawWebhook(
        id="1",
        source="whapi",
        provider="whapi",
        body=b"",
        received_at=AT,
        method="PATCH",
        path="/messages?token=secret",
    )
    shown = line("raw", b"12345", key=None, headers=to_headers(webhook))
    assert shown == "5 bytes  PATCH  /webhooks/whapi…"
    assert line("raw", None, key=None) == "0 bytes  POST"


@pytest.mark.parametrize(
    ("kind", "value", "word", "colour"),
    [
        ("statuses", published("statuses", SENT, DELIVERED), "delivered", "green"),
        ("statuses", published("statuses", DELIVERED, FAILED), "contradiction", "red"),
        ("events", published("events", SENT), "sent", "cyan"),
        ("events", published("events", SENT, VIBER, place=-2), "fell back", "yellow"),
        ("events", published("events", DELIVERED, SENT), "late", "dim"),
    ],
)
def test_colours_have_meanings(kind: str, value: bytes, word: str, colour: str) -> None:
    """Delivery is green, what is under way cyan, trouble red, oddities yellow, the late dim."""
    shown = as_line(kind, record(value))
    styles = {shown.plain[span.start : span.end]: span.style for span in shown.spans}
    assert styles[word] == colour


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        ("447700900123", "…123"),
        ("+44 7700 900 123", "+…123"),
        ("447700900123-1400000000@g.us", "…000@g.us"),
        ("12345", "…345"),
        ("1234", "1234"),
        ("Alerts", "Alerts"),
        ("", ""),
    ],
)
def test_numbers_are_masked(number: str, shown: str) -> None:
    """Of a phone number only the last three digits are to be seen; short codes stay."""
    assert masked(number) == shown


@given(st.from_regex(r"\+?[0-9][0-9 ()./-]{4,20}", fullmatch=True))
def test_no_number_shows_more_than_four_digits(number: str) -> None:
    """However a number is written, at most a short code's four digits can be seen."""
    assert sum(char.isdigit() for char in masked(number)) <= 4


@pytest.mark.parametrize(
    ("milliseconds", "shown"),
    [
        (0, "0.0 s"),
        (1499, "1.5 s"),
        (60_000, "1 min 0 s"),
        (200_500, "3 min 20 s"),
        (90_000_000, "25 h 0 min"),
    ],
)
def test_durations_are_readable(milliseconds: int, shown: str) -> None:
    """A duration has its two largest units."""
    assert elapsed(milliseconds) == shown


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (
            b'{\n  "price": 1.50, "n": 18446744073709551616,\n "a": 1, "a": "\\u0041"\n}',
            '"value":{"price":1.50,"n":18446744073709551616,"a":1,"a":"\\u0041"}',
        ),
        (b"null", '"value":null'),
        (b'{"a":NaN}', '"value_base64":"eyJhIjpOYU59"'),
        (b"", '"value_base64":""'),
        (b'"\xff"', '"value_base64":"Iv8i"'),
    ],
)
def test_json_keeps_the_value_exactly(value: bytes, expected: str) -> None:
    """JSON values keep every digit and every key on one line; other bytes are base64."""
    shown = as_text(as_fields(record(value)))
    assert shown.endswith(expected + "}")
    assert "\n" not in shown
    json.loads(shown)


def test_json_tells_all_of_a_record() -> None:
    """Coordinates, key and headers are there, repeated and binary headers too."""
    headers = [("a", b"1"), ("a", b"2"), ("b", b"\xff")]
    assert json.loads(as_text(as_fields(record(None, headers=headers)))) == {
        "topic": "bluetick.statuses",
        "partition": 2,
        "offset": 17,
        "timestamp": AT,
        "key": KEY,
        "headers": [["a", "1"], ["a", "2"], ["b", {"base64": "/w=="}]],
    }
    assert json.loads(as_text(as_fields(record(b"1", key=None))))["key"] is None


@given(st.binary(max_size=60))
def test_any_value_has_a_line_and_a_json_line(value: bytes) -> None:
    """For all bytes on a topic, both forms are one line and nothing raises."""
    for kind in ("statuses", "observations", "events", "messages", "inbound", "raw"):
        assert "\n" not in as_line(kind, record(value)).plain
    assert "\n" not in as_text(as_fields(record(value)))


@pytest.mark.parametrize("topic", Topics("n", providers=NAMES).required)
def test_every_topic_has_lines(topic: str) -> None:
    """The examples of the contract give one for each kind of record."""
    kind = topic.removeprefix("n.").partition(".")[0]
    of_topic = {one.name for one in KINDS if one.topic == kind}
    for name in of_topic:
        example = examples()[name]
        headers = [(key, value.encode()) for key, value in example.headers.items()]
        value = json.dumps(example.value).encode()
        shown = as_line(kind, record(value, example.key, headers=headers)).plain
        assert "not readable" not in shown
        assert len(shown) > len(TIME) + len(example.key or "") + 4
    assert of_topic
