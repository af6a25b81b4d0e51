"""The tables are a function of the records: batches, topics' order and repeats do not matter."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import case, func, select

from console.read_model.changes import KINDS, Changes, add
from console.read_model.database import Database, sqlite_url
from console.read_model.loading.positions import Log, Start, keep, known, starts
from console.read_model.loading.retention import sweep
from console.read_model.queries import messages
from console.read_model.results import MessageFilter
from console.read_model.tables import (
    ABOUT,
    MESSAGE_COUNTS,
    MESSAGE_GROUPS,
    MESSAGES,
    METADATA,
    TERMS,
    VERDICTS,
)
from console.read_model.write import Move, MovedError, write
from processors.dead_letters.record import marker, read
from schemas.codec import decode_state, encode
from tests.examples import examples
from tests.unit.console.read_model.topic_records import Record, load, records, states

AT = ("bluetick.statuses", 0)


@contextmanager
def opened(url: str = "sqlite://") -> Iterator[Database]:
    database = Database(url)
    database.create()
    try:
        yield database
    finally:
        database.engine.dispose()


def contents(database: Database) -> dict[str, list[Any]]:
    with database.reading() as connection:
        return {
            table.name: sorted(map(tuple, connection.execute(select(table))))
            for table in METADATA.sorted_tables
            if table is not ABOUT
        }


def whole() -> dict[str, list[Any]]:
    with opened() as database:
        load(database, records())
        return contents(database)


def interleaved(seed: int) -> list[tuple[str, Record]]:
    """All records, each topic's in its order, the topics mixed."""
    queues = [[one for one in records() if one[0] == kind] for kind in KINDS]
    random, found = Random(seed), []
    while queues := [queue for queue in queues if queue]:
        queue = random.choice(queues)
        count = random.randint(1, 40)
        found += queue[:count]
        del queue[:count]
    return found


@examples(1 / 3)
@given(seed=st.integers(0, 2**32), batch=st.integers(20, 400))
def test_batches_and_the_order_of_topics_do_not_matter(seed: int, batch: int) -> None:
    with opened() as database:
        load(database, interleaved(seed), batch)
        found = contents(database)
    assert found == whole()


def test_what_changes_after_the_first_load_is_as_if_in_it() -> None:
    """States twice over, with values that come and go: `terms` is made once, and kept later."""
    found = records()
    middle = len(found) // 3
    with opened() as database:
        load(database, found[:middle], 90)
        load(database, found[middle:], 90)
        database.create_indexes()
        again = contents(database)
    assert again == whole()
    assert again["terms"]
    assert again["term_changes"] == []


def test_a_first_load_that_fails_at_its_end_ends_later() -> None:
    """The terms, the indexes and the note of them are one transaction."""
    with opened() as database:
        changes = Changes()
        for kind, record in records():
            add(changes, kind, [record])
        write(database, changes, {}, now=1)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Database, "note", _failing)
            with pytest.raises(OSError, match="disk"):
                database.create_indexes()
        before = contents(database)
        assert before["terms"] == []
        assert before["term_changes"]
        database.create_indexes()
        assert contents(database) == whole()


def _failing(*_: object) -> None:
    raise OSError("the disk is full")


def test_counts_are_those_of_the_rows() -> None:
    with opened() as database:
        load(database, records(), 50)
        with database.reading() as connection:
            hour = (MESSAGES.c.first_seen_at - MESSAGES.c.first_seen_at % 3_600_000).label("hour")
            flags = (
                case((MESSAGES.c[one].is_not(None), 1), else_=0).label(one)
                for one in ("stalled_since", "contradictions")
            )
            names = ("group_id", "provider", "gateway", "country", "status")
            for table, by in (
                (MESSAGE_COUNTS, (hour, MESSAGES.c.provider, MESSAGES.c.status)),
                (MESSAGE_GROUPS, (*(MESSAGES.c[one] for one in names), *flags)),
            ):
                counted = connection.execute(select(*by, func.count()).group_by(*by)).all()
                kept = connection.execute(select(table)).all()
                assert sorted(map(tuple, counted)) == sorted(map(tuple, kept))


def test_a_tombstone_removes_the_message_and_its_terms() -> None:
    states = [one for one in records() if one[0] == "messages"]
    offset = states[-1][1].offset
    gone = [
        ("messages", replace(record, offset=offset + number, value=None))
        for number, (_, record) in enumerate(states, 1)
    ]
    with opened() as database:
        load(database, [*records(), *gone], 70)
        found = contents(database)
    assert (found["messages"], found["terms"], found["viewers"]) == ([], [], [])
    assert (found["message_counts"], found["message_groups"]) == ([], [])
    assert (found["verdicts"], found["events"], found["inbound"]) == ([], [], [])


