"""What an observation holds under each policy, and that no derived record holds a clear value."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from cli.simulator.simulate import simulate
from cli.up import examples
from processors.normalising.privacy import protected, without_numbers
from processors.replay.pipeline_in_memory import Delivery, Outcome, Step, Wait, run
from providers.contract import DeadLetter
from schemas.codec import encode
from schemas.content import Contact, Content
from schemas.field_notes import personal_fields
from schemas.privacy import (
    KEEP,
    Key,
    Policy,
    Privacy,
    hashed_id,
    hashed_number,
    hashed_viewer,
)
from schemas.records import (
    InboundObservation,
    Observation,
    RawOrigin,
    Reason,
    StatusObservation,
    viewer_key,
)
from tests.unit.webhooks import result_of

KEY = Key("k1", 0, "0123456789abcdef")
NUMBER, OTHER = "420777123456", "420777654321"
HASH = hashed_number(KEY, NUMBER)
_SHORT = 6
CONTENT = {
    "type": "contact",
    "text": "my words",
    "caption": "more words",
    "link": "https://files.example/1.jpg",
    "latitude": 50.1,
    "mime_type": "image/jpeg",
    "choice": "yes",
    "not yet known": "words",
    "contacts": [{"name": "Ada", "numbers": [NUMBER]}],
}
STATUS = StatusObservation(
    message_key="p/-/m-1",
    provider="p",
    account="-",
    channel="whatsapp",
    gateway="whatsapp",
    received_at=1_763_900_000_000,
    raw=RawOrigin("raw.p", 0, 0, 0),
    message_id="m-1",
    recipient=NUMBER,
    viewer=OTHER,
    status="read",
    provider_status="read",
    payload={"order": 4711},
    content=CONTENT,
    reason=Reason(code="131026", text=f"no account for +{NUMBER}, code 470"),
)
INBOUND = InboundObservation(
    message_key="p/-/reply-1f",
    provider="p",
    account="-",
    channel="sms",
    gateway="sms",
    received_at=1_763_900_000_000,
    raw=RawOrigin("raw.p", 0, 0, 0),
    in_reply_to="p/-/m-1",
    sender=NUMBER,
    recipient=OTHER,
    content={"type": "text", "text": "my words"},
)


def under(policy: Policy, observation: Observation = STATUS) -> Any:
    return protected(observation, Privacy(policy, (KEY,)))


def test_keep_keeps_the_observation_itself() -> None:
    """The default costs nothing."""
    assert under(KEEP) is STATUS
    assert under(Policy(payload="omit")) == replace(STATUS, payload=None)


def test_hashed_numbers() -> None:
    """Equal numbers have equal hashes in all fields; texts and payload are kept."""
    found = under(Policy("hash"))
    assert (found.recipient, found.viewer) == (HASH, hashed_number(KEY, OTHER))
    assert found.content["contacts"] == [{"name": hashed_number(KEY, "Ada"), "numbers": [HASH]}]
    assert {**found.content, "contacts": 0} == {**CONTENT, "contacts": 0}
    assert found.reason == Reason(code="131026", text="no account for …, code 470")
    assert found.payload == STATUS.payload
    assert found.message_key == STATUS.message_key


def test_omitted_numbers() -> None:
    """A viewer stays distinguishable within the message, and is another one elsewhere."""
    found = under(Policy("omit"))
    assert found.recipient is None
    assert found.viewer == hashed_viewer(KEY, OTHER, STATUS.message_key)
    assert "contacts" not in found.content
    elsewhere = under(Policy("omit"), replace(STATUS, message_key="p/-/m-2"))
    assert elsewhere.viewer != found.viewer


def test_omitted_texts() -> None:
    """What a person wrote goes, also in fields that this version does not know."""
    found = under(Policy("keep", "omit"))
    kept = ("type", "mime_type", "choice", "contacts")
    assert found.content == {name: CONTENT[name] for name in kept}
    assert (found.recipient, found.viewer, found.reason) == (NUMBER, OTHER, STATUS.reason)


@pytest.mark.parametrize("policy", [Policy("hash"), Policy("omit"), Policy("keep", "omit")])
def test_an_id_made_from_the_content_is_hashed(policy: Policy) -> None:
    """Sender and text could otherwise be guessed and compared; the answered message stays."""
    found = under(policy, INBOUND)
    assert found.message_key == f"p/-/{hashed_id(KEY, 'reply-1f')}"
    assert found.in_reply_to == INBOUND.in_reply_to


def test_an_id_that_names_a_chat_is_hashed() -> None:
    """The same in every report of the message, and in its answers."""
    own = f"true_{NUMBER}@c.us_3EB0"
    key = f"p/-/{hashed_id(KEY, own)}"
    status = under(Policy("hash"), replace(STATUS, message_key=f"p/-/{own}", message_id=own))
    assert (status.message_key, status.message_id) == (key, hashed_id(KEY, own))
    answer = under(Policy("hash"), replace(INBOUND, in_reply_to=f"p/-/{own}"))
    assert answer.in_reply_to == key


def test_an_unknown_word_has_no_number() -> None:
    """A known one is a word of the vocabulary."""
    odd = replace(STATUS, status="unknown", provider_status=f"to {NUMBER}")
    assert under(Policy("hash"), odd).provider_status == "to …"
    assert under(Policy("hash")).provider_status == STATUS.provider_status


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("+420 777 123 456", "…"),
        ("call (420) 777-123.456 now", "call (… now"),
        ("code 131026, part 2 of 3", "code 131026, part 2 of 3"),
        (" 1" * 100_000, " …"),
        ("1" + "(" * 100_000, "1" + "(" * 100_000),
    ],
)
def test_long_numbers_in_a_text(text: str, shown: str) -> None:
    assert without_numbers(text) == shown


def _traffic() -> list[Step]:
    steps: list[Step] = [
        Delivery(one.source, bytes(one.body), None, one.headers, one.path, one.method)
        for one in examples.load()
    ]
    posts = simulate(messages=100, base_time_ms=0, seed=1, malformed=0.1).posts
    steps += (Delivery(post.source, post.body, None, {}, post.path, post.method) for post in posts)
    return [*steps, Wait(2 * 24 * 3_600_000)]


TRAFFIC = _traffic()


def _run(policy: Policy) -> Outcome:
    return run(TRAFFIC, began_at=1_764_331_200_000, privacy=Privacy(policy, (KEY,)), stories=True)


def _personal(shape: Any, value: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (kind, text) of the personal values of a mapping, by the marks of its type."""
    for name, kind in personal_fields(shape).items():
        found = value.get(name)
        if name == "content" and found:
            yield from _personal(Content, found)
        elif name == "contacts" and found:
            for one in found:
                yield from _personal(Contact, one)
        elif kind in ("number", "text") and found:
            yield from ((kind, str(one)) for one in (found if isinstance(found, list) else [found]))


