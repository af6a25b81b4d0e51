"""The lag of a partition: records, and the age of the oldest one."""

from hypothesis import given
from hypothesis import strategies as st

from processors.runtime.lag import Lag, PartitionLag, Unprocessed

ASSIGNED, NOW = 1_000, 100_000


def test_an_empty_partition_has_no_lag() -> None:
    """The lag is 0 at the end of the log, however long ago the last record was."""
    assert PartitionLag(ASSIGNED).observe(Unprocessed(7, last=5), 7, NOW) == Lag(0, 0.0)


def test_the_oldest_polled_record_counts() -> None:
    """Its time is known, and later bounds do not matter."""
    lag = PartitionLag(ASSIGNED)
    lag.observe(Unprocessed(3), 3, 90_000)
    assert lag.observe(Unprocessed(3, oldest=40_000, last=30_000), 8, NOW) == Lag(5, 60.0)


def test_a_record_that_is_not_polled_came_after_the_partition_was_empty() -> None:
    """A partition that was idle for long does not appear hours late."""
    lag = PartitionLag(ASSIGNED)
    lag.observe(Unprocessed(3, last=2_000), 3, 99_000)
    assert lag.observe(Unprocessed(3, last=2_000), 4, NOW) == Lag(1, 1.0)
    assert not lag.unknown(Unprocessed(3, last=2_000))


def test_a_record_that_is_not_polled_came_after_the_last_processed_one() -> None:
    """During a backlog the partition is never empty."""
    lag = PartitionLag(ASSIGNED)
    assert lag.observe(Unprocessed(50, last=70_000), 90, NOW) == Lag(40, 30.0)


def test_of_a_partition_that_was_never_read_the_time_is_asked_for() -> None:
    """Until it is found, the time since the assignment counts."""
    lag, known = PartitionLag(ASSIGNED), Unprocessed(50)
    assert lag.observe(known, 90, NOW) == Lag(40, 99.0)
    assert lag.unknown(known)
    lag.found(50, 200)
    assert not lag.unknown(known)
    assert lag.observe(known, None, NOW) == Lag(40, 99.8)
    # It is the time of that record only.
    assert lag.observe(Unprocessed(60, last=80_000), 90, NOW) == Lag(30, 20.0)


def test_without_an_end_nothing_is_known_to_be_empty() -> None:
    """The end of the log is known after the first fetch or request."""
    lag = PartitionLag(ASSIGNED)
    assert lag.observe(Unprocessed(5), None, 50_000) == Lag()
    assert lag.observe(Unprocessed(5), 6, NOW) == Lag(1, 99.0)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1))
def test_the_lag_covers_the_age_of_the_oldest_record(steps: list[tuple[int, int]]) -> None:
    """For records in the order of their time, nothing unprocessed is older than the lag says."""
    times: list[int] = []
    lag, now, done = PartitionLag(0), 0, 0
    for arriving, processed in steps:
        for _ in range(arriving):
            now += 1
            times.append(now)
        now += 1
        done = min(len(times), done + processed)
        known = Unprocessed(done, last=times[done - 1] if done else None)
        found = lag.observe(known, len(times), now)
        assert found.records == len(times) - done
        age = (now - times[done]) / 1000 if done < len(times) else 0.0
        assert found.seconds >= age
        assert (found.seconds == 0) == (found.records == 0)
