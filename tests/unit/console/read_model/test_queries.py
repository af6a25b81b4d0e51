"""What the queries find in the records of simulated messages, compared with the states."""

from collections import Counter
from collections.abc import Callable

import pytest

from console.read_model.database import Database
from console.read_model.queries import dead_letters, messages, overview, timeline
from console.read_model.results import (
    BadCursorError,
    LetterFilter,
    MessageFilter,
    MessageLine,
)
from schemas.records import MessageState
from tests.unit.console.read_model.topic_records import BEGAN, records, states

DAY_MS = 24 * 3_600_000


def every(database: Database, wanted: MessageFilter, limit: int = 7) -> list[MessageLine]:
    """All pages of a search."""
    found: list[MessageLine] = []
    cursor = None
    with database.reading() as connection:
        while True:
            page = messages.search(connection, wanted, cursor=cursor, limit=limit)
            found += page.items
            cursor = page.next
            if cursor is None:
                return found


def keys(found: list[MessageLine]) -> list[str]:
    return [one.key for one in found]


def test_the_pages_of_a_search_hold_each_message_once_the_newest_first(database: Database) -> None:
    found = every(database, MessageFilter())
    assert sorted(keys(found)) == sorted(states())
    assert [one.first_seen_at for one in found] == sorted(
        (one.first_seen_at for one in states().values()), reverse=True
    )


@pytest.mark.parametrize(
    ("wanted", "holds"),
    [
        (
            MessageFilter(statuses=("failed", "rejected")),
            lambda s: s.status in ("failed", "rejected"),
        ),
        (MessageFilter(provider="whapi"), lambda s: s.provider == "whapi"),
        (MessageFilter(gateway="viber"), lambda s: "viber" in s.attempts and len(s.attempts) == 1),
        (MessageFilter(stalled=True), lambda s: s.stalled_since is not None),
        (MessageFilter(contradicted=True), lambda s: s.contradictions != []),
        (MessageFilter(until=BEGAN + 1), lambda s: s.first_seen_at <= BEGAN),
        (MessageFilter(since=BEGAN + 1), lambda s: s.first_seen_at > BEGAN),
        (
            MessageFilter(statuses=("read", "delivered"), provider="whapi", since=BEGAN + 1),
            lambda s: (
                s.status in ("read", "delivered")
                and s.provider == "whapi"
                and s.first_seen_at > BEGAN
            ),
        ),
        (
            MessageFilter(statuses=("delivered",), provider="smsmanager", contradicted=True),
            lambda s: (
                (s.status, s.provider) == ("delivered", "smsmanager") and s.contradictions != []
            ),
        ),
    ],
    ids=[
        "statuses",
        "provider",
        "gateway",
        "stalled",
        "contradicted",
        "until",
        "since",
        "three",
        "four",
    ],
)
def test_a_filter_finds_all_that_match(
    database: Database, wanted: MessageFilter, holds: Callable[[MessageState], bool]
) -> None:
    expected = {key for key, state in states().items() if holds(state)}
    found = set(keys(every(database, wanted)))
    assert expected
    assert expected <= found if wanted.gateway else expected == found


@pytest.mark.parametrize("field", ["message_key", "message_id", "request_id", "recipient"])
def test_a_message_is_found_by_an_id_or_its_number(database: Database, field: str) -> None:
    values = Counter(getattr(one, field) for one in states().values() if getattr(one, field))
    for value, count in list(values.items())[:40]:
        found = every(database, MessageFilter(text=f" {value} "))
        assert all(one in keys(found) for one, s in states().items() if getattr(s, field) == value)
        assert len(found) >= count


def test_a_number_is_found_in_the_forms_that_people_write(database: Database) -> None:
    number = next(one.recipient for one in states().values() if (one.recipient or "x").isdigit())
    assert number
    plain = keys(every(database, MessageFilter(text=number)))
    for text in (f"+{number}", f"00{number}", f"+{number[:3]} {number[3:6]} {number[6:]}"):
        assert keys(every(database, MessageFilter(text=text))) == plain


def test_a_message_is_found_by_the_sender_of_a_reply(database: Database) -> None:
    replies = [r for kind, r in records() if kind == "inbound"]
    assert replies
    with database.reading() as connection:
        found = 0
        for key in states():
            message = timeline.find(connection, key)
            assert message
            for reply in message.replies:
                if reply.sender and not reply.own:
                    found += 1
                    assert key in keys(every(database, MessageFilter(text=reply.sender)))
    assert found


