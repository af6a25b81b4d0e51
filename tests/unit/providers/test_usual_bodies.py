"""The reader of usual bodies and the reader of items agree on every body."""

import json
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.simulator.simulate import simulate
from processors.normalising.accounts import UNCORRECTED
from processors.normalising.webhook_to_observations import USUAL, begun, normalise
from providers.contract import Normalised
from providers.json_slices import USUAL as BOUNDS
from schemas.codec import encode
from schemas.privacy import Privacy, keys_of, policy_of
from schemas.webhook import RawWebhook
from tests.unit.webhooks import AT, RECEIVED_AT, webhook

WHAPI: dict[str, Any] = {
    "statuses": [
        {
            "id": "YhNqCveDWW90_t8lzrW25w-wO4Twl0rVw",
            "code": 3,
            "status": "delivered",
            "recipient_id": "919984351847@s.whatsapp.net",
            "timestamp": str(RECEIVED_AT // 1000 - 5),
        }
    ],
    "event": {"type": "statuses", "event": "post"},
    "channel_id": "MANTIS-M72HC",
}
SMSMANAGER: list[dict[str, Any]] = [
    {
        "request_id": "bc36f3d1-d284-463a-921b-a3560c154649",
        "message_id": "e27ff0ac-87b5-4e1d-b644-5fc6029e2a11-7",
        "gateway": "sms",
        "timestamp": RECEIVED_AT // 1000 - 5,
        "payload": {"order_id": "ORD-123", "n": [1, 2.5, None]},
        "type": "outgoing",
        "to": {"phone_number": "+420 777 123 456"},
        "result": "delivered",
        "result_info": "[0] Delivered",
        "sms": {
            "gateway": "high",
            "sender": "MySender",
            "country": 230,
            "operator": "01",
            "price_czk": 0.45,
            "price_eur": 1,
            "count": 1,
        },
    }
]
BODIES = {"whapi": json.dumps(WHAPI).encode(), "smsmanager": json.dumps(SMSMANAGER).encode()}

ODD = (
    *(b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b" ", b"\n", b"0", b"-", b"e", b".", b"00"),
    *(b"null", b"true", b"NaN", b"1e400", b'""', b"{}", b"[]", b"\\u0069", b"\\ud800", b"\xff"),
    *(
        b"\xef\xbb\xbf",
        b"\x00",
        b"\xe2\x82\xac",
        b"@lid",
        b"@g.us",
        b"stories",
        b"+",
        b"/",
        b"x" * 70,
    ),
    *(b'"id":"x",', b'"message_id":"y",', b'"status":"read",', b'"result":"seen",', b'"extra":1,'),
    *(
        b'"gateway":"to",',
        b'"viewer_id":"420777",',
        b'"errors":[{"code":1}],',
        b'"channel_id":"Z",',
    ),
    *(b'"timestamp":1,', b'"sms":{},', b'"viber":{"count":1},', b'"payload":"p",', b'"event":{},'),
    *(b"put", b"patch", b"delete", b"whatsapp", b"incoming", b"99999999999", b"9" * 400),
)


def careful(given: RawWebhook) -> Normalised:
    """The result of the reader that reads item by item."""
    return normalise(given, AT)


def quick(given: RawWebhook) -> Normalised:
    """The result of a small body as normalise makes it: by either reader."""
    result = begun(given, AT, BOUNDS, UNCORRECTED)
    assert isinstance(result, Normalised)
    return result


def published(result: Normalised) -> object:
    """What is published and counted of a result."""
    observations = [encode(one) for one in result.observations]
    return observations, result.dead_letters, result.ignored, result.items


# The modes of Whapi say in method and URL what the event of a body says otherwise.
REQUESTS = st.fixed_dictionaries(
    {
        "method": st.sampled_from(["POST", "PUT", "DELETE"]),
        "path": st.sampled_from(["", "/statuses/put", "/messages/post?a=1", "/chats", "/put"]),
    }
)


@st.composite
def mutated(draw: st.DrawFn) -> RawWebhook:
    """A usual body with parts cut out, repeated and put in, anywhere."""
    provider = draw(st.sampled_from(sorted(BODIES)))
    body = BODIES[provider]
    for _ in range(draw(st.integers(0, 3))):
        begin, end = sorted((draw(st.integers(0, len(body))), draw(st.integers(0, len(body)))))
        put = draw(st.sampled_from(ODD) | st.binary(max_size=3) | st.just(body[begin:end]))
        end = begin if draw(st.booleans()) else min(end, begin + draw(st.integers(0, 40)))
        body = body[:begin] + put + body[end:]
    return webhook(provider, body, **draw(REQUESTS))


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=30)
    | st.sampled_from(
        ["420777123456", "sms", "sent", "1700000000", "a@s.whatsapp.net", "1-2@g.us", "stories", ""]
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "count", "sender", "a"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@st.composite
def edited(draw: st.DrawFn) -> RawWebhook:
    """A usual body with any values in some of its members, and members left out."""
    provider = draw(st.sampled_from(sorted(BODIES)))
    body: Any = json.loads(BODIES[provider])
    for _ in range(draw(st.integers(0, 3))):
        where: Any = draw(st.sampled_from(objects(body)))
        name = draw(st.sampled_from(sorted([*where, "viewer_id", "viber", "rcs", "errors"])))
        if draw(st.booleans()):
            where[name] = draw(JSON)
        else:
            where.pop(name, None)
        if not objects(body):
            break
    spaced = draw(st.sampled_from([(",", ":"), (", ", " : ")]))
    escaped = draw(st.booleans())
    text = json.dumps(body, separators=spaced, ensure_ascii=escaped)
    return webhook(provider, text.encode("utf-8", "surrogatepass"), **draw(REQUESTS))


def objects(value: Any) -> list[dict[str, Any]]:
    """All objects in a JSON value."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    found = [one for each in inner for one in objects(each)]
    return [value, *found] if isinstance(value, dict) else found


@given(mutated() | edited())
def test_both_readers_give_the_same_result(given: RawWebhook) -> None:
    """Whatever the body is; only the time differs that they take."""
    assert published(quick(given)) == published(careful(given))


@pytest.mark.parametrize("provider", sorted(BODIES))
def test_a_usual_body_is_read_in_one_pass(provider: str) -> None:
    """The shape is that of the vendor's own examples."""
    sent = webhook(provider, BODIES[provider])
    found = USUAL[provider](sent, AT, None)
    assert found == careful(sent).observations != []


def test_most_simulated_bodies_are_usual() -> None:
    """Statuses that are reported one by one are most of the traffic, and both readers agree."""
    posts = simulate(messages=200, base_time_ms=RECEIVED_AT, seed=Random(3).randrange(99)).posts
    given = [post.received(RECEIVED_AT, "1") for post in posts]
    for one in given:
        assert published(quick(one)) == published(careful(one))
    usual = [one for one in given if USUAL[one.provider](one, AT, None)]
    assert len(usual) > len(given) // 2


@pytest.mark.parametrize(
    ("patterns", "own"),
    [(("MANTIS-*",), "MANTIS-M72HC"), (("OTHER",), "OTHER"), ((), None), (("*", "B"), None)],
)
def test_only_permitted_accounts_are_read(patterns: tuple[str, ...], own: str | None) -> None:
    """An account of another source is refused, as by the other reader."""
    for provider, body in BODIES.items():
        sent = webhook(provider, body, accounts=patterns)
        assert published(quick(sent)) == published(careful(sent)), own


def test_the_policy_for_personal_data_holds() -> None:
    """What the namespace excludes is excluded by both readers."""
    privacy = Privacy(policy_of("numbers:hash,texts:omit"), keys_of("k1=0123456789abcdef0123"))
    for provider, body in BODIES.items():
        sent = webhook(provider, body)
        result = begun(sent, AT, BOUNDS, UNCORRECTED, privacy=privacy)
        assert isinstance(result, Normalised)
        assert published(result) == published(normalise(sent, AT, privacy=privacy))
        assert b"420777123456" not in encode(result.observations[0])
