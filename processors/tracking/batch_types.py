"""The input and the result of one batch. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple, Protocol

from msgspec import Struct

from processors.tracking.batch_counts import Counts
from processors.tracking.outputs import SOURCE
from processors.tracking.timers import PATIENCE, Patience
from processors.tracking.tracking_dead_letters import Letter
from schemas.bounds import BOUNDS, Bounds
from service.tracing import Headers

_NO_CONTEXTS: Mapping[int, Headers] = MappingProxyType({})


class Consumed(Protocol):
    """The fields of a consumed record that are read."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None


class Timer(NamedTuple):
    """An entry of the store's index: the key of the state to check, and when (Unix ms)."""

    due: int
    key: str


class Limits(NamedTuple):
    """The limits of one batch: past one of these it ends, and the rest is for the next batch.

    `seconds` are those of the pass, on the wall clock, without other work of the event loop;
    `read_bytes` are records and states read, which also bounds the states written;
    `written_bytes` are outputs.
    """

    seconds: float = 0.5
    read_bytes: int = 32 * 1024 * 1024
    written_bytes: int = 16 * 1024 * 1024


LIMITS = Limits()


class Work(NamedTuple):
    """One batch: records in order, and timers that are due.

    `now` is the task's clock: a later time of reception in a record is wrong. `horizon` is the time
    that the log has certainly reached: timers up to it may fire. `source` is the CloudEvents
    source of the outputs. Records before `repaired_to` were committed before, and outputs in `seen`
    are visible already: Kafka lost the states (split_transactions.py). `contexts` has, by a
    record's offset, the trace headers of its outputs.
    """

    records: Sequence[Consumed]
    timers: Sequence[Timer]
    now: int
    horizon: int
    patience: Patience = PATIENCE
    bounds: Bounds = BOUNDS
    limits: Limits = LIMITS
    source: str = SOURCE
    repaired_to: int = 0
    seen: frozenset[bytes] = frozenset()
    contexts: Mapping[int, Headers] = _NO_CONTEXTS


class Out(Struct, frozen=True, gc=False):
    """One record to send."""

    topic: str
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


@dataclass(slots=True)
class Reduced:
    """The result of a batch.

    `taken` is the number of records taken. `states` holds the changed states, the last of each key;
    None for a dropped one. `armed` holds the next timer of each state that is left, or whose timer
    had no effect. `spent` holds the index entries that are void now. `letters` holds dead letters.
    `latest` is the greatest time of reception, 0 if none. `counts` is for the metrics.
    """

    taken: int = 0
    outputs: list[Out] = field(default_factory=list)
    states: dict[bytes, bytes | None] = field(default_factory=dict)
    armed: dict[bytes, int] = field(default_factory=dict)
    spent: list[Timer] = field(default_factory=list)
    letters: list[Letter] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    latest: int = 0
