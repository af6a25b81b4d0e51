"""A search beside filters starts from the rarer side: its cost does not grow with the messages."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import Connection

from console.read_model.database import Database
from console.read_model.queries import messages
from console.read_model.results import MessageFilter
from schemas.codec import encode
from schemas.records import Attempt
from tests.unit.console.read_model.topic_records import BEGAN, Record, load, outcomes

SMALL, LARGE = 1_000, 8_000
FEW = 200
_STEPS = 20  # instructions of SQLite's virtual machine between two counts


def _records(count: int) -> Iterator[tuple[str, Record]]:
    """Messages with a payload value in common; the three oldest have another status and value."""
    templates = [one for one in outcomes()[-1].messages.values() if one.status == "delivered"]
    attempts = templates[0].attempts
    for number in range(count):
        message_id = f"message-{number}"
        rare = number < 3
        state = replace(
            templates[0],
            message_key=f"smsmanager/-/{message_id}",
            message_id=message_id,
            recipient=None,
            request_id=None,
            status="failed" if rare else "delivered",
            first_seen_at=BEGAN + number,
            attempts={gateway: _at(one, BEGAN + number) for gateway, one in attempts.items()},
            stalled_since=None,
            contradictions=[],
            payload={"campaign": "winter-sale", "kind": "test" if rare else "real"},
        )
        key = state.message_key.encode()
        yield "messages", Record("messages", 0, number, BEGAN, key, encode(state))


def _at(attempt: Attempt, at: int) -> Attempt:
    """Return an attempt whose facts all happened at one time."""
    facts = {name: replace(fact, occurred_at=at) for name, fact in attempt.facts.items()}
    return replace(attempt, facts=facts)


@contextmanager
def _filled(count: int) -> Iterator[Connection]:
    database = Database("sqlite://")
    database.create()
    load(database, list(_records(count)))
    with database.reading() as connection:
        yield connection
    database.engine.dispose()


@pytest.fixture(scope="module")
def small() -> Iterator[Connection]:
    with _filled(SMALL) as connection:
        yield connection


@pytest.fixture(scope="module")
def large() -> Iterator[Connection]:
    with _filled(LARGE) as connection:
        yield connection


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let some hundred messages be many."""
    monkeypatch.setattr(messages, "_FEW", FEW)


def _cost(connection: Connection, wanted: MessageFilter) -> tuple[int, int]:
    """Return the number of messages found, and the steps of SQLite that it took."""
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    driver: Any = connection.connection.driver_connection
    driver.set_progress_handler(count, _STEPS)
    try:
        return len(messages.search(connection, wanted, limit=20).items), steps
    finally:
        driver.set_progress_handler(None, 0)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (MessageFilter(text="winter-sale", statuses=("failed",)), 3),
        (MessageFilter(text="winter-sale", statuses=("failed",), provider="smsmanager"), 3),
        (MessageFilter(text="winter-sale", stalled=True), 0),
        (MessageFilter(text="test", statuses=("delivered",)), 0),
        (MessageFilter(text="test", statuses=("delivered", "failed"), provider="smsmanager"), 3),
        (MessageFilter(text="winter-sale", statuses=("delivered",)), 20),
        (MessageFilter(text="winter-sale", provider="smsmanager", until=BEGAN + 500), 20),
        (MessageFilter(statuses=("failed",)), 3),
        (MessageFilter(statuses=("delivered",), until=BEGAN + 500), 20),
        (MessageFilter(statuses=("failed", "delivered"), provider="smsmanager"), 20),
        (MessageFilter(provider="smsmanager", country="XX"), 0),
        (MessageFilter(time="event", provider="smsmanager", until=BEGAN + 500), 20),
        (MessageFilter(time="event", until=BEGAN + 500), 20),
        (MessageFilter(time="event", gateway="sms", until=BEGAN + 500), 20),
        (MessageFilter(time="event", text="winter-sale", statuses=("failed",)), 3),
    ],
    ids=[
        *("common text, rare status", "common text, rare group", "common text, empty filter"),
        *("rare text, common status", "rare text, common group", "both common", "a time"),
        *("rare status", "common status", "two statuses", "nothing"),
        *("a cell", "an event time", "a gateway's cell", "event time, common text, rare status"),
    ],
)
def test_the_cost_does_not_grow_with_the_messages(
    small: Connection, large: Connection, wanted: MessageFilter, found: int
) -> None:
    """Eight times as many messages take no more than a few steps more to the same result."""
    few, some = _cost(small, wanted)
    many, more = _cost(large, wanted)
    assert (few, many) == (found, found)
    assert more < some * 1.5 + 20


@pytest.mark.parametrize("few", [0, 10_000])
@pytest.mark.parametrize("status", ["delivered", "failed", "read"])
@pytest.mark.parametrize("provider", [None, "smsmanager", "whapi"])
def test_both_sides_find_the_same(
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    few: int,
    status: str,
    provider: str | None,
) -> None:
    """Whichever is read first, page after page."""
    both = MessageFilter(text="simulated", statuses=(status,), provider=provider)
    alone = MessageFilter(text="simulated")
    with database.reading() as connection:
        monkeypatch.setattr(messages, "_FEW", few)
        found, cursor = [], None
        while True:
            page = messages.search(connection, both, cursor=cursor, limit=3)
            found += page.items
            if (cursor := page.next) is None:
                break
        every = messages.search(connection, alone, limit=1000).items
    wanted = [one for one in every if one.status == status and provider in (None, one.provider)]
    assert found == wanted