def test_a_message_is_found_by_a_value_of_its_payload(database: Database) -> None:
    wanted = [one for one in states().values() if isinstance(one.payload, dict)]
    assert wanted
    for state in wanted[:20]:
        for value in state.payload.values():
            if isinstance(value, (str, int)):
                assert state.message_key in keys(every(database, MessageFilter(text=str(value))))


def test_text_and_filter_together_hold_both(database: Database) -> None:
    both = MessageFilter(text="simulated", provider="smsmanager", statuses=("delivered",))
    found = every(database, both)
    assert found
    assert all((one.provider, one.status) == ("smsmanager", "delivered") for one in found)


def test_nothing_is_found_for_an_unknown_text(database: Database) -> None:
    assert every(database, MessageFilter(text="no such thing")) == []


@pytest.mark.parametrize("cursor", ["x", "é", "AAAA", "!" * 32])
def test_a_cursor_of_no_page_is_refused(database: Database, cursor: str) -> None:
    with database.reading() as connection, pytest.raises(BadCursorError):
        messages.search(connection, MessageFilter(), cursor=cursor)


def test_choices_are_the_values_that_occur(database: Database) -> None:
    with database.reading() as connection:
        found = messages.choices(connection)
    assert found.providers == sorted({one.provider for one in states().values()})
    assert found.statuses == sorted({one.status for one in states().values() if one.status})
    assert {"viber", "sms"} <= {*found.gateways}
    assert "GB" in found.countries


def test_the_timeline_has_every_fact_with_its_verdict(database: Database) -> None:
    verdicts: Counter[str] = Counter()
    with database.reading() as connection:
        for key, state in states().items():
            message = timeline.find(connection, key)
            assert message
            assert message.line.key == key
            own = [fact for fact in message.facts if fact.viewer is None]
            assert len(own) == sum(len(one.facts) for one in state.attempts.values())
            assert [fact.at for fact in message.facts] == sorted(fact.at for fact in message.facts)
            assert all(fact.verdict for fact in message.facts)
            verdicts.update(fact.verdict or "" for fact in message.facts)
            assert {one.gateway for one in message.attempts} == {*state.attempts}
            assert len(message.replies) == len(state.inbound)
            assert all(reply.content for reply in message.replies)
            assert {one.event for one in message.events} >= (
                {"stalled"} if state.stalled_since else set()
            )
    assert {*verdicts} >= {"advanced", "late", "contradiction"}


def test_an_unknown_message_has_no_timeline(database: Database) -> None:
    with database.reading() as connection:
        assert timeline.find(connection, "smsmanager/-/none") is None


def test_dead_letters_are_grouped_by_cause(database: Database) -> None:
    written = [r for kind, r in records() if kind == "dead-letters"]
    with database.reading() as connection:
        groups = dead_letters.groups(connection, LetterFilter())
        assert sum(one.open for one in groups) == len(written)
        for group in groups:
            same = LetterFilter(provider=group.provider, code=group.code, cause=group.cause)
            page = dead_letters.letters(connection, same, limit=1)
            assert page.items[0].code == group.code
            assert (page.next is None) == (group.open == 1)
            assert dead_letters.find(connection, group.example.id) == group.example
        assert dead_letters.groups(connection, LetterFilter(resolved=True)) == []
        assert dead_letters.find(connection, "zz") is None


def test_the_overview_counts_what_the_states_hold(database: Database) -> None:
    now = BEGAN + 2 * DAY_MS
    with database.reading() as connection:
        found = overview.overview(connection, now, hours=24 * 365 * 20)
        assert found.messages == len(states())
        assert found.stalled == sum(one.stalled_since is not None for one in states().values())
        by_provider = Counter(one.provider for one in states().values())
        assert {one.provider: one.messages for one in found.providers} == by_provider
        for share in found.providers:
            those = [one for one in states().values() if one.provider == share.provider]
            assert share.statuses == Counter(one.status or "none" for one in those)
            outbound = [one.status for one in those if one.status]
            delivered = [one for one in outbound if one in ("delivered", "read", "played")]
            assert share.delivered_share == len(delivered) / len(outbound)
        minutes = overview.points(connection, 0, now + 30 * DAY_MS)
        hours = overview.points(connection, 0, now + 30 * DAY_MS, overview.HOUR_MS)
    facts = sum(kind == "statuses" for kind, _ in records())
    assert sum(sum(one.facts.values()) for one in minutes) == facts
    assert sum(sum(one.facts.values()) for one in hours) == facts
    assert len(hours) < len(minutes)
