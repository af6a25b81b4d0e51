"""Accounts: what a pattern matches, whom a body may speak for, and what a correction changes."""

import json
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.spool import _to_lines
from cli.up.examples import load
from ingest.spool.database import SpoolFile
from processors.normalising.accounts import fingerprint
from processors.normalising.foreign_account_alarm import Alarm, Foreign
from processors.normalising.webhook_to_observations import normalise
from providers.contract import Normalised
from schemas.accounts import Patterns, decode_patterns, encode_patterns, matches, only
from schemas.records import record_keys
from schemas.webhook import RawWebhook, from_record, to_headers
from tests.unit.webhooks import AT, RECEIVED_AT, result_of, webhook

SAMPLES = load()

_NAMES = st.text("aA-", min_size=1, max_size=6)
_PATTERNS = st.text("aA-*?", min_size=1, max_size=6)
_LISTS = st.one_of(st.none(), st.lists(_PATTERNS, max_size=3).map(tuple))


def _matches(pattern: str, account: str) -> bool:
    """The meaning of a pattern, character by character."""
    if not pattern:
        return not account
    if pattern[0] == "*":
        return any(_matches(pattern[1:], account[cut:]) for cut in range(len(account) + 1))
    return bool(account) and pattern[0] in ("?", account[0]) and _matches(pattern[1:], account[1:])


@given(_PATTERNS, _NAMES)
def test_a_pattern_matches_what_it_says(pattern: str, account: str) -> None:
    """`*` is any characters, `?` is one, everything else is itself, case included."""
    assert matches((pattern,), account) == _matches(pattern, account)


@given(st.lists(st.text(max_size=20), max_size=5).map(tuple))
def test_a_header_holds_the_accounts(patterns: Patterns) -> None:
    """The header of a raw record is read back as it was written."""
    assert decode_patterns(encode_patterns(patterns).decode()) == patterns


@pytest.mark.parametrize("text", ["", "A", "{}", '"A"', "[1]", '["A"', "[" * 5000])
def test_a_header_that_cannot_be_read_permits_no_account(text: str) -> None:
    """It was written by hand; to permit every account would be a way around the check."""
    assert decode_patterns(text) == ()


@pytest.mark.parametrize(
    ("patterns", "account"),
    [(None, None), ((), None), (("A",), "A"), (("A", "B"), None), (("A*",), None), (("?",), None)],
)
def test_only_one_exact_account_is_that_of_bodies_without_one(
    patterns: Patterns | None, account: str | None
) -> None:
    """A pattern, or several accounts, do not say which one is meant."""
    assert only(patterns) == account


def _whapi(channel: str | None) -> dict[str, Any]:
    items = [{"id": "M1", "status": "failed"}, {"status": "sent"}, {"id": "M2", "status": "sent"}]
    return {"statuses": items} | ({} if channel is None else {"channel_id": channel})


_SMS = [{"type": "outgoing", "message_id": "M1", "gateway": "sms", "result": "failed"}]


def _keys(result: Normalised) -> list[str]:
    return [observation.message_key for observation in result.observations]


@pytest.mark.parametrize(
    ("accounts", "channel", "account"),
    [
        (None, "A-1", "A-1"),
        (None, None, "-"),
        (("A-1",), "A-1", "A-1"),
        (("B", "A-*"), "A-1", "A-1"),
        (("A-1",), None, "A-1"),
        (("*",), "A-1", "A-1"),
    ],
)
def test_a_source_speaks_for_its_accounts(
    accounts: Patterns | None, channel: str | None, account: str
) -> None:
    """Its items become observations under that account, and name the source."""
    result = result_of("whapi", _whapi(channel), accounts=accounts)
    assert _keys(result) == [f"whapi/{account}/M1", f"whapi/{account}/M2"]
    assert {one.account for one in result.observations} == {account}
    assert {one.source for one in result.observations} == {"whapi"}
    assert [letter.code for letter in result.dead_letters] == ["missing_field"]


@pytest.mark.parametrize(
    ("accounts", "channel"),
    [
        (("B-*",), "A-1"),
        (("a-1",), "A-1"),
        (("A-1 ",), "A-1"),
        ((), "A-1"),
        (("A-1", "A-2"), None),
        (("*",), None),
        (("*", "?"), "-"),
    ],
)
def test_a_body_for_another_account_gives_dead_letters(
    accounts: Patterns, channel: str | None
) -> None:
    """One an item, with its pointer and the account; nothing of it is an observation."""
    result = result_of("whapi", _whapi(channel), accounts=accounts)
    assert result.observations == []
    assert [(one.code, one.pointer, one.account) for one in result.dead_letters] == [
        ("foreign_account", "/statuses/0", channel or "-"),
        ("missing_field", "/statuses/1", ""),
        ("foreign_account", "/statuses/2", channel or "-"),
    ]
    assert result.dead_letters[0].value == b'{"id": "M1", "status": "failed"}'


def test_an_item_with_two_outcomes_is_one_dead_letter() -> None:
    """A group message with a status is an inbound message and a status of one item."""
    message = {"id": "M1", "type": "text", "from_me": False, "status": "sent", "chat_id": "1@g.us"}
    body = {"channel_id": "A", "messages": [message]}
    assert len(result_of("whapi", body).observations) == 2
    letters = result_of("whapi", body, accounts=("B",)).dead_letters
    assert [(one.code, one.pointer) for one in letters] == [("foreign_account", "/messages/0")]


