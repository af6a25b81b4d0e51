"""Writes changes and the offsets behind them into the database, in one transaction."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

from sqlalchemy import Connection, Table, delete, select, update

from console.read_model.changes import Changes, StateRow
from console.read_model.database import Database
from console.read_model.message_fields import Group, terms_of
from console.read_model.tables import (
    ATTEMPTS,
    DEAD_LETTERS,
    EVENTS,
    FACT_COUNTS,
    INBOUND,
    MESSAGE_COUNTS,
    MESSAGE_GROUPS,
    MESSAGES,
    POSITIONS,
    QUALITY,
    TERM_CHANGES,
    TERMS,
    VERDICTS,
    VIEWERS,
)
from processors.dead_letters.causes import cause_of
from processors.dead_letters.record import Entry, Identity, Kept, Ledger
from schemas.codec import decode_state
from schemas.coordinates import Coordinates, Partition

HOUR_MS = 3_600_000

# Parameters of one query: SQLite and PostgreSQL both take 32 766.
_AT_ONCE = 1000


class MovedError(Exception):
    """Another process has read on from the same offsets: this transaction must not commit."""


class Move(NamedTuple):
    """The next offset of a partition before and after the changes, and the end of its log."""

    before: int
    after: int
    end: int


def write(database: Database, changes: Changes, moves: Mapping[Partition, Move], now: int) -> None:
    """Write all of it, or nothing; raises `MovedError`. `now` is in Unix milliseconds."""
    with database.writing() as connection:
        for (topic, partition), move in moves.items():
            _move(connection, topic, partition, move, now)
        apply(database, connection, changes)


def apply(database: Database, connection: Connection, changes: Changes) -> None:
    """Write the changes, each table in the order of its key."""
    _write_messages(database, connection, changes)
    _replace(database, connection, VIEWERS, changes.viewers)
    _replace(database, connection, QUALITY, changes.quality)
    database.put(connection, VERDICTS, sorted(changes.verdicts))
    database.put(connection, EVENTS, sorted(changes.events))
    counted = [(*key, count) for key, count in sorted(changes.facts.items())]
    database.put(connection, FACT_COUNTS, counted, add="facts")
    _write_inbound(database, connection, changes.inbound)
    _write_letters(database, connection, changes.letters)


def _move(connection: Connection, topic: str, partition: int, move: Move, now: int) -> None:
    columns = POSITIONS.c
    at = (columns.topic == topic) & (columns.partition == partition)
    moved = update(POSITIONS).where(at, columns.next_offset == move.before)
    values = {"next_offset": move.after, "end_offset": move.end, "looked_at": now}
    if connection.execute(moved.values(values)).rowcount != 1:
        raise MovedError


def _replace(
    database: Database,
    connection: Connection,
    table: Table,
    rows: Mapping[Any, tuple[Any, ...] | None],
) -> None:
    database.remove(connection, table, [(key,) for key, row in rows.items() if row is None])
    database.put(connection, table, sorted(row for row in rows.values() if row is not None))


class _Known(NamedTuple):
    """What a row of `messages` counts for: its columns before the state."""

    id: bytes
    offset: int
    first_seen_at: int
    provider: str
    gateway: str
    country: str
    status: str
    stalled_since: int | None
    contradictions: int | None
    group_id: int
    terms: int


_KNOWN = tuple(MESSAGES.c[name] for name in _Known._fields)


def _write_messages(database: Database, connection: Connection, changes: Changes) -> None:
    known = {one.id: one for one in _known(database, connection, changes.messages)}
    new = [row for row in changes.messages.values() if row and _is_newer(row, known.get(row.id))]
    gone = [known[id_] for id_, row in changes.messages.items() if row is None and id_ in known]
    _write_terms(database, connection, _Difference(known, new, gone), changes.found)
    former = [*(known[row.id] for row in new if row.id in known), *gone]
    _count(database, connection, MESSAGE_COUNTS, _difference(_hour_of, new, former))
    _count(database, connection, MESSAGE_GROUPS, _difference(_group_of, new, former))
    database.remove(connection, MESSAGES, [(one.id,) for one in gone])
    _remove_parts(connection, [one.id for one in gone])
    database.put(connection, MESSAGES, sorted(new))
    several = [one for row in new for one in changes.attempts.get(row.id, ())]
    database.put(connection, ATTEMPTS, sorted(several))


def _remove_parts(connection: Connection, messages: Sequence[bytes]) -> None:
    """Delete what belongs to messages that are gone: it names people."""
    for some in _chunks(messages):
        for table in (ATTEMPTS, VERDICTS, EVENTS, VIEWERS):
            connection.execute(delete(table).where(table.c.message.in_(some)))
        own = INBOUND.c.id.in_(some) | INBOUND.c.answers.in_(some)
        connection.execute(delete(INBOUND).where(own))


def _known(database: Database, connection: Connection, ids: Iterable[bytes]) -> Iterator[_Known]:
    for some in _chunks(sorted(ids)):
        for row in database.find(connection, _KNOWN, some):
            yield _Known(bytes(row[0]), *row[1:])


def _chunks(ids: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    return (ids[start : start + _AT_ONCE] for start in range(0, len(ids), _AT_ONCE))


def _is_newer(row: StateRow, known: _Known | None) -> bool:
    return known is None or known.offset < row.offset


def _difference(
    counted_as: Callable[[StateRow | _Known], tuple[Any, ...]],
    new: Iterable[StateRow],
    former: Iterable[_Known],
) -> Counter[tuple[Any, ...]]:
    counts = Counter(map(counted_as, new))
    counts.subtract(map(counted_as, former))
    return counts


def _count(
    database: Database, connection: Connection, table: Table, counts: Counter[tuple[Any, ...]]
) -> None:
    """Add to the counts of a table, and remove those that are 0 then."""
    changed = [(*row, count) for row, count in sorted(counts.items()) if count]
    database.put(connection, table, changed, add="messages")
    size = len(table.primary_key.columns)
    fewer = [row[:size] for row in changed if row[-1] < 0]
    database.remove(connection, table, fewer, at_zero="messages")


def _hour_of(row: StateRow | _Known) -> tuple[Any, ...]:
    return row.first_seen_at - row.first_seen_at % HOUR_MS, row.provider, row.status


def _group_of(row: StateRow | _Known) -> tuple[Any, ...]:
    stalled, contradicted = row.stalled_since is not None, row.contradictions is not None
    group = Group(
        row.provider, row.gateway, row.country, row.status, int(stalled), int(contradicted)
    )
    return row.group_id, *group


class _Difference(NamedTuple):
    """The rows before, the new ones, and those that go."""

    known: Mapping[bytes, _Known]
    new: Sequence[StateRow]
    gone: Sequence[_Known]


def _write_terms(
    database: Database,
    connection: Connection,
    rows: _Difference,
    found: Mapping[bytes, frozenset[int]],
) -> None:
    """Write the terms of new states, and remove those that a message no longer has."""
    known = rows.known
    changed = [row for row in rows.new if row.id not in known or known[row.id].terms != row.terms]
    stale = [row.id for row in changed if row.id in known] + [one.id for one in rows.gone]
    before = list(_present_terms(connection, stale))
    after = [_Terms(row.first_seen_at, row.id, found[row.id]) for row in changed]
    if database.is_indexed(connection):
        old, new = set(_term_rows(before)), set(_term_rows(after))
        database.remove(connection, TERMS, sorted(old - new))
        database.put(connection, TERMS, sorted(new - old))
    else:
        rows_of = [(-1, one) for one in before] + [(1, one) for one in after]
        changes = [(*one[:2], change, _json(one.terms)) for change, one in rows_of]
        database.put(connection, TERM_CHANGES, changes)


class _Terms(NamedTuple):
    """The terms of a message in one of its states."""

    first_seen_at: int
    message: bytes
    terms: frozenset[int]


def _json(terms: Iterable[int]) -> str:
    return f"[{','.join(map(str, terms))}]"


def _term_rows(of_messages: Iterable[_Terms]) -> Iterator[tuple[int, int, bytes]]:
    return ((term, one.first_seen_at, one.message) for one in of_messages for term in one.terms)


def _present_terms(connection: Connection, ids: Sequence[bytes]) -> Iterator[_Terms]:
    """Yield the terms of these messages in `terms`, which follow from their states."""
    for some in _chunks(ids):
        query = select(MESSAGES.c.id, MESSAGES.c.first_seen_at, MESSAGES.c.state)
        for row in connection.execute(query.where(MESSAGES.c.id.in_(some))):
            yield _Terms(row.first_seen_at, bytes(row.id), terms_of(decode_state(row.state)))


def _write_inbound(
    database: Database, connection: Connection, rows: Mapping[bytes, tuple[Any, ...]]
) -> None:
    revisions: dict[bytes, int] = {}
    for some in _chunks(list(rows)):
        query = select(INBOUND.c.id, INBOUND.c.revision).where(INBOUND.c.id.in_(some))
        revisions |= {bytes(id_): revision for id_, revision in connection.execute(query)}
    newer = [row for id_, row in rows.items() if row[1] >= revisions.get(id_, 0)]
    database.put(connection, INBOUND, newer)


def _write_letters(database: Database, connection: Connection, entries: Sequence[Entry]) -> None:
    """Apply dead letters and markers to the ones that are known, by the law of the ledger."""
    ids = {_letter_id(entry.letter) for entry in entries}
    ledger = Ledger()
    for some in _chunks(sorted(ids)):
        for row in connection.execute(select(DEAD_LETTERS).where(DEAD_LETTERS.c.id.in_(some))):
            ledger.keep(_kept(row))
    for entry in entries:
        ledger.add(entry)
    database.put(connection, DEAD_LETTERS, sorted(map(_letter_row, ledger)))


def _letter_id(letter: Identity) -> bytes:
    text = json.dumps([*letter.raw, *letter[1:]]).encode()
    return blake2b(text, digest_size=16).digest()


def _letter_row(kept: Kept) -> tuple[Any, ...]:
    entry = kept.entry
    return (
        _letter_id(entry.letter),
        *cause_of(entry),
        entry.reason,
        entry.letter.pointer,
        *entry.at,
        *entry.letter.raw,
        entry.timestamp,
        kept.resolved or "",
        json.dumps(sorted(kept.failed_in)),
    )


def _kept(row: Any) -> Kept:
    raw = Coordinates(row.raw_topic, row.raw_partition, row.raw_offset)
    entry = Entry(
        at=Coordinates(row.topic, row.partition, row.offset),
        timestamp=row.written_at,
        letter=Identity(raw, row.pointer, row.code, row.partition),
        reason=row.reason,
        resolved=None,
    )
    return Kept(entry, row.resolved or None, set(json.loads(row.failed_in)))
