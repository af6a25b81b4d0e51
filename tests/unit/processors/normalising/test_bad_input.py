"""Any input bytes give observations, dead letters or counts."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from processors.normalising import webhook_to_observations
from processors.normalising.webhook_to_observations import SPLITS
from providers import NAMES, json_slices
from providers.contract import Item, Normalised, Outcomes, Part
from providers.rejection import Refused
from schemas.bounds import BOUNDS
from schemas.codec import decode_observation, encode
from schemas.records import InboundObservation
from schemas.topics import MAX_BODY
from schemas.webhook import RawWebhook
from tests.unit.webhooks import AT, outcome, result_of, webhook

UUID = "e27ff0ac-87b5-4e1d-b644-5fc6029e2a11"
GOOD = b'{"message_id":"m","gateway":"sms","timestamp":1700000000,"result":"sent"}'
START = b'{"message_id":"m","gateway":"sms","result":"sent",'
STATUS = b'{"id":"A-b","status":"sent","timestamp":"1700000000"}'


def items(count: int) -> bytes:
    return b"[" + b",".join([GOOD] * count) + b"]"


def nested(depth: int) -> bytes:
    """A good item in a body `depth` levels deep."""
    inside = depth - 2
    return b"[" + START + b'"payload":' + b"[" * inside + b"]" * inside + b"}]"


def filled(size: int) -> bytes:
    """A body of `size` bytes or a little less, of good items only."""
    padding = b"[" + START + b'"payload":"%s"}]' % (b"x" * 900)
    count = size // len(padding)
    return b"[" + b",".join([padding[1:-1]] * count) + b"]"


TABLE: list[tuple[str, str, bytes, int, list[tuple[str, str]]]] = [
    # what, provider, body, observations, dead letters
    ("empty", "smsmanager", b"", 0, [("empty_body", "")]),
    ("empty", "whapi", b"", 0, [("empty_body", "")]),
    ("white space", "smsmanager", b" \r\n\t", 0, [("empty_body", "")]),
    ("byte order mark alone", "smsmanager", b"\xef\xbb\xbf", 0, [("empty_body", "")]),
    ("byte order mark", "smsmanager", b"\xef\xbb\xbf" + items(1), 1, []),
    ("white space around", "smsmanager", b"\n [ " + GOOD + b" , " + GOOD + b" ] \n", 2, []),
    ("not JSON", "smsmanager", b"hello", 0, [("not_json", "")]),
    ("not JSON", "whapi", b"a=1&b=2", 0, [("not_json", "")]),
    ("form", "smsmanager", b"{a=1}", 0, [("not_json", "")]),
    ("a string", "smsmanager", b'"hello"', 0, [("wrong_root", "")]),
    ("a number", "smsmanager", b"5", 0, [("wrong_root", "")]),
    ("null", "smsmanager", b"null", 0, [("wrong_root", "")]),
    ("NaN", "whapi", b"NaN", 0, [("wrong_root", "")]),
    ("null", "whapi", b"null", 0, [("wrong_root", "")]),
    ("an array", "whapi", b"[]", 0, [("wrong_root", "")]),
    ("an object about nothing", "smsmanager", b'{"a":1}', 0, [("missing_field", "")]),
    ("two roots", "smsmanager", items(1) + b"[]", 0, [("not_json", "")]),
    ("truncated", "smsmanager", items(2)[:-7], 0, [("not_json", "")]),
    ("truncated", "whapi", b'{"statuses":[' + STATUS, 0, [("not_json", "")]),
    ("truncated in a string", "smsmanager", b'[{"message_id":"m', 0, [("not_json", "")]),
    ("trailing comma", "smsmanager", b"[" + GOOD + b",]", 0, [("not_json", "")]),
    ("ten thousand items", "smsmanager", items(10_000), 10_000, []),
    ("one more", "smsmanager", items(10_001), 0, [("too_many_items", "")]),
    (
        "one more, NaN, and no end",
        "smsmanager",
        b"[" + b"NaN," * 10_001,
        0,
        [("too_many_items", "")],
    ),
    (
        "one more over two keys",
        "whapi",
        b'{"chats":[%s],"calls":[%s]}' % (b",".join([b"1"] * 6000), b",".join([b"1"] * 4001)),
        0,
        [("too_many_items", "")],
    ),
    ("depth 64", "smsmanager", nested(64), 1, []),
    ("depth 65", "smsmanager", nested(65), 0, [("too_deep", "")]),
    ("depth 100000", "smsmanager", b"[" * 10**5 + b"]" * 10**5, 0, [("too_deep", "")]),
    ("depth 100000 open", "smsmanager", b"[" * 10**5, 0, [("not_json", "")]),
    ("depth 100000 open", "whapi", b'{"a":' * 10**5, 0, [("not_json", "")]),
    ("brackets in a string", "smsmanager", b'[%s"payload":"%s"}]' % (START, b'[{\\"' * 99), 1, []),
    ("quotes without end", "smsmanager", b"[" * 65 + b'"' + b'\\"' * 10**5, 0, [("not_json", "")]),
    ("not UTF-8", "smsmanager", b"[" + START + b'"payload":"\xff"}]', 0, [("not_utf8", "")]),
    ("UTF-16", "smsmanager", items(1).decode().encode("utf-16"), 0, [("not_utf8", "")]),
    ("a surrogate in UTF-8", "smsmanager", b'["\xed\xa0\x80"]', 0, [("not_utf8", "")]),
    (
        "NaN kept",
        "smsmanager",
        b"[" + GOOD + b"," + START + b'"payload":{"a":NaN}},' + GOOD + b"]",
        3,
        [],
    ),
    ("NaN not kept", "smsmanager", b"[" + START + b'"who":-Infinity}]', 1, []),
    (
        "too large for a double",
        "smsmanager",
        b"[" + START + b'"payload":[1e999]},' + GOOD + b"]",
        2,
        [],
    ),
    ("2^64", "smsmanager", b"[" + START + b'"payload":18446744073709551616}]', 1, []),
    (
        "more digits than anyone reads",
        "smsmanager",
        b"[" + START + b'"payload":' + b"9" * 5000 + b"}," + GOOD + b"]",
        2,
        [],
    ),
    (
        "more digits than can be read, next to NaN",
        "smsmanager",
        b"[" + START + b'"payload":' + b"9" * 5000 + b"}," + START + b'"payload":NaN}]',
        2,
        [],
    ),
    (
        "half a surrogate pair",
        "smsmanager",
        b"[" + GOOD + b"," + START + b'"payload":"\\ud800"},' + GOOD + b"]",
        3,
        [],
    ),
    (
        "half a surrogate pair in an id",
        "smsmanager",
        b'[{"message_id":"\\ud800","gateway":"sms","result":"sent"},' + GOOD + b"]",
        1,
        [("not_unicode", "/0")],
    ),
    (
        "more digits than anyone reads in an id",
        "smsmanager",
        b'[{"message_id":' + b"9" * 5000 + b',"gateway":"sms","result":"sent"}]',
        0,
        [("bad_value", "/0")],
    ),
    (
        "NaN as an id",
        "smsmanager",
        b'[{"message_id":NaN,"gateway":"x"}]',
        0,
        [("wrong_type", "/0")],
    ),
    (
        "odd in every field but the facts",
        "smsmanager",
        b"[" + START + b'"request_id":1,"timestamp":"x","payload":NaN,"to":"y","result_info":2,'
        b'"sms":{"sender":1,"country":"x","operator":[1],"price_czk":"x","count":"2"}}]',
        1,
        [],
    ),
    (
        "odd in every field but the facts",
        "whapi",
        b'{"statuses":[{"id":"A-b","status":"sent","timestamp":"x","recipient_id":5,"errors":1}]}',
        1,
        [],
    ),
    (
        "more members than are cut",
        "smsmanager",
        b"["
        + START
        + b'"timestamp":NaN'
        + b"".join(b',"%d":NaN' % n for n in range(10_001))
        + b"}]",
        1,
        [],
    ),
    (
        "more members than are cut, and an odd one",
        "smsmanager",
        b"[" + START + b'"sms":1' + b"".join(b',"%d":NaN' % n for n in range(10_001)) + b"}]",
        0,
        [("too_many_items", "/0")],
    ),
    (
        "half a surrogate pair",
        "whapi",
        b'{"statuses":[' + STATUS + b',{"id":"\\udc00","status":"sent"}],"channel_id":"c"}',
        1,
        [("not_unicode", "/statuses/1")],
    ),
    ("in a channel", "whapi", b'{"statuses":[],"channel_id":"\\ud800"}', 0, [("not_unicode", "")]),
    (
        "a line break in a string, next to NaN",
        "smsmanager",
        b"[" + GOOD + b"," + START + b'"payload":"a\nb"},' + START + b'"payload":NaN}]',
        3,
        [],
    ),
    (
        "a line break in an id, next to NaN",
        "smsmanager",
        b'[{"message_id":"a\nb","gateway":"sms","result":"sent"},' + START + b'"payload":NaN}]',
        1,
        [("not_json", "/0")],
    ),
    (
        "NaN in a status",
        "whapi",
        b'{"statuses":[' + STATUS + b',{"id":NaN}]}',
        1,
        [("wrong_type", "/statuses/1")],
    ),
    (
        "a repeated key",
        "smsmanager",
        b"[" + START + b'"result":"read"}]',
        0,
        [("duplicate_key", "/0")],
    ),
    ("another repeated key", "smsmanager", b"[" + START + b'"payload":1,"payload":2}]', 1, []),
    (
        "items of every wrong type",
        "smsmanager",
        b'[null,1,"a",[],true,{},' + GOOD + b"]",
        1,
        [*[("wrong_type", f"/{n}") for n in range(5)], ("missing_field", "/5")],
    ),
    (
        "entries of every wrong type",
        "whapi",
        b'{"messages":[null,1,"a",[],true,{}]}',
        0,
        [*[("wrong_type", f"/messages/{n}") for n in range(5)], ("missing_field", "/messages/5")],
    ),
    ("an unknown word", "smsmanager", b'[{"message_id":"m","gateway":"x","result":"y"}]', 1, []),
]


@pytest.mark.parametrize(
    ("provider", "text", "observations", "letters"),
    [row[1:] for row in TABLE],
    ids=[f"{row[1]}: {row[0]}" for row in TABLE],
)
def test_results_of_bodies(
    provider: str, text: bytes, observations: int, letters: list[tuple[str, str]]
) -> None:
    """Each body gives exactly these observations and dead letters."""
    result = result_of(provider, text)
    assert outcome(result) == (observations, letters, {})
    for letter in result.dead_letters:
        assert "\n" not in letter.reason
        if not letter.pointer:
            assert letter.value == text


def test_a_full_body_of_good_items() -> None:
    """900 KiB of good items are as many observations."""
    text = filled(MAX_BODY)
    assert MAX_BODY - 2000 < len(text) <= MAX_BODY
    count = text.count(b"message_id")
    assert outcome(result_of("smsmanager", text)) == (count, [], {})


@pytest.mark.parametrize("provider", NAMES)
@pytest.mark.parametrize("text", [b"{}", b" { } \n", b"\xef\xbb\xbf{\n}"])
def test_a_test_body_is_counted(provider: str, text: bytes) -> None:
    """`{}` is what a provider sends to try the URL out."""
    assert outcome(result_of(provider, text)) == (0, [], {"test": 1})


def test_the_names_of_unread_fields_are_few() -> None:
    """They come from the payload types, not from the sender: they label a metric."""
    odd = [
        START + b'"payload":NaN,"sms":{"count":"%d"},"x%d":"\\ud800"}' % (n, n) for n in range(99)
    ]
    result = result_of("smsmanager", b"[" + b",".join(odd) + b"]")
    assert {tuple(one.unread) for one in result.observations} == {("payload", "sms.count")}


def test_ignored_words_are_fit_for_a_label() -> None:
    """A sender's word in a count is short and printable, even with half a surrogate pair."""
    text = b'{"chats":[],"\\ud800\\n' + b"x" * 100 + b'":1}'
    assert outcome(result_of("whapi", text)) == (0, [], {"??" + "x" * 62: 1})