def test_a_source_names_the_account_of_bodies_without_one() -> None:
    """It is the account in the key, of replies and of what they answer as well."""
    reply = {"type": "incoming", "message_id": "M1", "gateway": "sms", "sender": "1", "body": "ok"}
    result = result_of("smsmanager", [*_SMS, reply], accounts=("a/b",))
    assert [observation.account for observation in result.observations] == ["a/b", "a/b"]
    assert record_keys(result.observations[0]) == ("smsmanager/a%2Fb/M1",)
    assert record_keys(result.observations[1]) == ("smsmanager/a%2Fb/M1",)


def test_bodies_written_by_hand_name_no_source() -> None:
    """A raw record without a `ce_source` gives observations without `source`."""
    record = from_record("whapi", b'{"statuses":[{"id":"M1","status":"sent"}]}', [], RECEIVED_AT)
    assert [one.source for one in normalise(record, AT).observations] == [None]


def test_the_accounts_of_a_source_travel_with_the_record() -> None:
    """They are in a header of the raw record, which a source without accounts does not have."""
    sent = webhook("whapi", _whapi("A"), accounts=("A", "B*"))
    assert ("source-accounts", b'["A","B*"]') in to_headers(sent)
    assert from_record("whapi", sent.body, to_headers(sent), RECEIVED_AT) == sent
    assert "source-accounts" not in dict(to_headers(webhook("whapi", _whapi("A"))))


def test_a_spooled_body_is_exported_with_the_accounts(tmp_path: Path) -> None:
    """`bluetick spool export` copies everything of a webhook."""
    with closing(SpoolFile(tmp_path)) as file:
        file.add([webhook("whapi", _whapi("A"), accounts=("A", "B*"))])
        _to_lines(iter(file.read(0, 1)), tmp_path / "out.jsonl")
    assert json.loads((tmp_path / "out.jsonl").read_text())["accounts"] == ["A", "B*"]


_CORRECTIONS = st.dictionaries(st.sampled_from(["whapi", "smsmanager", "other"]), _LISTS)
_BODIES = st.one_of(
    st.tuples(st.just("whapi"), st.one_of(st.none(), _NAMES).map(_whapi)),
    st.just(("smsmanager", _SMS)),
)


@given(_BODIES, _LISTS, _CORRECTIONS)
def test_a_correction_only_adds(
    body: tuple[str, Any], accounts: Patterns | None, corrections: Mapping[str, Patterns | None]
) -> None:
    """What reception permitted is the same observation under the same key afterwards."""
    sent = webhook(*body, accounts=accounts)
    before, after = normalise(sent, AT), normalise(sent, AT, corrections=corrections)
    assert [one for one in after.observations if one in before.observations] == before.observations
    if not any(letter.code == "foreign_account" for letter in before.dead_letters):
        assert after == before
    if sent.source not in corrections:
        assert after == before


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
@pytest.mark.parametrize("accounts", [None, ("M*",), ("shop",), ("X", "Y")])
def test_every_key_is_of_a_permitted_account(sample: Any, accounts: Patterns | None) -> None:
    """Of every provider: keys begin with the account, and each observation names its source."""
    sent = RawWebhook(
        id=sample.name,
        source="tenant",
        provider=sample.source,
        body=bytes(sample.body),
        received_at=RECEIVED_AT,
        method=sample.method,
        path=sample.path,
        headers=sample.headers,
        accounts=accounts,
    )
    result = normalise(sent, AT)
    for one in result.observations:
        begin = f"{sample.source}/{quote(one.account, safe=' :@+')}/"
        assert all(key.startswith(begin) for key in record_keys(one))
        assert one.source == "tenant"
        assert accounts is None or matches(accounts, one.account)
    if accounts == ("X", "Y"):
        assert result.observations == []


@pytest.mark.parametrize(
    ("accounts", "correction", "key"),
    [
        (("A",), ("A", "C"), "whapi/C/M1"),
        (("A",), None, "whapi/C/M1"),
        (("A",), ("B",), None),
        ((), ("C*",), "whapi/C/M1"),
    ],
)
def test_a_corrected_file_permits_what_it_names(
    accounts: Patterns, correction: Patterns | None, key: str | None
) -> None:
    """The body for the account C, refused at reception, is judged by both."""
    sent = webhook("whapi", _whapi("C"), accounts=accounts)
    assert normalise(sent, AT).observations == []
    assert _keys(normalise(sent, AT, corrections={"whapi": correction}))[:1] == (
        [key] if key else []
    )


def test_corrections_have_a_fingerprint() -> None:
    """It is the same for the same accounts, whatever the order of the sources."""
    one, other = {"a": ("A",), "b": None}, {"b": None, "a": ("A",)}
    assert fingerprint(one) == fingerprint(other)
    assert fingerprint(one) != fingerprint({"a": ("A",), "b": ()})
    assert fingerprint({}) is None


def test_the_alarm_is_a_line_a_minute_and_a_source(caplog: pytest.LogCaptureFixture) -> None:
    """The line names source, account and place, and how many were not logged since the last."""
    now = 100.0
    alarm = Alarm(lambda: now)
    items = [Foreign("b", f"A\x1b[{n}", f"raw[0]@{n}/statuses/0") for n in range(3)]
    alarm.raise_for(items)
    alarm.raise_for([Foreign("c", "A", "raw[1]@7/statuses/1")])
    now = 161.0
    alarm.raise_for(items[:1])
    lines = caplog.messages
    assert len(lines) == 3
    assert lines[0].startswith(
        r"raw[0]@0/statuses/0: the source 'b' speaks for the account 'A\x1b[0', which"
    )
    assert "the source 'c'" in lines[1]
    assert lines[2].endswith("(2 more since the last such line)")
    assert {record.levelname for record in caplog.records} == {"ERROR"}
