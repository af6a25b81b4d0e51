"""Which open transactions are hanging."""

import pytest

from deploy.open_transactions import Known, Producer, judged

NOW = 1_800_000_000_000
ONE = Producer("ns.events", 2, 7, 1001, 4, 0, NOW - 1000)
HELD = Known("ns.track.2", "Ongoing", 15_000, NOW - 2000, [("ns.events", 2)])
DONE = Known("ns.track.2", "CompleteCommit", 15_000, NOW - 2000, [])
OLD = ONE._replace(written_at=NOW - 16 * 60_000)


@pytest.mark.parametrize(
    ("first", "known", "again", "hanging"),
    [
        ([ONE], {1001: HELD}, [ONE], [False]),
        ([ONE], {1001: DONE}, [ONE], [True]),
        # It ended while the coordinator was asked.
        ([ONE], {1001: DONE}, [], []),
        # It ended, and the producer's next transaction is open.
        ([ONE], {1001: DONE}, [ONE._replace(start=9)], []),
        # The coordinator has it on another partition only.
        ([ONE], {1001: HELD._replace(partitions=[("ns.events", 1)])}, [ONE], [True]),
        # The user may not see the transactional id: only age tells.
        ([ONE], {}, [ONE], [False]),
        ([OLD], {}, [OLD], [True]),
    ],
)
def test_what_is_hanging(
    first: list[Producer], known: dict[int, Known], again: list[Producer], hanging: list[bool]
) -> None:
    """It is open before and after its coordinator does not have it."""
    assert [one.hanging for one in judged(first, known, again, NOW)] == hanging


def test_the_oldest_is_first() -> None:
    """Readers wait behind it."""
    found = judged([ONE, OLD._replace(id=5)], {}, [OLD._replace(id=5), ONE], NOW)
    assert [one.producer.id for one in found] == [5, 1001]
