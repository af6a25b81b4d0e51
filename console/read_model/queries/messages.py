"""Messages: the search, and the values that its filters may take."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Row,
    Select,
    Table,
    and_,
    bindparam,
    exists,
    func,
    or_,
    select,
    tuple_,
)

from console.read_model.message_fields import digits_of, leading, terms_of_text
from console.read_model.queries.paging import MOST, Position, page_of, position_of
from console.read_model.results import Choices, MessageFilter, MessageLine, Page, Why
from console.read_model.tables import (
    ATTEMPTS,
    INBOUND,
    MESSAGE_GROUPS,
    MESSAGES,
    TERMS,
    message_id_of,
)
from schemas.codec import decode_state
from schemas.records import Fact, MessageState, Reason

_SENDERS = 1000  # messages that one number answered or sent, the newest ones

# Messages with a term that are read one by one; it is not known which of them pass the filters.
_FEW = 10_000

_Found = Row[tuple[bytes, str, bytes, int | None, int]]
_LINE = (MESSAGES.c.id, MESSAGES.c.country, MESSAGES.c.state, MESSAGES.c.began_at)


class _Order(NamedTuple):
    """The time and the identity by which messages are sorted, the newest first."""

    at: ColumnElement[Any]
    id: ColumnElement[bytes]

    @property
    def newest_first(self) -> tuple[ColumnElement[Any], ColumnElement[bytes]]:
        return self.at.desc(), self.id.desc()

    def bounds(
        self, wanted: MessageFilter, after: Position | None
    ) -> Iterator[ColumnElement[bool]]:
        """Yield the conditions that the period and the page put on a message."""
        if wanted.time == "event":
            yield self.at.is_not(None)
        if wanted.since is not None:
            yield self.at >= wanted.since
        if wanted.until is not None:
            yield self.at < wanted.until
        if after is not None:
            yield tuple_(self.at, self.id) < tuple_(after.at, after.id)


_BY_RECEIPT = _Order(MESSAGES.c.first_seen_at, MESSAGES.c.id)
_BY_BEGIN = _Order(MESSAGES.c.began_at, MESSAGES.c.id)
_BY_ATTEMPT = _Order(ATTEMPTS.c.began_at, ATTEMPTS.c.message)
_BY_TERM = _Order(TERMS.c.first_seen_at, TERMS.c.message)


def search(
    connection: Connection, wanted: MessageFilter, *, cursor: str | None = None, limit: int = 50
) -> Page[MessageLine]:
    """Return the newest messages that match; raises `BadCursorError`.

    By event time, a gateway means each message with an attempt by it, and its time is that of this
    attempt: a cell of `quality` counts those.
    """
    limit = max(1, min(limit, MOST))
    after = position_of(cursor)
    has_text = bool(wanted.text and wanted.text.strip())
    rows = (_of_text if has_text else _of_filters)(connection, wanted, after, limit + 1)
    by_attempt = _counts_attempts(wanted)

    def line(row: _Found) -> MessageLine:
        began = row.at if by_attempt else row.began_at
        return line_of(decode_state(row.state), row.country, began)

    return page_of(rows, limit, _position, line)


def choices(connection: Connection) -> Choices:
    """Return the values that occur in the read model."""
    columns = MESSAGE_GROUPS.c
    found = [
        [value for (value,) in connection.execute(select(one).distinct().order_by(one)) if value]
        for one in (columns.status, columns.provider, columns.gateway, columns.country)
    ]
    return Choices(*found)


def line_of(state: MessageState, country: str, began_at: int | None) -> MessageLine:
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
        began_at=began_at,
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
    return Position(row.at, bytes(row.id))


def _filters(wanted: MessageFilter) -> bool:
    """Return whether messages have to match more than a time of receipt."""
    named = any(one is not None for one in (wanted.provider, wanted.gateway, wanted.country))
    flags = wanted.stalled or wanted.contradicted
    return bool(wanted.statuses or named or flags or wanted.time == "event")


def _of_filters(
    connection: Connection,
    wanted: MessageFilter,
    after: Position | None,
    count: int,
    term: int | None = None,
) -> Sequence[_Found]:
    """Return the newest messages that pass the filters and, if it is given, have the term."""
    has = [] if term is None else [_has(term)]
    if not _filters(wanted):
        query = _newest(MESSAGES, [*_BY_RECEIPT.bounds(wanted, after), *has], _BY_RECEIPT)
        return connection.execute(query.limit(count)).all()
    if not _counts_attempts(wanted):
        return _of_groups(connection, wanted, after, has, count)
    alone = _of_groups(connection, wanted, after, [*has, ~_has_several()], count)
    others = _of_attempts(connection, wanted, after, has, count)
    return sorted([*alone, *others], key=_position, reverse=True)[:count]


def _counts_attempts(wanted: MessageFilter) -> bool:
    """Return whether the attempts by a gateway are wanted, whatever gave the message its status."""
    return wanted.time == "event" and wanted.gateway is not None


def _of_groups(
    connection: Connection,
    wanted: MessageFilter,
    after: Position | None,
    conditions: Sequence[ColumnElement[bool]],
    count: int,
) -> Sequence[_Found]:
    """Return the newest messages of the groups that match, each read from the newest on.

    Groups are read in the order of their newest messages, until those of the next group are older
    than all that are found.
    """
    order = _BY_BEGIN if wanted.time == "event" else _BY_RECEIPT
    of_group = MESSAGES.c.group_id == bindparam("group")
    young = order.at >= bindparam("oldest")
    # The index of groups has both columns; the rows themselves are read for the page alone.
    places = select(order.at, order.id).where(of_group, young, *order.bounds(wanted, after))
    query = places.where(*conditions).order_by(*order.newest_first).limit(count)
    newest: list[Position] = []
    oldest = 0
    for group, newest_at in _groups(connection, wanted, after, order):
        if newest_at < oldest:
            break
        found = connection.execute(query, {"group": group, "oldest": oldest})
        newest = sorted([*newest, *(Position(*row) for row in found)], reverse=True)[:count]
        if len(newest) == count:
            oldest = newest[-1].at
    ids = [one.id for one in newest]
    return connection.execute(_newest(MESSAGES, [MESSAGES.c.id.in_(ids)], order)).all()


def _groups(
    connection: Connection, wanted: MessageFilter, after: Position | None, order: _Order
) -> list[tuple[int, int]]:
    """Return the groups that match, each with the time of its newest message, the newest first."""
    same = MESSAGES.c.group_id == MESSAGE_GROUPS.c.id
    times = select(order.at).where(same, *order.bounds(wanted, after))
    newest = times.order_by(*order.newest_first).limit(1)
    newest_at = newest.correlate(MESSAGE_GROUPS).scalar_subquery()
    query = select(MESSAGE_GROUPS.c.id, newest_at.label("at"))
    rows = connection.execute(query.where(*_conditions(MESSAGE_GROUPS, wanted)))
    found = [(row.id, row.at) for row in rows if row.at is not None]
    return sorted(found, key=lambda one: -one[1])


def _of_attempts(
    connection: Connection,
    wanted: MessageFilter,
    after: Position | None,
    conditions: Sequence[ColumnElement[bool]],
    count: int,
) -> Sequence[_Found]:
    """Return the newest messages with several attempts, of which one is by the gateway."""
    source = ATTEMPTS.join(MESSAGES, MESSAGES.c.id == ATTEMPTS.c.message)
    of_message = _conditions(MESSAGES, replace(wanted, gateway=None))
    mine = [ATTEMPTS.c.gateway == wanted.gateway, *_BY_ATTEMPT.bounds(wanted, after)]
    query = _newest(source, [*mine, *of_message, *conditions], _BY_ATTEMPT)
    return connection.execute(query.limit(count)).all()


def _has_several() -> ColumnElement[bool]:
    """Return whether a message has several attempts."""
    return exists().where(ATTEMPTS.c.message == MESSAGES.c.id).correlate(MESSAGES)


def _of_text(
    connection: Connection, wanted: MessageFilter, after: Position | None, count: int
) -> list[_Found]:
    """Return the newest messages that a text finds."""
    text = (wanted.text or "").strip()
    others = [message_id_of(text), *_of_sender(connection, digits_of(text) or text)]
    order = _order_of_text(wanted)
    conditions = [MESSAGES.c.id.in_(others), *_conditions(MESSAGES, wanted)]
    query = _newest(MESSAGES, [*conditions, *order.bounds(wanted, after)], order)
    found = {row.id: row for row in connection.execute(query.limit(count))}
    for term in terms_of_text(text):
        found |= {row.id: row for row in _of_term(connection, wanted, after, count, term)}
    return sorted(found.values(), key=_position, reverse=True)


def _order_of_text(wanted: MessageFilter) -> _Order:
    """Return the order of messages that are looked up one by one."""
    if wanted.time == "seen":
        return _BY_RECEIPT
    if wanted.gateway is None:
        return _BY_BEGIN
    mine = (ATTEMPTS.c.message == MESSAGES.c.id, ATTEMPTS.c.gateway == wanted.gateway)
    began = select(ATTEMPTS.c.began_at).where(*mine).correlate(MESSAGES).scalar_subquery()
    return _Order(func.coalesce(began, MESSAGES.c.began_at), MESSAGES.c.id)


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
    order = _BY_TERM if wanted.time == "seen" else _order_of_text(wanted)
    conditions = [*order.bounds(wanted, after), *_conditions(MESSAGES, wanted)]
    query = _newest(source, [TERMS.c.term == term, *conditions], order)
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
    has = [TERMS.c.term == term]
    if wanted.time == "seen":
        has += _BY_TERM.bounds(wanted, after)
    some = select(TERMS.c.message).where(*has).limit(most + 1).subquery()
    return connection.execute(select(func.count()).select_from(some)).scalar_one() > most


def _has(term: int) -> ColumnElement[bool]:
    """Return whether a message has a term; a scalar subquery, which no planner begins with."""
    same = (TERMS.c.first_seen_at == MESSAGES.c.first_seen_at, TERMS.c.message == MESSAGES.c.id)
    found = select(TERMS.c.term).where(TERMS.c.term == term, *same).correlate(MESSAGES)
    return found.scalar_subquery().is_not(None)


def _newest(
    source: FromClause, conditions: Iterable[ColumnElement[bool]], order: _Order
) -> Select[tuple[bytes, str, bytes, int | None, int]]:
    query = select(*_LINE, order.at.label("at")).select_from(source)
    return query.where(and_(True, *conditions)).order_by(*order.newest_first)  # noqa: FBT003


def _conditions(source: Table, wanted: MessageFilter) -> Iterable[ColumnElement[bool]]:
    """Yield the conditions of the filters on `messages`, or on `message_groups`."""
    columns = source.c
    if wanted.statuses:
        yield columns.status.in_(list(wanted.statuses))
    of_groups = source is MESSAGE_GROUPS
    for name in ("provider", "gateway", "country"):
        value = getattr(wanted, name)
        if value is not None:
            tried = name == "gateway" and _counts_attempts(wanted) and not of_groups
            yield _was_tried(value) if tried else columns[name] == value
    if wanted.stalled:
        yield columns.stalled == 1 if of_groups else columns.stalled_since.is_not(None)
    if wanted.contradicted:
        yield columns.contradicted == 1 if of_groups else columns.contradictions.is_not(None)


def _was_tried(gateway: str) -> ColumnElement[bool]:
    """Return whether a message has an attempt by a gateway."""
    several = (ATTEMPTS.c.message == MESSAGES.c.id, ATTEMPTS.c.gateway == gateway)
    return or_(MESSAGES.c.gateway == gateway, exists().where(*several).correlate(MESSAGES))


def _of_sender(connection: Connection, sender: str) -> list[bytes]:
    """Return the messages that a number sent, or replied to."""
    message = func.coalesce(INBOUND.c.answers, INBOUND.c.id)
    query = select(message).where(INBOUND.c.sender == sender)
    newest = query.order_by(INBOUND.c.received_at.desc()).limit(_SENDERS)
    return [bytes(found) for (found,) in connection.execute(newest)]
