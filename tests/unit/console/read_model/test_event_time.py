"""By event time, a search finds the messages that a cell of delivery quality counts."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import pytest

from console.read_model.database import Database
from console.read_model.message_fields import began_at
from console.read_model.queries import messages
from console.read_model.results import MessageFilter
from processors.quality.contributions import NOTHING, contribution
from schemas.quality import QualityChange, start_of
from tests.unit.console.read_model.topic_records import states

HOUR_MS = 3_600_000


class Cell(NamedTuple):
    """A cell of an hour: a dimension and its value."""

    by: str
    name: str
    hour: int


def _counted() -> Iterator[tuple[str, QualityChange]]:
    """Yield each attempt that the cells count, with the key of its message."""
    for key, state in states().items():
        for one in contribution(state, NOTHING).attempts:
            yield key, one


def _cells(by: str) -> Mapping[Cell, set[str]]:
    """Return the messages of each cell: by gateway those with an attempt, else with the first."""
    found = defaultdict(set)
    for key, one in _counted():
        name = getattr(one, by)
        if name and (by == "gateway" or one.messages):
            found[Cell(by, name, start_of("hour", one.start_at))].add(key)
    return found


def _wanted(cell: Cell, text: str | None = None) -> MessageFilter:
    hour = {"since": cell.hour, "until": cell.hour + HOUR_MS}
    return MessageFilter(text=text, time="event", **hour, **{cell.by: cell.name})  # type: ignore[arg-type]


def _found(database: Database, wanted: MessageFilter) -> list[str]:
    """Return the keys of all pages."""
    found, cursor = [], None
    with database.reading() as connection:
        while True:
            page = messages.search(connection, wanted, cursor=cursor, limit=3)
            found += [one.key for one in page.items]
            if (cursor := page.next) is None:
                return found


@pytest.mark.parametrize("by", ["provider", "gateway", "country"])
def test_the_messages_of_a_cell_are_found_once_each(database: Database, by: str) -> None:
    """The simulated messages fall back, arrive late, and are inbound."""
    cells = _cells(by)
    assert len(cells) > 1
    for cell, keys in cells.items():
        found = _found(database, _wanted(cell))
        assert sorted(found) == sorted(keys), cell


def test_an_attempt_that_did_not_give_the_status_is_found(database: Database) -> None:
    """By the time of receipt a gateway is the one that gave the status; by event time any."""
    several = {key: one for key, one in states().items() if len(one.attempts) > 1}
    assert several
    for key, state in several.items():
        gateways = [
            gateway
            for gateway in state.attempts
            if key in _found(database, MessageFilter(text=key, gateway=gateway))
        ]
        assert len(gateways) == 1
        for gateway in state.attempts:
            assert key in _found(database, MessageFilter(text=key, gateway=gateway, time="event"))


@pytest.mark.parametrize("text", [None, "simulated"])
@pytest.mark.parametrize("gateway", [None, "sms"])
def test_the_time_of_a_line_is_the_one_that_sorts_it(
    database: Database, text: str | None, gateway: str | None
) -> None:
    """Of a gateway it is that of its attempt, which may have been a later one."""
    wanted = MessageFilter(text=text, time="event", gateway=gateway)
    with database.reading() as connection:
        found = messages.search(connection, wanted, limit=1000).items
    times = [one.began_at or 0 for one in found]
    assert times == sorted(times, reverse=True)
    if gateway:
        for one in found:
            assert one.began_at == began_at(states()[one.key].attempts[gateway])


@pytest.mark.parametrize("few", [0, 10_000], ids=["from the filters", "from the text"])
@pytest.mark.parametrize("by", ["provider", "gateway"])
def test_a_text_narrows_a_cell(
    database: Database, monkeypatch: pytest.MonkeyPatch, few: int, by: str
) -> None:
    monkeypatch.setattr(messages, "_FEW", few)
    having = {*_found(database, MessageFilter(text="simulated"))}
    for cell, keys in _cells(by).items():
        found = _found(database, _wanted(cell, "simulated"))
        assert sorted(found) == sorted(keys & having), cell


def test_the_newest_event_is_first(database: Database) -> None:
    with database.reading() as connection:
        page = messages.search(connection, MessageFilter(time="event"), limit=1000)
    times = [one.began_at or 0 for one in page.items]
    assert times == sorted(times, reverse=True)
    assert len(times) == sum(bool(contribution(one, NOTHING).attempts) for one in states().values())
