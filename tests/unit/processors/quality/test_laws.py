"""The cells are a function of the states of messages: whatever the order, batches, repetition."""

from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from processors.quality.cells import Cells, Limits, applied, expired
from processors.quality.changes import changed
from processors.quality.counts import added
from schemas.codec import decode_quality, encode
from schemas.quality import LENGTH_MS, Counts, Period, QualityCell, route_of, start_of
from schemas.records import MessageState
from tests.unit.processors.quality.states import (
    BEGAN,
    StateRecord,
    contributed,
    expected,
    found,
    histories,
    mixed,
)

DAY = LENGTH_MS["day"]
NOW = BEGAN + DAY
LIMITS = Limits(50, {"minute": 7, "hour": 90, "day": 730})


class Store:
    """Contributions and cells in memory, through the pure functions of both tasks."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.values: dict[str, bytes] = {}
        self.contributions: dict[str, bytes] = {}
        self.limits = limits
        self.cells = Cells(self._read, self._keys)

    def take(self, states: Sequence[MessageState], now: int = NOW) -> int:
        """Process a batch of states; return how many cells it changed."""
        records = [StateRecord(one.message_key.encode(), encode(one)) for one in states]
        return self.take_records(records, now)

    def take_records(self, records: Sequence[StateRecord], now: int = NOW) -> int:
        result = changed(records, lambda keys: [self.contributions.get(key) for key in keys])
        _write(self.contributions, result.contributions)
        new = applied(result.changes, self.cells, self.limits, now).cells
        _write(self.values, new)
        return len(new)

    @property
    def decoded(self) -> list[QualityCell]:
        return [decode_quality(value) for value in self.values.values()]

    def _read(self, keys: Sequence[str]) -> list[bytes | None]:
        return [self.values.get(key) for key in keys]

    def _keys(self, start: str, end: str, most: int) -> list[str]:
        return sorted(key for key in self.values if start <= key < end)[:most]


def _write(to: dict[str, bytes], values: dict[bytes, bytes | None]) -> None:
    for key, value in values.items():
        if value is None:
            to.pop(key.decode(), None)
        else:
            to[key.decode()] = value


def batches(random: Random, states: Sequence[MessageState]) -> list[Sequence[MessageState]]:
    left = list(states)
    result: list[Sequence[MessageState]] = []
    while left:
        size = random.randint(1, 8)
        result.append(left[:size])
        left = left[size:]
    return result


@given(st.integers(0, 10_000), st.integers(1, 12))
def test_any_order_and_batches_give_the_cells_of_all_states(seed: int, messages: int) -> None:
    """The cells are those added up plainly; equal states once more change nothing."""
    versions, random, store = histories(seed, messages), Random(seed), Store()
    for batch in batches(random, mixed(random, versions)):
        store.take(batch)
    assert found(store.decoded) == expected(contributed(versions))
    final = [one[-1] for one in versions]
    random.shuffle(final)
    assert store.take(final) == 0


@given(st.integers(0, 10_000))
def test_a_rebuild_gives_equal_cells(seed: int) -> None:
    """Only the last state of each message gives the same bytes, but for ended alarms."""
    versions, random, store, again = histories(seed, 8), Random(seed), Store(), Store()
    for batch in batches(random, mixed(random, versions)):
        store.take(batch)
    final = [one[-1] for one in versions]
    random.shuffle(final)
    for batch in batches(random, final):
        again.take(batch)
    assert _without_resumed(store) == _without_resumed(again)


def _without_resumed(store: Store) -> dict[Any, Any]:
    counts = found(store.decoded)
    return {
        key: {name: n for name, n in one.items() if name != "resumed"}
        for key, one in counts.items()
    }


@given(st.integers(0, 10_000))
def test_minutes_add_up_to_hours_and_hours_to_days(seed: int) -> None:
    """Merging the records of the shorter periods gives that of the longer one."""
    versions, store = histories(seed, 10), Store()
    store.take([state for one in versions for state in one])
    pairs: tuple[tuple[Period, Period], ...] = (("minute", "hour"), ("hour", "day"))
    for shorter, longer in pairs:
        sums: dict[Any, Counts] = {}
        for one in store.decoded:
            if one.period == shorter:
                key = start_of(longer, one.start_at), route_of(one), one.operator
                sums[key] = added(sums.get(key, Counts()), one)
        whole = {
            (one.start_at, route_of(one), one.operator): added(Counts(), one)
            for one in store.decoded
            if one.period == longer
        }
        assert sums == whole


@given(st.integers(0, 10_000))
def test_past_the_bound_totals_are_exact(seed: int) -> None:
    """With one name a cell and route, only the names differ: sums over operators do not."""
    versions, random = histories(seed, 12), Random(seed)
    store = Store(LIMITS._replace(names=1))
    for batch in batches(random, mixed(random, versions)):
        store.take(batch)
    assert _by_route(found(store.decoded)) == _by_route(expected(contributed(versions)))
    for counts in found(store.decoded).values():
        assert min(counts.values()) > 0, "what was added is taken away in the same place"
    for one in store.decoded:
        assert len(one.reasons.keys() - {"-", "other"}) <= 1


def _by_route(cells: dict[Any, Any]) -> dict[Any, Any]:
    sums: dict[Any, Counter[Any]] = {}
    for key, counts in cells.items():
        route = sums.setdefault(key[:-1], Counter())
        route.update({name: n for name, n in counts.items() if name[0] != "reason"})
    return sums


def test_a_forgotten_message_stays_in_the_cells() -> None:
    """Its contribution is dropped; a record of a viewer is none of a message."""
    versions, store = histories(3, 4), Store()
    store.take([state for one in versions for state in one])
    before = dict(store.values)
    records = [StateRecord(one[-1].message_key.encode(), None) for one in versions]
    viewer = StateRecord(b"viewer/420777000001/smsmanager/-/m1", b"{}")
    assert store.take_records([*records, viewer]) == 0
    assert (store.values, store.contributions) == (before, {})


def test_an_unreadable_state_is_counted() -> None:
    result = changed([StateRecord(b"smsmanager/-/m1", b"{")], lambda keys: [None] * len(keys))
    assert (result.unreadable, result.changes, result.contributions) == (1, [], {})


def test_a_period_past_its_retention_takes_no_change_and_is_deleted() -> None:
    """Each period has its own; the longer ones still count a late message."""
    versions = histories(5, 6)
    store = Store()
    store.take([one[-1] for one in versions], now=BEGAN + 8 * DAY)
    assert {one.period for one in store.decoded} == {"hour", "day"}
    whole = Store()
    whole.take([one[-1] for one in versions])
    minutes = [key for key in whole.values if key.startswith("minute/")]
    assert expired(whole.cells, LIMITS, NOW, most=1000) == []
    assert expired(whole.cells, LIMITS, BEGAN + 8 * DAY, most=1000) == sorted(minutes)
    assert len(expired(whole.cells, LIMITS, BEGAN + 91 * DAY, most=3)) == 3


@pytest.mark.parametrize(("names", "named"), [(2, {"231-01", "231-02"}), (1, {"231-01"})])
def test_operators_past_the_bound_are_other(names: int, named: set[str]) -> None:
    """The first ones of a route and period are named."""
    versions, store = histories(1, 1), Store(LIMITS._replace(names=names))
    [one] = contributed([versions[0][:1]])
    [change] = one.attempts
    for operator in ("231-01", "231-02", "231-03", None):
        new = replace(change, operator=operator)
        _write(store.values, applied([new], store.cells, store.limits, NOW).cells)
    days = {cell.operator for cell in store.decoded if cell.period == "day"}
    assert days == {*named, "other", None}
