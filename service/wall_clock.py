"""This machine's clock; service/kafka/clock.py compares it with Kafka's."""

import time


def now_ms() -> int:
    """Return the time in Unix milliseconds."""
    return time.time_ns() // 1_000_000