def test_a_value_that_a_message_no_longer_has_does_not_find_it() -> None:
    kind, record = next(
        one for one in records() if one[0] == "messages" and b'"serial"' in (one[1].value or b"")
    )
    state = decode_state(record.value)
    state.payload = {"order": "A-1"}
    later = replace(record, offset=record.offset + 1, value=encode(state))
    state.payload = {"order": "A-2"}
    last = replace(record, offset=record.offset + 2, value=encode(state))
    with opened() as database:
        for one in (later, last):
            load(database, [(kind, one)])
        with database.reading() as connection:
            old = messages.search(connection, MessageFilter(text="a-1"))
            new = messages.search(connection, MessageFilter(text="a-2"))
    assert (len(old.items), len(new.items)) == (0, 1)


def test_an_older_record_does_not_replace_a_newer_one() -> None:
    with opened() as database:
        load(database, records())
        before = contents(database)["messages"]
        load(database, [one for one in records() if one[0] == "messages"])
        assert contents(database)["messages"] == before


def test_a_batch_that_follows_on_other_offsets_is_refused() -> None:
    """Nothing of it is written."""
    statuses = Changes()
    for kind, record in records():
        if kind == "statuses":
            add(statuses, kind, [record])
    with opened() as database:
        with database.writing() as connection:
            keep(connection, {AT: Start(0)}, {AT: Log(0, 500)}, now=1)
        write(database, statuses, {AT: Move(0, 500, 500)}, now=2)
        before = contents(database)
        with pytest.raises(MovedError):
            write(database, statuses, {AT: Move(0, 500, 500)}, now=3)
        assert contents(database) == before
        with database.reading() as connection:
            assert known(connection) == {AT: 500}


@pytest.mark.parametrize(
    ("offsets", "log", "start"),
    [
        ({}, Log(3, 9), Start(3)),
        ({AT: 5}, Log(3, 9), Start(5)),
        ({AT: 1}, Log(3, 9), Start(3, skipped=2)),
        ({AT: 9}, Log(9, 9), Start(9)),
        ({AT: 10}, Log(3, 9), None),
    ],
    ids=["new", "continues", "overtaken", "at its end", "of another topic"],
)
def test_where_a_partition_continues(offsets: Any, log: Log, start: Start | None) -> None:
    found = starts(offsets, {AT: log})
    assert found == (None if start is None else {AT: start})


def test_retention_drops_the_old_and_keeps_the_young() -> None:
    times = sorted(one.first_seen_at for one in states().values())
    middle = times[len(times) // 2]
    with opened() as database:
        load(database, records())
        sweep(database, middle)
        with database.reading() as connection:
            left = connection.execute(select(MESSAGES.c.first_seen_at)).scalars().all()
            terms = connection.execute(select(TERMS.c.first_seen_at)).scalars().all()
            facts = connection.execute(select(VERDICTS.c.received_at)).scalars().all()
    assert sorted(left) == [one for one in times if one >= middle]
    assert min(terms) >= middle
    assert facts
    assert facts[0] >= middle


def test_a_retry_resolves_a_dead_letter_and_a_failure_opens_it_again() -> None:
    kind, record = next(one for one in records() if one[0] == "dead-letters")
    entry = read(record)
    assert entry
    resolved = replace(record, offset=900, value=None, headers=marker(entry.letter, "r-1"))
    again = replace(record, offset=901)
    with opened() as database:
        states = []
        for one in (record, resolved, again):
            load(database, [(kind, one)])
            [row] = contents(database)["dead_letters"]
            states.append((row[-2], row[8]))
    assert states == [("", record.offset), ("r-1", record.offset), ("", 901)]


def test_records_that_cannot_be_decoded_are_counted() -> None:
    changes = Changes()
    for kind in KINDS:
        add(changes, kind, [Record("t", 0, 0, 0, b"k", b"nonsense")])
    assert changes.unreadable == len(KINDS)


def test_a_schema_of_another_version_is_made_again(tmp_path: Any) -> None:
    url = f"sqlite:///{tmp_path / 'old.sqlite'}"
    with opened(url) as database:
        load(database, records()[:10])
        with database.writing() as connection:
            database.note(connection, "format", "0")
    with opened(url) as database:
        assert contents(database)["messages"] == []


def test_a_large_sort_goes_to_files_beside_the_database(tmp_path: Path) -> None:
    """The terms of millions of messages do not fit into memory; other places may be read-only."""
    directory = tmp_path / "it's here"
    with opened(sqlite_url(directory, "bluetick")) as database, database.reading() as connection:
        found = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("temp_store", "temp_store_directory")
        }
    assert found == {"temp_store": 1, "temp_store_directory": str(directory)}
