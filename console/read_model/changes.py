"""Records of the topics as changes of the tables. Pure.

Each topic has tables of its own, and a later record of a key replaces an earlier one: the tables
are a function of the records, and neither batches nor the order between topics matter.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import msgspec

from console.read_model.message_fields import (
    Group,
    began_at,
    digest_of,
    group_id_of,
    leading,
    terms_of,
)
from console.read_model.tables import message_id_of
from processors.dead_letters import record as dead_letters
from processors.dead_letters.record import Entry
from processors.quality.recipient_country import country_of
from processors.tracking.lifecycle.facts import fact_key, when
from schemas.codec import (
    Decoder,
    UndecodableError,
    decode_by_key,
    decode_inbound,
    decode_quality,
    encode,
)
from schemas.records import STATE_VERSION, Cause, MessageState, Status, split_viewer_key

MINUTE_MS = 60_000

# A fact, or its verdict, shows these as well.
_SHOWN_BY_FACTS = (b'{"event":"advanced"', b'{"event":"late"', b'{"event":"viewed"')


class Record(Protocol):
    """A Kafka record."""

    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...


class StateRow(NamedTuple):
    """A row of `messages`, in the order of its columns."""

    id: bytes
    offset: int
    first_seen_at: int
    began_at: int | None
    provider: str
    gateway: str
    country: str
    status: str
    stalled_since: int | None
    contradictions: int | None
    group_id: int
    terms: int
    state: bytes


class _Status(msgspec.Struct, gc=False):
    """The fields of a status record that the read model keeps."""

    provider: str
    gateway: str
    received_at: int
    status: Status
    provider_status: str
    verdict: str
    viewer: str = ""


class _Event(msgspec.Struct, gc=False):
    event: str
    cause: Cause
    waiting_ms: int | None = None

    @property
    def at(self) -> int:
        """When it happened: a stall begins once its last fact is too old."""
        if self.waiting_ms is None:
            return when(self.cause)
        return self.cause.received_at + self.waiting_ms


_decode_status: Decoder[_Status] = Decoder(_Status)
_decode_event: Decoder[_Event] = Decoder(_Event)


@dataclass(slots=True)
class Changes:
    """The changes of one transaction, by table; None removes a row.

    `found` holds the terms of the states and `attempts` those of the states that have several, by
    message. `unreadable` counts the records that this
    Bluetick cannot decode.
    """

    messages: dict[bytes, StateRow | None] = field(default_factory=dict)
    found: dict[bytes, frozenset[int]] = field(default_factory=dict)
    attempts: dict[bytes, list[tuple[bytes, str, int]]] = field(default_factory=dict)
    viewers: dict[bytes, tuple[Any, ...] | None] = field(default_factory=dict)
    verdicts: list[tuple[Any, ...]] = field(default_factory=list)
    facts: Counter[tuple[int, str, str]] = field(default_factory=Counter)
    events: list[tuple[Any, ...]] = field(default_factory=list)
    inbound: dict[bytes, tuple[Any, ...]] = field(default_factory=dict)
    letters: list[Entry] = field(default_factory=list)
    quality: dict[str, tuple[Any, ...] | None] = field(default_factory=dict)
    unreadable: int = 0


def _add_state(changes: Changes, record: Record) -> None:
    key = _text(record.key)
    id_ = message_id_of(key)
    if record.value is None:
        if split_viewer_key(key):
            changes.viewers[id_] = None
        else:
            changes.messages[id_] = None
        return
    state = decode_by_key(key, record.value)
    value = record.value if state.version == STATE_VERSION else encode(state)
    if isinstance(state, MessageState):
        begins = _begins(state)
        row, terms = _state_row(
            id_, record.offset, state, value, min(begins.values(), default=None)
        )
        changes.messages[id_], changes.found[id_] = row, terms
        if len(begins) > 1:
            changes.attempts[id_] = [(id_, gateway, at) for gateway, at in begins.items()]
    else:
        changes.viewers[id_] = (id_, record.offset, message_id_of(state.message_key), value)


def _begins(state: MessageState) -> dict[str, int]:
    """Return when each attempt began; {} for an inbound message, which `quality` does not count."""
    if state.direction == "inbound":
        return {}
    return {gateway: began_at(one) for gateway, one in state.attempts.items()}


def _state_row(
    id_: bytes, offset: int, state: MessageState, value: bytes, began: int | None
) -> tuple[StateRow, frozenset[int]]:
    lead = leading(state)
    terms = terms_of(state)
    filtered_by = (
        state.provider,
        lead.gateway if lead else "",
        country_of(state.recipient) or "",
        state.status or "",
    )
    contradictions = len(state.contradictions)
    group = Group(*filtered_by, int(state.stalled_since is not None), int(contradictions > 0))
    row = StateRow(
        id_,
        offset,
        state.first_seen_at,
        began,
        *filtered_by,
        state.stalled_since,
        contradictions or None,
        group_id_of(group),
        digest_of(state.first_seen_at, terms),
        value,
    )
    return row, terms


def _add_status(changes: Changes, record: Record) -> None:
    status = _decode_status(record.value)
    at = status.received_at
    changes.verdicts.append(
        (
            record.partition,
            record.offset,
            _id_of(record.key),
            at,
            status.gateway,
            status.viewer,
            fact_key(status.status, status.provider_status),
            status.verdict,
        )
    )
    changes.facts[at - at % MINUTE_MS, status.provider, status.status] += 1


def _add_event(changes: Changes, record: Record) -> None:
    value = record.value or b""
    if value.startswith(_SHOWN_BY_FACTS):
        return
    event = _decode_event(value)
    message = _id_of(record.key)
    changes.events.append((record.partition, record.offset, message, event.event, event.at, value))


def _add_inbound(changes: Changes, record: Record) -> None:
    inbound = decode_inbound(record.value)
    id_ = message_id_of(inbound.message_key)
    answers = message_id_of(inbound.in_reply_to) if inbound.in_reply_to else None
    known = changes.inbound.get(id_)
    if known is None or known[1] <= inbound.revision:
        row = (id_, inbound.revision, answers, inbound.sender or "", inbound.received_at)
        changes.inbound[id_] = (*row, record.value)


def _add_letter(changes: Changes, record: Any) -> None:
    entry = dead_letters.read(record)
    if entry is None:
        raise UndecodableError("a dead letter has no coordinates")
    changes.letters.append(entry)


def _add_cell(changes: Changes, record: Record) -> None:
    key = _text(record.key)
    if record.value is None:
        changes.quality[key] = None
        return
    cell = decode_quality(record.value)
    changes.quality[key] = (key, cell.period, cell.start_at, cell.provider, record.value)


def _id_of(key: bytes | None) -> bytes:
    if key is None:
        raise UndecodableError("the key is null")
    return message_id_of(key)


def _text(key: bytes | None) -> str:
    if key is None:
        raise UndecodableError("the key is null")
    return key.decode("utf-8", "replace")


_ADD: Mapping[str, Callable[[Changes, Any], None]] = {
    "messages": _add_state,
    "statuses": _add_status,
    "events": _add_event,
    "inbound": _add_inbound,
    "dead-letters": _add_letter,
    "quality": _add_cell,
}
KINDS = tuple(_ADD)
"""The topics that the read model is made of, by the last part of their name."""


def add(changes: Changes, kind: str, records: Iterable[Record]) -> None:
    """Add records of a topic of this kind; those that cannot be decoded are counted."""
    add_one = _ADD[kind]
    for record in records:
        try:
            add_one(changes, record)
        except UndecodableError:
            changes.unreadable += 1
