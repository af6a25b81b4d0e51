"""Adding up counts: exactly, and with a bounded number of names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.quality.counts import NO_CURRENCY, added, is_empty, priced
from schemas.quality import OTHER, UNNAMED, Counts

NAMES = st.dictionaries(st.sampled_from(["a", "b", "c", "d", UNNAMED]), st.integers(1, 5))


@pytest.mark.parametrize(
    ("prices", "cost"),
    [
        ({"CZK": "0.890"}, {"CZK": "0.89"}),
        ({"CZK": "1E+3"}, {"CZK": "1000"}),
        ({"CZK": "0.00"}, {}),
        ({"czk": "1", "": "2"}, {NO_CURRENCY: "3"}),
        ({"CZK": "NaN", "EUR": "many", "USD": "Infinity"}, {}),
        ({"EUR": f"0.{'0' * 1900}1"}, {"EUR": f"0.{'0' * 1900}1"}),
    ],
)
def test_prices(prices: dict[str, str], cost: dict[str, str]) -> None:
    """They are exact decimals by currency; what is no number is left out."""
    assert priced(prices) == cost


def test_a_cost_is_exact() -> None:
    """Ten times 0.1 is 1, and a large amount keeps the digits of a small one."""
    dime = Counts(cost={"EUR": "0.1"})
    whole = Counts()
    for _ in range(10):
        whole = added(whole, dime)
    assert whole.cost == {"EUR": "1"}
    large = added(Counts(cost={"EUR": "1" + "0" * 40}), dime)
    assert large.cost == {"EUR": "1" + "0" * 40 + ".1"}
    assert is_empty(added(added(whole, large), added(large, whole), -1))


@given(NAMES, NAMES, NAMES)
def test_within_the_bound_names_are_exact(
    one: dict[str, int], two: dict[str, int], three: dict[str, int]
) -> None:
    """What is taken away again leaves nothing, in any order."""
    first, second, third = (Counts(reasons=each) for each in (one, two, three))
    sums = added(added(added(Counts(), first, names=5), second, names=5), third, names=5)
    again = added(added(added(Counts(), third, names=5), first, names=5), second, names=5)
    assert sums == again
    assert added(added(sums, third, -1, 5), first, -1, 5) == second
    assert OTHER not in sums.reasons


@given(st.lists(NAMES, max_size=6))
def test_past_the_bound_the_total_is_exact(many: list[dict[str, int]]) -> None:
    """Only so many names are kept; the rest is `other`, and nothing falls below 0."""
    counts = Counts()
    for one in many:
        counts = added(counts, Counts(reasons=one), names=2)
    assert sum(counts.reasons.values()) == sum(sum(one.values()) for one in many)
    assert len(counts.reasons.keys() - {OTHER, UNNAMED}) <= 2
    for one in many:
        counts = added(counts, Counts(reasons=one), -1, names=2)
        assert min(counts.reasons.values(), default=0) >= 0
    assert is_empty(counts)


def test_a_currency_past_the_bound_has_no_name() -> None:
    known = Counts(cost={"CZK": "1"})
    assert added(known, Counts(cost={"EUR": "2", "CZK": "1"}), names=1).cost == {
        "CZK": "2",
        NO_CURRENCY: "2",
    }
