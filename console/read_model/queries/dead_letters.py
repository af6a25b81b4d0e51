"""Dead letters: by cause with an example, and one by one."""

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, case, func, select, tuple_

from console.read_model.queries.paging import MOST, Position, page_of, position_of
from console.read_model.results import Letter, LetterFilter, LetterGroup, Page, RecordPlace
from console.read_model.tables import DEAD_LETTERS

_COLUMNS = DEAD_LETTERS.c


def groups(connection: Connection, wanted: LetterFilter) -> list[LetterGroup]:
    """Return the dead letters by provider, code and cause, those with the most open ones first.

    The example is the newest open one, else the newest.
    """
    by = (_COLUMNS.provider, _COLUMNS.code, _COLUMNS.cause)
    is_open = func.sum(case((_COLUMNS.resolved == "", 1), else_=0)).label("open")
    times = (
        func.min(_COLUMNS.written_at).label("first"),
        func.max(_COLUMNS.written_at).label("last"),
    )
    query = select(*by, is_open, func.count().label("every"), *times)
    rows = connection.execute(query.where(*_conditions(wanted)).group_by(*by)).all()
    found = [
        LetterGroup(
            provider=row.provider,
            code=row.code,
            cause=row.cause,
            open=row.open,
            resolved=row.every - row.open,
            first_at=row.first,
            last_at=row.last,
            example=_example(connection, wanted, row),
        )
        for row in rows
    ]
    return sorted(found, key=lambda one: (-one.open, -one.resolved, one.provider, one.cause))


def letters(
    connection: Connection, wanted: LetterFilter, *, cursor: str | None = None, limit: int = 50
) -> Page[Letter]:
    """Return the dead letters, the newest first; raises `BadCursorError`."""
    limit = max(1, min(limit, MOST))
    after = position_of(cursor)
    query = select(DEAD_LETTERS).where(*_conditions(wanted))
    if after is not None:
        query = query.where(tuple_(_COLUMNS.written_at, _COLUMNS.id) < tuple_(after.at, after.id))
    newest = query.order_by(_COLUMNS.written_at.desc(), _COLUMNS.id.desc()).limit(limit + 1)
    return page_of(connection.execute(newest).all(), limit, _position, _letter)


def find(connection: Connection, id_: str) -> Letter | None:
    """Return the dead letter of an id, as `Letter.id` has it; None if there is none."""
    try:
        key = bytes.fromhex(id_)
    except ValueError:
        return None
    row = connection.execute(select(DEAD_LETTERS).where(_COLUMNS.id == key)).first()
    return None if row is None else _letter(row)


def _example(connection: Connection, wanted: LetterFilter, group: Row[Any]) -> Letter:
    same = (getattr(group, name) == _COLUMNS[name] for name in ("provider", "code", "cause"))
    query = select(DEAD_LETTERS).where(*same, *_conditions(wanted))
    newest = query.order_by(_COLUMNS.resolved != "", _COLUMNS.written_at.desc(), _COLUMNS.id)
    return _letter(connection.execute(newest.limit(1)).one())


def _conditions(wanted: LetterFilter) -> Iterable[ColumnElement[bool]]:
    for name in ("provider", "code", "cause"):
        value = getattr(wanted, name)
        if value is not None:
            yield _COLUMNS[name] == value
    if wanted.resolved is not None:
        yield (_COLUMNS.resolved != "") if wanted.resolved else (_COLUMNS.resolved == "")
    if wanted.since is not None:
        yield _COLUMNS.written_at >= wanted.since
    if wanted.until is not None:
        yield _COLUMNS.written_at < wanted.until


def _position(row: Row[Any]) -> Position:
    return Position(row.written_at, bytes(row.id))


def _letter(row: Row[Any]) -> Letter:
    return Letter(
        id=bytes(row.id).hex(),
        provider=row.provider,
        code=row.code,
        cause=row.cause,
        reason=row.reason,
        pointer=row.pointer,
        at=RecordPlace(row.topic, row.partition, row.offset),
        raw=RecordPlace(row.raw_topic, row.raw_partition, row.raw_offset),
        written_at=row.written_at,
        resolved=row.resolved or None,
        failed_in=json.loads(row.failed_in),
    )