def _clear(outcome: Outcome) -> set[str]:
    """Return the personal values in the observations, without our own senders.

    Short ones occur in other words.
    """
    found = [
        pair
        for one in outcome.records
        if one.topic == "observations"
        for pair in _personal(type(one.record), _builtins(one.record))
    ]
    assert {kind for kind, _ in found} == {"number", "text"}
    ours = {
        one.record.billing.sender
        for one in outcome.records
        if one.topic == "observations" and getattr(one.record, "billing", None)
    }
    return {text for _, text in found if len(text) > _SHORT} - ours


def _builtins(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__struct_fields__}


def _sinks(outcome: Outcome) -> dict[str, list[str]]:
    """Return the records of each topic as text: keys, headers and values."""
    sinks: dict[str, list[str]] = {}
    for one in outcome.records:
        letter = isinstance(one.record, DeadLetter)
        value = one.record.value if letter else encode(one.record)
        text = f"{one.key} {one.headers} {value.decode('utf-8', 'replace')}"
        sinks.setdefault(one.topic, []).append(text)
    states = [encode(state).decode() for state in outcome.messages.values()]
    states += (
        viewer_key(viewer.message_key, viewer.viewer) + encode(viewer).decode()
        for viewer in outcome.viewers.values()
    )
    return {**sinks, "messages": states}


@pytest.mark.parametrize("numbers", ["hash", "omit"])
def test_no_derived_record_of_any_provider_holds_a_clear_value(numbers: Any) -> None:
    """The documented webhooks of all providers, and simulated ones, valid and malformed."""
    clear = _clear(_run(KEEP))
    kept = _sinks(_run(KEEP))
    assert len(clear) > 100
    assert {topic for topic, texts in kept.items() if _found(clear, texts)} >= {
        *("observations", "statuses", "events", "inbound", "messages", "dead-letters"),
    }
    for topic, texts in _sinks(_run(Policy(numbers, "omit"))).items():
        assert _found(clear, texts) == set(), topic


def _found(clear: set[str], texts: list[str]) -> set[str]:
    whole = "\n".join(texts)
    return {text for text in clear if text in whole}


@pytest.mark.parametrize("policy", [Policy("hash", "omit"), Policy("omit", "omit")])
def test_the_lifecycle_is_the_same_under_every_policy(policy: Policy) -> None:
    """As many records of each kind, with the same verdicts and statuses: only names differ."""
    kept, other = (_shape(_run(one)) for one in (KEEP, policy))
    assert other == kept
    assert _run(policy) == _run(policy)


def _shape(outcome: Outcome) -> list[tuple[Any, ...]]:
    return [
        (one.topic, one.type, getattr(one.record, "verdict", None), one.step)
        for one in outcome.records
        # Without its texts a correction may say nothing new.
        if one.type != "inbound" or not getattr(one.record, "revision", 0)
    ]


def test_no_message_id_of_a_provider_holds_a_number() -> None:
    """Ids are kept, as the caller finds a message by them: so they must not lead to a person."""
    for one in _run(KEEP).records:
        if one.topic == "observations":
            numbers = {n for n in (one.record.recipient, getattr(one.record, "sender", None)) if n}
            ids = (one.record.message_key, one.record.request_id or "")
            assert [n for n in numbers for text in ids if n.removesuffix("@g.us") in text] == []


def test_dead_letters_have_no_value() -> None:
    """The raw topic has it; under `keep` they hold the item, and the request's headers."""
    kept, bare = (
        [one for one in _run(policy).records if one.topic == "dead-letters"]
        for policy in (KEEP, Policy("hash"))
    )
    assert [one.record.code for one in kept] == [one.record.code for one in bare]
    assert any(one.record.value for one in kept)
    assert not any(one.record.value for one in bare)
    names = {name for one in bare for name, _ in one.headers}
    assert all(re.match(r"dead-letter-|__streams", name) for name in names)


def test_equal_messages_of_one_body_stay_distinct() -> None:
    """Their number follows the hash."""
    entry = {
        "gateway": "sms",
        "type": "incoming",
        "sender": NUMBER,
        "body": "my words",
        "timestamp": 1_763_900_000,
    }
    privacy = Privacy(Policy("hash", "omit"), (KEY,))
    found = result_of("smsmanager", [entry, entry], privacy=privacy).observations
    first, second = (one.message_key for one in found)
    assert second == f"{first}-2"
    assert first.startswith("smsmanager/-/h1:k1:")
