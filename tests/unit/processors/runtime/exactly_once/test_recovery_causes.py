"""Each recoverable error has a cause, and the most precise one."""

import pytest
from aiokafka.errors import (
    InvalidTimestampError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    NotLeaderForPartitionError,
    ProducerFenced,
)

from processors.runtime.exactly_once.partition_store import CorruptError
from processors.runtime.exactly_once.recovery_causes import cause
from processors.runtime.record_batches import TooLargeError


@pytest.mark.parametrize(
    ("error", "label"),
    [
        (ProducerFenced(), "fenced"),
        (CorruptError(), "store"),
        (TooLargeError("", frozenset()), "too_large"),
        (InvalidTimestampError(), "clock"),
        (KafkaConnectionError(), "connection"),
        (KafkaTimeoutError(), "timeout"),
        (TimeoutError(), "timeout"),
        (NotLeaderForPartitionError(), "kafka"),
        (KafkaError(), "kafka"),
        (OSError(), "system"),
    ],
)
def test_an_error_has_its_cause(error: Exception, label: str) -> None:
    """A timeout is an OSError, too, and most errors of Kafka share a base."""
    assert cause(error) == label
