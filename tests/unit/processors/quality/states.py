"""States of messages as the tracker makes them, and the cells that follow, added up plainly."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from random import Random
from typing import Any, NamedTuple, cast

from msgspec.structs import asdict, replace

from processors.quality.contributions import NOTHING, contribution
from processors.tracking.next_state import track
from schemas.quality import LENGTH_MS, PERIODS, QualityContribution
from schemas.records import Billing, MessageState, Reason, Status, StatusObservation, message_key
from tests.unit.messages import reply, seen

BEGAN = 1_764_331_200_000  # 28 November 2025, 12:00 UTC
_STATUSES: tuple[Status, ...] = (
    *("queued", "sent", "delivered", "read", "failed", "rejected", "expired", "undelivered"),
)
_GATEWAYS = ("sms", "viber", "whatsapp")
_NUMBERS = ("420777000001", "421905000001", "447700900123", "12025550123", "h1:a:00", None)
_NETWORKS = (("230", "01"), ("231", "01"), ("231", "02"), ("231", None), ("odd", "1"))

_COUNTED = (
    *("messages", "messages_delivered", "messages_failed", "without_receipts", "stalled"),
    *("resumed", "replies", "attempts", "sent", "delivered", "read", "failed", "rejected"),
    *("expired", "contradictions", "recoveries", "fall_backs", "parts"),
)
_PLACE = ("provider", "account", "channel", "gateway", "country", "operator")


class StateRecord(NamedTuple):
    """A record of `messages`."""

    key: bytes | None
    value: bytes | None


def observations(random: Random, key: str, began: int) -> list[StatusObservation]:
    """Return some observations of one message, in no order of time."""
    number = random.choice(_NUMBERS)
    return [_observation(random, key, began, number) for _ in range(random.randint(1, 6))]


def _observation(random: Random, key: str, began: int, number: str | None) -> StatusObservation:
    mcc, mnc = random.choice(_NETWORKS)
    price = Decimal(random.randint(1, 500)) / 1000
    billing = Billing(mcc=mcc, mnc=mnc, parts=random.randint(1, 3), prices={"CZK": f"{price}"})
    status = random.choice(_STATUSES)
    return seen(
        status,
        began + random.randint(0, 7_200_000),
        random.choice(_GATEWAYS),
        message_key=key,
        message_id=key.rpartition("/")[2],
        recipient=number,
        billing=billing if random.random() < 0.5 else None,
        reason=Reason(code=random.choice("abc")) if random.random() < 0.5 else None,
    )


def history(random: Random, key: str, began: int = BEGAN) -> list[MessageState]:
    """Return the states of one message, one after each observation; some are stalled."""
    state, found = None, []
    for one in observations(random, key, began):
        state = track(state, key, one).state
        if random.random() < 0.2:
            found.append(replace(state, stalled_since=began))
        found.append(state)
    if random.random() < 0.2 and state is not None:
        found.append(track(state, key, reply(began + 9_000_000, in_reply_to=key)).state)
    return found


def histories(seed: int, messages: int, began: int = BEGAN) -> list[list[MessageState]]:
    """Return the states of many messages, by message."""
    random = Random(seed)
    keys = [message_key("smsmanager", None, f"m{number}") for number in range(messages)]
    return [history(random, key, began) for key in keys]


def mixed(random: Random, versions: Iterable[Sequence[MessageState]]) -> list[MessageState]:
    """Return the states of many messages in any order that keeps each message's own."""
    left = [list(one) for one in versions if one]
    found = []
    while left:
        one = random.choice(left)
        found.append(one.pop(0))
        left = [each for each in left if each]
    return found


def contributed(versions: Iterable[Sequence[MessageState]]) -> list[QualityContribution]:
    """Return what each message contributes after its last state."""
    found = []
    for states in versions:
        held = NOTHING
        for state in states:
            held = contribution(state, held)
        found.append(held)
    return found


def expected(contributions: Iterable[QualityContribution]) -> dict[tuple[Any, ...], Any]:
    """Add contributions up plainly: the counts by period, start and place."""
    sums: dict[tuple[Any, ...], Counter[Any]] = defaultdict(Counter)
    for held in contributions:
        for one in held.attempts:
            for period in PERIODS:
                start = one.start_at // LENGTH_MS[period] * LENGTH_MS[period]
                place = tuple(getattr(one, name) for name in _PLACE)
                sums[period, start, *place].update(_counts(one))
    return {key: _without_zeros(counts) for key, counts in sums.items()}


def found(cells: Iterable[Any]) -> dict[tuple[Any, ...], Any]:
    """Return the counts of cells in the form of `expected`, without those of empty cells."""
    counts = {
        (one.period, one.start_at, *(getattr(one, name) for name in _PLACE)): _without_zeros(
            Counter(_counts(one))
        )
        for one in cells
    }
    return {key: one for key, one in counts.items() if one}


def _counts(one: Any) -> dict[Any, Any]:
    fields: Mapping[str, Any] = asdict(one)
    counts: dict[Any, Any] = {name: fields[name] for name in _COUNTED}
    counts |= {("reason", code): count for code, count in fields["reasons"].items()}
    counts |= {("cost", code): Decimal(amount) for code, amount in fields["cost"].items()}
    for name in ("to_delivered", "to_read"):
        sketch = fields[name]
        counts |= {(name, "count"): sketch.count, (name, "zeros"): sketch.zeros}
        counts |= {(name, index): count for index, count in sketch.bins}
    return counts


def _without_zeros(counts: Counter[Any]) -> dict[Any, Any]:
    return {name: cast("Any", count) for name, count in counts.items() if count}
