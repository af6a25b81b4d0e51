"""Drops what is past the retention of the read model, in transactions of bounded size."""

from sqlalchemy import Connection, Table, delete, select

from console.read_model.changes import Changes
from console.read_model.database import Database
from console.read_model.tables import (
    DEAD_LETTERS,
    EVENTS,
    FACT_COUNTS,
    INBOUND,
    MESSAGES,
    QUALITY,
    VERDICTS,
)
from console.read_model.write import apply

_AT_ONCE = 5000


def sweep(database: Database, before: int) -> int:
    """Drop messages first seen before a time (Unix ms), and what belongs to them; return how many.

    Verdicts and events are dropped in the order of their offsets, up to the first younger one.
    """
    dropped = 0
    while ids := _old_messages(database, before):
        with database.writing() as connection:
            apply(database, connection, Changes(messages=dict.fromkeys(ids)))
        dropped += len(ids)
    for table, at in ((VERDICTS, "received_at"), (EVENTS, "at")):
        while _drop_oldest(database, table, at, before):
            pass
    with database.writing() as connection:
        connection.execute(delete(INBOUND).where(INBOUND.c.received_at < before))
        connection.execute(delete(DEAD_LETTERS).where(DEAD_LETTERS.c.written_at < before))
        connection.execute(delete(QUALITY).where(QUALITY.c.at < before))
        connection.execute(delete(FACT_COUNTS).where(FACT_COUNTS.c.minute < before))
    return dropped


def _old_messages(database: Database, before: int) -> list[bytes]:
    query = select(MESSAGES.c.id).where(MESSAGES.c.first_seen_at < before).limit(_AT_ONCE)
    with database.reading() as connection:
        return [bytes(id_) for (id_,) in connection.execute(query)]


def _drop_oldest(database: Database, table: Table, at: str, before: int) -> bool:
    """Drop the first rows of each partition while they are old; whether there may be more."""
    more = False
    with database.writing() as connection:
        for (number,) in connection.execute(select(table.c.partition).distinct()).all():
            more |= _drop_from(connection, table, number, at, before)
    return more


def _drop_from(connection: Connection, table: Table, number: int, at: str, before: int) -> bool:
    mine = table.c.partition == number
    first = select(table.c.offset, table.c[at].label("at")).where(mine).order_by(table.c.offset)
    rows = connection.execute(first.limit(_AT_ONCE)).all()
    young = next((row.offset for row in rows if row.at >= before), None)
    until = rows[-1].offset + 1 if young is None and rows else young
    if until is None:
        return False
    connection.execute(delete(table).where(mine, table.c.offset < until))
    return young is None and len(rows) == _AT_ONCE