def test_an_unknown_provider() -> None:
    """A body of an unknown provider is kept whole."""
    assert outcome(result_of("carrier-pigeon", b"coo")) == (0, [("unknown_provider", "")], {})


def test_an_internal_error_affects_one_item(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected exception is a dead letter of its item, with the exception's name only."""

    def read(item: Item) -> Outcomes:
        raise ZeroDivisionError(item.json.decode())

    def split(_: RawWebhook, text: bytes) -> list[Part]:
        return [Part("/0", text, read), Part("/1", GOOD, SPLITS["smsmanager"](_, GOOD)[0].read)]

    monkeypatch.setitem(SPLITS, "broken", split)
    result = result_of("broken", b'"420777123456"')
    assert outcome(result) == (1, [("internal_error", "/0")], {})
    assert "ZeroDivisionError" in result.dead_letters[0].reason
    assert "420777123456" not in result.dead_letters[0].reason


def test_an_internal_error_in_splitting_affects_one_body(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same holds for a whole body."""

    def split(_: RawWebhook, text: bytes) -> list[Part]:
        raise RecursionError(text.decode())

    monkeypatch.setitem(SPLITS, "broken", split)
    assert outcome(result_of("broken", b"[]")) == (0, [("internal_error", "")], {})


def test_further_bad_items_are_one_dead_letter() -> None:
    """The first ones are kept one by one, the others as the whole body; good ones are published."""
    bad = b",".join([b"{}"] * (BOUNDS.letters + 7))
    text = b"[" + bad + b"," + GOOD + b"]"
    result = result_of("smsmanager", text)

    assert len(result.observations) == 1
    *single, rest = result.dead_letters
    assert [letter.pointer for letter in single] == [f"/{n}" for n in range(BOUNDS.letters)]
    assert (rest.code, rest.pointer, rest.value) == ("too_many_bad_items", "", text)
    assert rest.reason.startswith(f"7 more items cannot be normalised, the first /{BOUNDS.letters}")


def test_numbers_that_grow_are_measured_as_written_out() -> None:
    """A payload is measured as encoded JSON; above its bound it is left out, the fact is kept."""
    payload = b"[" + b",".join([b"9e15"] * 12_000) + b"]"
    assert len(payload) < BOUNDS.payload
    text = b"[" + START + b'"payload":' + payload + b"}," + GOOD + b"]"
    first, second = result_of("smsmanager", text).observations
    assert (first.payload, first.unread, second.unread) == (None, ["payload"], [])


@pytest.mark.parametrize("depth", [1, 63, 64, 65, 66, 200])
@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_depth_is_exact(depth: int, opening: bytes) -> None:
    """64 levels pass and 65 do not, next to any number of shallow ones."""
    closing = b"]" if opening == b"[" else b"}"
    text = b'[[],{},"[[",' + opening * (depth - 1) + b"1" + closing * (depth - 1) + b"]"
    result = result_of("smsmanager", text * 1)
    assert (result.dead_letters[0].code == "too_deep") == (depth > 64)


# Payload, content, and all other fields.
LARGEST = BOUNDS.payload + BOUNDS.content + 16 * 1024

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
names = st.sampled_from(
    [
        *("message_id", "gateway", "timestamp", "type", "to", "result", "result_info", "payload"),
        *("sms", "viber", "price_czk", "country", "sender", "recipient", "body", "notifications"),
        *("id", "status", "recipient_id", "viewer_id", "errors", "from_me", "from", "chat_id"),
        *("text", "action", "target", "context", "quoted_id", "after_update", "before_update"),
        *("messages", "statuses", "messages_updates", "messages_removed", "event", "channel_id"),
    ]
)
words = st.sampled_from(
    [
        *("outgoing", "incoming", "sent", "delivered", "action", "delete", "sms", "whatsapp_text"),
        *("420777123456", "1@g.us", "stories", "1@s.whatsapp.net", UUID, f"{UUID}-1", "text"),
        *("1700000000", "\ud800", "", "x" * 513),
    ]
)
values = st.recursive(
    scalars | words,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(names | st.text(max_size=4), inner, max_size=10)
    ),
    max_leaves=40,
)
providers = st.sampled_from(NAMES)


def checked(provider: str, text: bytes) -> Normalised:
    """Return the result, after the checks that hold for every result."""
    result = result_of(provider, text)
    assert result_of(provider, text) == result
    for observation in result.observations:
        encoded = encode(observation)
        assert len(encoded) <= LARGEST
        assert decode_observation(encoded) == observation
    for letter in result.dead_letters:
        assert letter.code != "internal_error", letter.reason
        assert letter.value in text or letter.value == text
        assert letter.reason
    assert result.observations or result.dead_letters or result.ignored or b"[" in text
    return result


@given(providers, st.binary(max_size=200))
def test_any_bytes(provider: str, text: bytes) -> None:
    """Arbitrary bytes never raise."""
    checked(provider, text)


@given(providers, values)
def test_any_json(provider: str, value: Any) -> None:
    """Any JSON, with known field names too, never raises and is never an internal error."""
    checked(provider, json.dumps(value).encode())


@given(providers, st.sampled_from([GOOD, STATUS, items(2), nested(9)]), st.data())
def test_any_damage(provider: str, text: bytes, data: st.DataObject) -> None:
    """A good body with some of its bytes changed never raises."""
    damaged = bytearray(text)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    checked(provider, bytes(damaged))


# Fields that are facts of neither provider's items, and what else is asked of a valid item.
ORNAMENTS = {
    "smsmanager": [
        "request_id",
        "timestamp",
        "payload",
        "to",
        "result_info",
        "sms",
        "viber",
        "rcs",
    ],
    "statuses": ["timestamp", "recipient_id", "errors", "code"],
    "messages": ["timestamp", "context", "status", "text", "labels", "chat_id"],
}
VALID: dict[str, dict[str, Any]] = {
    "smsmanager": {
        **json.loads(GOOD),
        "to": {"phone_number": "420777123456"},
        "sms": {"sender": "Shop", "price_czk": 0.5},
    },
    "statuses": {**json.loads(STATUS), "recipient_id": "1@s.whatsapp.net", "errors": []},
    "messages": {"id": "A-b", "type": "text", "from_me": False, "from": "1", "text": {"body": "b"}},
}


def _bodies(kind: str, item: Any) -> tuple[str, Any]:
    return ("smsmanager", [item]) if kind == "smsmanager" else ("whapi", {kind: [item]})


@given(st.sampled_from(sorted(VALID)), st.data())
def test_no_ornament_withholds_the_fact(kind: str, data: st.DataObject) -> None:
    """Whatever one of its other fields holds, an item has the fact it has without that field."""
    field = data.draw(st.sampled_from(ORNAMENTS[kind]))
    item = VALID[kind] | {field: data.draw(values)}
    provider, text = _bodies(kind, item)
    result = checked(provider, json.dumps(text).encode())
    assert not result.dead_letters
    found = result.observations[0]
    facts = ("message_key", "gateway", "status", "provider_status", "viewer", "sender")
    without = {name: value for name, value in item.items() if name != field}
    (alone, *_) = checked(provider, json.dumps(_bodies(kind, without)[1]).encode()).observations
    for name in facts:
        assert getattr(found, name, None) == getattr(alone, name, None)
    for name in found.unread:
        assert name.split(".")[0] in {field, "content"}


odd = st.dictionaries(names, scalars | words, max_size=3)
entry = st.sampled_from(
    [
        json.loads(GOOD),
        {"gateway": "sms", "type": "incoming", "sender": "1", "body": "b", "message_id": UUID},
        {"message_id": UUID, "gateway": "sms", "result": "seen", "sms": {"price_czk": 0.5}},
        json.loads(STATUS),
        {"id": "A-b", "type": "text", "from_me": False, "status": "sent", "text": {"body": "b"}},
        {"id": "A-b", "type": "action", "from_me": True, "action": {"type": "delete"}},
    ]
)
almost = st.builds(lambda good, changes: good | changes, entry, odd)
documents = st.lists(almost | almost | values, max_size=6)


@given(documents)
def test_every_item_comes_out_once(entries: list[Any]) -> None:
    """In a list, each item is one observation or one dead letter, in its own place."""
    result = checked("smsmanager", json.dumps(entries).encode())
    places = [f"/{observation.raw.index}" for observation in result.observations]
    places += [letter.pointer for letter in result.dead_letters]
    assert sorted(places) == sorted(f"/{index}" for index in range(len(entries)))
    keys = [one.message_key for one in result.observations if isinstance(one, InboundObservation)]
    assert len(keys) == len(set(keys))


@given(documents)
def test_every_entry_comes_out(entries: list[Any]) -> None:
    """In `messages`, each entry is one outcome, or two: the message and its status."""
    text = json.dumps({"messages": entries, "channel_id": "c"}).encode()
    result = checked("whapi", text)
    observed = {observation.raw.index for observation in result.observations}
    assert len(observed) + len(result.dead_letters) + sum(result.ignored.values()) == len(entries)


@given(documents, st.integers(0, 8))
def test_neighbours_change_nothing(entries: list[Any], place: int) -> None:
    """An item gives the same outcome alone and among any others."""
    among = [*entries[:place], json.loads(GOOD), *entries[place:]]
    index = min(place, len(entries))
    found = checked("smsmanager", json.dumps(among).encode()).observations
    (alone,) = result_of("smsmanager", items(1)).observations
    assert [replace(alone, raw=o.raw) for o in found if o.raw.index == index] == [
        o for o in found if o.raw.index == index
    ]
    assert index in {o.raw.index for o in found}


@given(st.lists(values, max_size=6), st.sampled_from([None, 1, "\ud800", float("nan")]))
def test_both_ways_of_cutting_agree(entries: list[Any], last: Any) -> None:
    """The careful parser cuts like the fast one; NaN at the end forces the careful one."""
    cut = json_slices.elements(json.dumps([*entries, last]).encode())
    assert cut == [json.dumps(entry).encode() for entry in [*entries, last]]


def test_normalise_does_not_change_its_input() -> None:
    """The webhook is unchanged."""
    given_webhook = webhook("smsmanager", items(1))
    webhook_to_observations.normalise(given_webhook, AT)
    assert given_webhook == webhook("smsmanager", items(1))


# Objects as text; a name may be a key, oddly spelt, a value, or deeper inside.
parts = st.sampled_from(
    [
        '"id"',
        '"\\u0069d"',
        '"status"',
        '"x\\"id"',
        '"\\"id\\":"',
        '"id:"',
        '"\\\\"',
        '"y"',
        "1",
        "NaN",
    ]
)
spaces = st.sampled_from(["", " ", "\n", "\t "])
keys = st.sampled_from(['"id"', '"\\u0069d"', '"status"']) | parts.filter(
    lambda text: text.startswith('"')
)


def objects(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pairs = st.builds("{}{}{}:{}{}".format, spaces, keys, spaces, spaces, values)
    return st.lists(pairs, max_size=4).map(lambda members: "{" + ",".join(members) + "}")


@given(objects(st.recursive(parts, objects, max_leaves=6)))
def test_a_repeated_name_is_always_found(text: str) -> None:
    """`Once` refuses exactly the names that a parser with all pairs finds repeated."""
    pairs = json.loads(text, object_pairs_hook=list)
    names = [name for name, _ in pairs if name in ("id", "status")]
    refused = False
    try:
        json_slices.Once("id", "status")(text.encode())
    except Refused as error:
        refused = error.code == "duplicate_key"
    assert refused == (len(names) != len(set(names)))
    repeated = json_slices.Once("id", "status").repeated(text.encode())
    assert set(repeated) == {name for name in names if names.count(name) > 1}
