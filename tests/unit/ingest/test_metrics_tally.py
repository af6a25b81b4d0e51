"""The tally adds to the metrics what counting one by one adds, before it answers."""

import asyncio
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from ingest import metrics
from ingest.metrics_tally import Tally

_SOURCES = st.sampled_from(["one", "two"])
_EIGHTHS = st.integers(0, 100).map(lambda number: number / 8)


def _values() -> Counter[str]:
    """Return all samples but the times."""
    text = generate_latest(metrics.registry).decode()
    return Counter(
        {
            f"{sample.name}{sample.labels}": sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name.startswith("bluetick_ingest") and "timestamp" not in sample.name
        }
    )


def _added(before: Counter[str]) -> dict[str, float]:
    """Return what was added; other tests have added times whose sums are not exact."""
    after = _values()
    after.subtract(before)
    return {name: round(value, 3) for name, value in after.items() if value}


@given(st.lists(st.tuples(_SOURCES, st.integers(0, 10**6), _EIGHTHS)))
def test_it_equals_counting_one_by_one(webhooks: list[tuple[str, int, float]]) -> None:
    """Counts, sizes and times of webhooks of several sources."""
    before = _values()
    for source, size, seconds in webhooks:
        metrics.count_received(source)
        metrics.request_bytes.observe(size)
        metrics.count_accepted(source, "kafka", seconds)
        metrics.count_answer(200, seconds)
    one_by_one, before = _added(before), _values()

    answered: list[dict[str, float]] = []

    async def together() -> None:
        tally = Tally()
        for source, size, seconds in webhooks:
            tally.receive(source, size)
            tally.store(source, seconds, lambda: answered.append(_added(before)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    asyncio.run(together())
    assert _added(before) == one_by_one
    assert answered == [one_by_one] * len(webhooks)
