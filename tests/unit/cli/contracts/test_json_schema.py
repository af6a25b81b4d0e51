"""The schemas of the published records: what they allow, and what they say."""

from typing import Any, Literal, get_args

import msgspec
import pytest
from jsonschema import Draft202012Validator
from msgspec import Struct
from msgspec.structs import fields

from cli.contracts.json_schema import (
    REFERENCE,
    WORDS,
    _property,
    definitions,
    structs,
    value_schema,
)
from processors.dead_letters import record as dead_letter
from processors.runtime.exactly_once import changelog_headers
from providers.rejection import CODES, Code
from schemas import accounts, field_notes, headers, webhook
from schemas.contract import KINDS
from schemas.field_notes import NOTES, Note, key_of, personal_fields
from schemas.processor_list import PROCESSORS
from schemas.quality import Period
from schemas.records import (
    Direction,
    Event,
    InboundRecord,
    MessageState,
    PublishedVerdict,
    Status,
    StatusRecord,
    ViewerState,
)
from schemas.vocabularies import VOCABULARIES
from service import tracing

EVERY = definitions()
STATUS = next(one for one in KINDS if one.name == "status")
SCHEMA = value_schema(STATUS, EVERY) or {}
RECORD: dict[str, Any] = {
    "kind": "status",
    "message_key": "p/-/m",
    "provider": "p",
    "account": "-",
    "channel": "sms",
    "gateway": "sms",
    "received_at": 1,
    "raw": {"topic": "t", "partition": 0, "offset": 0, "index": 0},
    "status": "sent",
    "provider_status": "sent",
    "verdict": "advanced",
    "direction": "unknown",
}


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"novelty": {"a": 1}},
        {"status": "pondered", "verdict": "odd"},
        {"payload": {"any": ["thing", None]}},
        {"content": {"type": "hologram", "depth": 3}},
    ],
)
def test_a_later_version_is_valid(change: dict[str, Any]) -> None:
    """New fields, and new words of every list, do not stop a consumer that validates."""
    Draft202012Validator(SCHEMA).validate(RECORD | change)


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "inbound"},
        {"recipient": None},
        {"received_at": "1"},
        {"direction": None},
        {"raw": {"topic": "t"}},
        {"reason": {"code": 7}},
    ],
)
def test_a_broken_record_is_not(change: dict[str, Any]) -> None:
    """A wrong type, null, or a missing field of every record is refused."""
    given = {name: value for name, value in (RECORD | change).items() if name != "absent"}
    assert not Draft202012Validator(SCHEMA).is_valid(given)


@pytest.mark.parametrize("name", sorted({"kind", "raw", "status", "verdict", "direction"}))
def test_a_field_of_every_record_is_required(name: str) -> None:
    """Fields that are always written are required, those with a computed default too."""
    given = {key: value for key, value in RECORD.items() if key != name}
    assert not Draft202012Validator(SCHEMA).is_valid(given)


@pytest.mark.parametrize("name", EVERY)
def test_every_definition_is_a_schema(name: str) -> None:
    """Each definition is valid under the meta-schema of 2020-12."""
    Draft202012Validator.check_schema(EVERY[name])


def test_every_field_has_one_note_and_each_note_a_field() -> None:
    """No field lacks a description, and no description is left of a field that is gone."""
    described = [one for one in EVERY.values() if one.get("type") == "object"]
    types = structs()
    names = [(one["title"], name) for one in described for name in one["properties"]]
    notes = [
        one["properties"][name]["description"] for one in described for name in one["properties"]
    ]
    assert all(note.endswith((".", "number.")) for note in notes)
    used = {key_of(types[title], name) for title, name in names}
    assert set(NOTES) - used == set()


def test_every_list_of_words_is_complete() -> None:
    """Each value of each enumeration has a meaning, and nothing else has."""
    known = {"Status": Status, "Direction": Direction, "Verdict": PublishedVerdict, "Code": Code}
    known["Period"] = Period
    for name, type_ in known.items():
        assert list(WORDS[name][1]) == list(get_args(type_)), name
    assert list(CODES) == list(get_args(Code))
    assert set(WORDS) - set(known) == set(VOCABULARIES) - set(known) == {"Channel", "ContentType"}


def test_the_headers_are_those_that_are_written() -> None:
    """The types of headers have the names of the constants that the code writes."""
    written = _constants(dead_letter) | _constants(changelog_headers)
    typed = {
        one.encode_name
        for type_ in (headers.DeadLetterHeaders, headers.StateHeaders)
        for one in fields(type_)
    }
    assert typed == written
    raw = {one.encode_name for one in fields(headers.RawHeaders)}
    assert {webhook.OWN_TIME, accounts.ACCOUNTS_HEADER, *webhook.KEPT_HEADERS} < raw
    for type_ in (headers.RawHeaders, headers.ObservationHeaders, headers.PublishedHeaders):
        assert {*tracing.CONTEXT} <= {one.encode_name for one in fields(type_)}


@pytest.mark.parametrize(
    ("name", "expected"),
    [("period", {"type": "string", "enum": ["day", "hour"]}), ("kind", {"const": "one"})],
)
def test_a_field_of_a_closed_list_has_all_its_words(
    monkeypatch: pytest.MonkeyPatch, name: str, expected: dict[str, Any]
) -> None:
    """A list that is no vocabulary is published whole; a single word is a constant."""
    monkeypatch.setitem(NOTES, f"Closed.{name}", Note("A field."))
    _, found = msgspec.json.schema_components([Closed], ref_template=REFERENCE)
    schema = _property(Closed, name, found["Closed"]["properties"][name], REFERENCE)
    assert schema == expected | {"description": "A field."}


class Closed(Struct, kw_only=True):
    """A record with lists of words that have no vocabulary."""

    kind: Literal["one"]
    period: Literal["hour", "day"]


def test_every_topic_has_a_kind_of_record() -> None:
    """All topics that processors read or write are described, and every event."""
    topics = {name for one in PROCESSORS for name in (*one.inputs, *one.outputs)}
    assert {kind.topic for kind in KINDS} == topics
    tags = {str(one.__struct_config__.tag) for one in get_args(Event)}
    assert {kind.name for kind in KINDS if kind.topic == "events"} == tags


def test_personal_fields_are_marked_in_one_place() -> None:
    """The marks of a record can be read from its type, for code that hides them."""
    assert personal_fields(StatusRecord) == {
        "recipient": "number",
        "payload": "any",
        "content": "text",
        "viewer": "number",
    }
    assert personal_fields(InboundRecord)["sender"] == "number"
    assert personal_fields(ViewerState) == {"viewer": "number"}
    assert personal_fields(MessageState).keys() == {"recipient", "payload", "content"}
    assert field_notes.note_of(StatusRecord, "occurred_at").unit == "Unix ms"


def _constants(module: Any) -> set[str]:
    """Return the constants of a module that name headers."""
    names = (name for name in vars(module) if name.isupper() and not name.startswith("_"))
    return {value for name in names if isinstance(value := getattr(module, name), str)}
