"""Messages: the search, and the values that its filters may take."""

from collections.abc import Iterable, Sequence

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Row,
    Select,
    Table,
    and_,
    bindparam,
    func,
    select,
    tuple_,
)

from console.read_model.message_fields import digits_of, leading, terms_of_text
from console.read_model.queries.paging import MOST, Position, page_of, position_of
from console.read_model.results import Choices, MessageFilter, MessageLine, Page, Why
from console.read_model.tables import INBOUND, MESSAGE_GROUPS, MESSAGES, TERMS, message_id_of
from schemas.codec import decode_state
from schemas.records import Fact, MessageState, Reason

_SENDERS = 1000  # messages that one number answered or sent, the newest ones

# Messages with a term that are read one by one; it is not known which of them pass the filters.
_FEW = 10_000

_Found = Row[tuple[int, bytes, str, bytes]]

_LINE = (MESSAGES.c.first_seen_at, MESSAGES.c.id, MESSAGES.c.country, MESSAGES.c.state)


def search(
    connection: Connection, wanted: MessageFilter, *, cursor: str | None = None, limit: int = 50
) -> Page[MessageLine]:
    """Return the newest messages that match; raises `BadCursorError`."""
    limit = max(1, min(limit, MOST))
    after = position_of(cursor)
    has_text = bool(wanted.text and wanted.text.strip())
    rows = (_of_text if has_text else _of_filters)(connection, wanted, after, limit + 1)
    return page_of(
        rows, limit, _position, lambda row: line_of(decode_state(row.state), row.country)
    )


def choices(connection: Connection) -> Choices:
    """Return the values that occur in the read model."""
    columns = MESSAGE_GROUPS.c
    found = [
        [value for (value,) in connection.execute(select(one).distinct().order_by(one)) if value]
        for one in (columns.status, columns.provider, columns.gateway, columns.country)
    ]
    return Choices(*found)


def line_of(state: MessageState, country: str) -> MessageLine:
    """Return the line of a message in a list."""
    lead = leading(state)
    return MessageLine(
        key=state.message_key,
        provider=state.provider,
        account=state.account,
        message_id=state.message_id,
        channel=lead.attempt.channel if lead else None,
        gateway=lead.gateway if lead else None,
        direction=state.direction,
        recipient=state.recipient,
        country=country or None,
        status=state.status,
        reason=_reason_of(lead.attempt.facts, state.status) if lead else None,
        first_seen_at=state.first_seen_at,
        updated_at=state.updated_at,
        stalled_since=state.stalled_since,
        contradicted=bool(state.contradictions),
        attempts=len(state.attempts),
        replies=sum(key != state.message_key for key in state.inbound),
        viewers=max(state.audience.values(), default=0),
    )


def why(reason: Reason | None) -> Why | None:
    return Why(reason.code, reason.text) if reason else None


def _reason_of(facts: dict[str, Fact], status: str | None) -> Why | None:
    return next((why(fact.reason) for fact in facts.values() if fact.status == status), None)


def _position(row: _Found) -> Position:
    return Position(row.first_seen_at, bytes(row.id))


def _filters(wanted: MessageFilter) -> bool:
    """Return whether messages have to match more than a time."""
    named = any(one is not None for one in (wanted.provider, wanted.gateway, wanted.country))
    return bool(wanted.statuses or named or wanted.stalled or wanted.contradicted)


def _of_filters(
    connection: Connection,
    wanted: MessageFilter,
    after: Position | None,
    count: int,
    term: int | None = None,
) -> Sequence[_Found]:
    """Return the newest messages that pass the filters and, if it is given, have the term."""
    bounds = [*_bounds(MESSAGES, wanted, after), *([] if term is None else [_has(term)])]
    if _filters(wanted):
        return _of_groups(connection, wanted, after, bounds, count)
    return connection.execute(_newest(MESSAGES, bounds).limit(count)).all()


def _of_groups(
    connection: Connection,
    wanted: MessageFilter,
    after: Position | None,
    bounds: Sequence[ColumnElement[bool]],
    count: int,
) -> Sequence[_Found]:
    """Return the newest messages of the groups that match, each read from the newest on.

    Groups are read in the order of their newest messages, until those of the next group are older
    than all that are found.
    """
    of_group = MESSAGES.c.group_id == bindparam("group")
    young = MESSAGES.c.first_seen_at >= bindparam("oldest")
    by_time = MESSAGES.c.first_seen_at.desc(), MESSAGES.c.id.desc()
    # The index of groups has both columns; the rows themselves are read for the page alone.
    places = select(MESSAGES.c.first_seen_at, MESSAGES.c.id).where(of_group, young, *bounds)
    query = places.order_by(*by_time).limit(count)
    newest: list[Position] = []
    oldest = 0
    for group, newest_at in _groups(connection, wanted, after):
        if newest_at < oldest:
            break
        found = connection.execute(query, {"group": group, "oldest": oldest})
        newest = sorted([*newest, *(Position(*row) for row in found)], reverse=True)[:count]
        if len(newest) == count:
            oldest = newest[-1].at
    ids = [one.id for one in newest]
    return connection.execute(_newest(MESSAGES, [MESSAGES.c.id.in_(ids)])).all()


