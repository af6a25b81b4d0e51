"""One message with its timeline: facts and events in order of event time."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
from sqlalchemy import Connection, select

from console.read_model import results
from console.read_model.message_fields import began_at
from console.read_model.queries.messages import line_of, why
from console.read_model.tables import EVENTS, INBOUND, MESSAGES, VERDICTS, VIEWERS, message_id_of
from processors.tracking.lifecycle.facts import when
from schemas import records
from schemas.codec import decode_event, decode_inbound, decode_state, decode_viewer
from schemas.records import (
    Billing,
    Event,
    InboundRecord,
    MessageState,
    RawOrigin,
    Reply,
    ViewerState,
)

# Viewers of a story may be thousands.
MOST_VIEWERS = 1000

_Verdicts = Mapping[tuple[str, str, str], str]


def find(connection: Connection, key: str) -> results.Message | None:
    """Return the message of a key; None if the read model does not hold it."""
    id_ = message_id_of(key)
    columns = (MESSAGES.c.state, MESSAGES.c.country, MESSAGES.c.began_at)
    query = select(*columns).where(MESSAGES.c.id == id_)
    row = connection.execute(query).first()
    if row is None:
        return None
    state = decode_state(row.state)
    viewers = _viewers(connection, id_)
    verdicts = _verdicts(connection, id_)
    facts = [*_own_facts(state, verdicts), *_viewers_facts(viewers, verdicts)]
    return results.Message(
        line=line_of(state, row.country, row.began_at),
        request_id=state.request_id,
        payload=state.payload,
        content=state.content,
        billing=_charges(state.billing),
        receipts=state.receipts,
        attempts=_attempts(state),
        facts=sorted(facts, key=lambda fact: (fact.at, fact.received_at)),
        viewers=[_viewer(one) for one in viewers],
        audience=state.audience,
        replies=_replies(connection, id_, state),
        events=_events(connection, id_),
        contradictions=[
            results.Contradiction(one.gateway, one.failure, one.evidence)
            for one in state.contradictions
        ],
    )


def _viewers(connection: Connection, id_: bytes) -> list[ViewerState]:
    query = select(VIEWERS.c.state).where(VIEWERS.c.message == id_).limit(MOST_VIEWERS)
    found = [decode_viewer(row.state) for row in connection.execute(query)]
    return sorted((one for one in found if one.attempts), key=lambda one: one.viewer)


def _verdicts(connection: Connection, id_: bytes) -> _Verdicts:
    columns = VERDICTS.c
    query = select(columns.gateway, columns.viewer, columns.fact, columns.verdict)
    return {
        (row.gateway, row.viewer, row.fact): row.verdict
        for row in connection.execute(query.where(columns.message == id_))
    }


def _attempts(state: MessageState) -> list[results.Attempt]:
    made = [
        results.Attempt(gateway, one.channel, one.status, began_at(one), _charges(one.billing))
        for gateway, one in state.attempts.items()
    ]
    return sorted(made, key=lambda one: (one.began_at, one.gateway))


def _own_facts(state: MessageState, verdicts: _Verdicts) -> Iterator[results.Fact]:
    for gateway, attempt in state.attempts.items():
        yield from _facts(gateway, None, attempt.facts, verdicts)


def _viewers_facts(viewers: Iterable[ViewerState], verdicts: _Verdicts) -> Iterator[results.Fact]:
    for one in viewers:
        for gateway, ladder in one.attempts.items():
            yield from _facts(gateway, one.viewer, ladder.facts, verdicts)


def _facts(
    gateway: str, viewer: str | None, facts: Mapping[str, records.Fact], verdicts: _Verdicts
) -> Iterator[results.Fact]:
    for name, fact in facts.items():
        yield results.Fact(
            at=when(fact),
            occurred_at=fact.occurred_at,
            received_at=fact.received_at,
            gateway=gateway,
            viewer=viewer,
            status=fact.status,
            provider_status=fact.provider_status,
            verdict=verdicts.get((gateway, viewer or "", name)),
            reason=why(fact.reason),
            raw=_raw(fact.raw),
            replay=fact.replay,
            catch_up=fact.catch_up,
        )


def _viewer(state: ViewerState) -> results.Viewer:
    ladders = state.attempts.values()
    newest = max((fact for one in ladders for fact in one.facts.values()), key=when)
    return results.Viewer(state.viewer, newest.status, when(newest))


def _replies(connection: Connection, id_: bytes, state: MessageState) -> list[results.Reply]:
    texts = {
        record.message_key: record
        for row in connection.execute(
            select(INBOUND.c.record).where(
                (INBOUND.c.answers == id_)
                | INBOUND.c.id.in_([message_id_of(key) for key in state.inbound])
            )
        )
        for record in (decode_inbound(row.record),)
    }
    replies = [
        _reply(key, reply, texts.get(key), own=key == state.message_key)
        for key, reply in state.inbound.items()
    ]
    return sorted(replies, key=lambda one: (one.at, one.key))


def _reply(key: str, reply: Reply, record: InboundRecord | None, *, own: bool) -> results.Reply:
    return results.Reply(
        key=key,
        own=own,
        at=reply.occurred_at or reply.received_at,
        received_at=reply.received_at,
        sender=record.sender if record else None,
        content=record.content if record else None,
        revision=record.revision if record else 0,
        raw=_raw(reply.raw),
    )


def _events(connection: Connection, id_: bytes) -> list[results.MessageEvent]:
    query = select(EVENTS.c.at, EVENTS.c.event, EVENTS.c.record)
    rows = connection.execute(query.where(EVENTS.c.message == id_).order_by(EVENTS.c.at))
    return [_event(row.event, row.at, decode_event(row.record)) for row in rows]


# What every event has; the rest of its fields are its own.
_COMMON = {*records.Late.__struct_fields__} - {"current"}


def _event(name: str, at: int, event: Event) -> results.MessageEvent:
    fields: dict[str, Any] = msgspec.to_builtins(event)
    own = {name: value for name, value in fields.items() if name not in {*_COMMON, "event"}}
    return results.MessageEvent(name, at, event.gateway, own, _raw(event.raw))


def _raw(raw: RawOrigin) -> results.RawItem:
    return results.RawItem(raw.topic, raw.partition, raw.offset, raw.index)


def _charges(billing: Billing | None) -> results.Charges | None:
    if billing is None:
        return None
    return results.Charges(
        billing.sender, billing.mcc, billing.mnc, billing.parts, dict(billing.prices)
    )
