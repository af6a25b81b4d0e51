"""The records of delivery quality: cells on `quality`, and what the processor keeps for itself.

A cell counts the attempts of one route, country and operator that began in one minute, hour or day
of event time. Counts of 0 are absent in JSON. docs/quality.md defines each count.
"""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal, NamedTuple, get_args
from urllib.parse import quote

from msgspec import Struct

Period = Literal["minute", "hour", "day"]

PERIODS: tuple[Period, ...] = get_args(Period)

MINUTE_MS = 60_000
LENGTH_MS: dict[Period, int] = {
    "minute": MINUTE_MS,
    "hour": 60 * MINUTE_MS,
    "day": 24 * 60 * MINUTE_MS,
}

CELL_VERSION = 1

OTHER = "other"
"""The operator, and the reason, that stand for those past the bound of a cell."""

UNNAMED = "-"
"""The reason of a failure without a code; in a key, a part that the record lacks."""


class Sketch(Struct, frozen=True, omit_defaults=True, gc=False):
    """A DDSketch of times in milliseconds, with a relative accuracy of 1 %.

    `bins` has pairs of index and count, sorted by index: an index `i` stands for the times above
    g^(i-1) and up to g^i, with g = 1.01 / 0.99. `zeros` counts times of 0 ms. Sketches are merged
    by adding up the counts of equal indices. The percentiles are only on `quality`.
    """

    count: int = 0
    zeros: int = 0
    bins: list[list[int]] = []
    p50_ms: int | None = None
    p95_ms: int | None = None
    p99_ms: int | None = None


NO_TIMES = Sketch()


class Counts(Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """What is counted of attempts, and of the messages whose first attempt is among them."""

    messages: int = 0
    messages_delivered: int = 0
    messages_failed: int = 0
    without_receipts: int = 0
    stalled: int = 0
    resumed: int = 0
    replies: int = 0
    attempts: int = 0
    sent: int = 0
    delivered: int = 0
    read: int = 0
    failed: int = 0
    rejected: int = 0
    expired: int = 0
    reasons: dict[str, int] = {}
    contradictions: int = 0
    recoveries: int = 0
    fall_backs: int = 0
    parts: int = 0
    cost: dict[str, str] = {}
    to_delivered: Sketch = NO_TIMES
    to_read: Sketch = NO_TIMES


class _Placed(Counts, frozen=True, omit_defaults=True, kw_only=True):
    """Counts of one route and operator, from `start_at` on."""

    start_at: int
    provider: str
    account: str
    channel: str
    gateway: str
    country: str | None = None
    operator: str | None = None


class QualityCell(_Placed, frozen=True, omit_defaults=True, kw_only=True):
    """A record of `quality`: the counts of one cell. It replaces earlier records of its key."""

    version: int
    period: Period


class QualityChange(_Placed, frozen=True, omit_defaults=True, kw_only=True):
    """A record of `quality-changes`: what to add to the cells of one minute; counts may be < 0.

    It is for the processor alone. `start_at` is the beginning of the minute.
    """


class QualityContribution(Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """A record of `quality-contributions`: what the cells hold of one message.

    It is for the processor alone: of two states of a message, it publishes the difference.
    """

    version: int
    attempts: list[QualityChange] = []


class Route(NamedTuple):
    """The way of an attempt: all cells of a route are on one partition."""

    provider: str
    account: str
    channel: str
    gateway: str
    country: str | None

    def __str__(self) -> str:
        """The key of its changes; its crc32 gives the partition of its changes and cells."""
        return _joined(self)


def route_of(one: QualityCell | QualityChange) -> Route:
    return Route(one.provider, one.account, one.channel, one.gateway, one.country)


def cell_key(period: Period, start_at: int, route: Route, operator: str | None) -> str:
    """Return the key of a cell: `<period>/<start>/<route>/<operator>`, each part quoted.

    `start_at` is Unix milliseconds; in the key it is UTC, to the minute.
    """
    return f"{operators_key(period, start_at, route)}{_part(operator)}"


def operators_key(period: Period, start_at: int, route: Route) -> str:
    """Return the beginning of the keys of all operators of a route in one period."""
    return f"{beginning_of_keys(period, start_at)}{route}/"


@lru_cache(maxsize=4096)  # few periods are counted at a time, each in many keys
def beginning_of_keys(period: Period, start_at: int) -> str:
    """Return the beginning of the keys of all cells of one period; the keys sort by time."""
    start = datetime.fromtimestamp(start_at / 1000, UTC)
    return f"{period}/{start:%Y-%m-%dT%H:%MZ}/"


def start_of(period: Period, at: int) -> int:
    """Return the beginning of the period that holds a time, both Unix milliseconds."""
    return at - at % LENGTH_MS[period]


@lru_cache(maxsize=16_384)  # few routes, each in many keys
def _joined(parts: tuple[str | None, ...]) -> str:
    return "/".join(map(_part, parts))


@lru_cache(maxsize=16_384)
def _part(part: str | None) -> str:
    return UNNAMED if part is None else quote(part, safe=" :@+")