def _groups(
    connection: Connection, wanted: MessageFilter, after: Position | None
) -> list[tuple[int, int]]:
    """Return the groups that match, each with the time of its newest message, the newest first."""
    same = MESSAGES.c.group_id == MESSAGE_GROUPS.c.id
    bounds = _bounds(MESSAGES, wanted, after)
    by_time = MESSAGES.c.first_seen_at.desc(), MESSAGES.c.id.desc()
    times = select(MESSAGES.c.first_seen_at).where(same, *bounds).order_by(*by_time)
    newest_at = times.limit(1).correlate(MESSAGE_GROUPS).scalar_subquery()
    query = select(MESSAGE_GROUPS.c.id, newest_at.label("at"))
    rows = connection.execute(query.where(*_conditions(MESSAGE_GROUPS, wanted)))
    found = [(row.id, row.at) for row in rows if row.at is not None]
    return sorted(found, key=lambda one: -one[1])


def _of_text(
    connection: Connection, wanted: MessageFilter, after: Position | None, count: int
) -> list[_Found]:
    """Return the newest messages that a text finds."""
    text = (wanted.text or "").strip()
    others = [message_id_of(text), *_of_sender(connection, digits_of(text) or text)]
    conditions = [MESSAGES.c.id.in_(others), *_conditions(MESSAGES, wanted)]
    query = _newest(MESSAGES, [*conditions, *_bounds(MESSAGES, wanted, after)])
    found = {row.id: row for row in connection.execute(query.limit(count))}
    for term in terms_of_text(text):
        found |= {row.id: row for row in _of_term(connection, wanted, after, count, term)}
    return sorted(found.values(), key=_position, reverse=True)


def _of_term(
    connection: Connection, wanted: MessageFilter, after: Position | None, count: int, term: int
) -> Sequence[_Found]:
    """Return the newest messages that have a term, starting from the rarer of it and the filters.

    Both are read from the newest on until enough match: those that have the term, or those that
    pass the filters.
    """
    if _is_common(connection, wanted, after, term):
        return _of_filters(connection, wanted, after, count, term)
    source = TERMS.join(MESSAGES, MESSAGES.c.id == TERMS.c.message)
    conditions = [*_bounds(TERMS, wanted, after), *_conditions(MESSAGES, wanted)]
    query = _newest(source, [TERMS.c.term == term, *conditions], TERMS)
    return connection.execute(query.limit(count)).all()


def _is_common(
    connection: Connection, wanted: MessageFilter, after: Position | None, term: int
) -> bool:
    """Return whether more messages have a term than pass the filters, or too many to read all."""
    if not _filters(wanted):
        return False
    total = func.coalesce(func.sum(MESSAGE_GROUPS.c.messages), 0)
    passing = connection.execute(select(total).where(*_conditions(MESSAGE_GROUPS, wanted)))
    most = min(int(passing.scalar_one()), _FEW)
    has = [TERMS.c.term == term, *_bounds(TERMS, wanted, after)]
    some = select(TERMS.c.message).where(*has).limit(most + 1).subquery()
    return connection.execute(select(func.count()).select_from(some)).scalar_one() > most


def _has(term: int) -> ColumnElement[bool]:
    """Return whether a message has a term; a scalar subquery, which no planner begins with."""
    same = (TERMS.c.first_seen_at == MESSAGES.c.first_seen_at, TERMS.c.message == MESSAGES.c.id)
    found = select(TERMS.c.term).where(TERMS.c.term == term, *same).correlate(MESSAGES)
    return found.scalar_subquery().is_not(None)


def _newest(
    source: FromClause, conditions: Iterable[ColumnElement[bool]], sorted_by: FromClause = MESSAGES
) -> Select[tuple[int, bytes, str, bytes]]:
    at, id_ = _order(sorted_by)
    query = select(*_LINE).select_from(source).where(and_(True, *conditions))  # noqa: FBT003
    return query.order_by(at.desc(), id_.desc())


def _order(source: FromClause) -> tuple[ColumnElement[int], ColumnElement[bytes]]:
    return source.c.first_seen_at, source.c.message if source is TERMS else source.c.id


def _bounds(
    source: FromClause, wanted: MessageFilter, after: Position | None
) -> Iterable[ColumnElement[bool]]:
    at, id_ = _order(source)
    if wanted.since is not None:
        yield at >= wanted.since
    if wanted.until is not None:
        yield at < wanted.until
    if after is not None:
        yield tuple_(at, id_) < tuple_(after.at, after.id)


def _conditions(source: Table, wanted: MessageFilter) -> Iterable[ColumnElement[bool]]:
    """Yield the conditions of the filters on `messages`, or on `message_groups`."""
    columns = source.c
    if wanted.statuses:
        yield columns.status.in_(list(wanted.statuses))
    for name in ("provider", "gateway", "country"):
        value = getattr(wanted, name)
        if value is not None:
            yield columns[name] == value
    of_groups = source is MESSAGE_GROUPS
    if wanted.stalled:
        yield columns.stalled == 1 if of_groups else columns.stalled_since.is_not(None)
    if wanted.contradicted:
        yield columns.contradicted == 1 if of_groups else columns.contradictions.is_not(None)


def _of_sender(connection: Connection, sender: str) -> list[bytes]:
    """Return the messages that a number sent, or replied to."""
    message = func.coalesce(INBOUND.c.answers, INBOUND.c.id)
    query = select(message).where(INBOUND.c.sender == sender)
    newest = query.order_by(INBOUND.c.received_at.desc()).limit(_SENDERS)
    return [bytes(found) for (found,) in connection.execute(newest)]
