"""Why a partition recovers: as a label of the metrics, and in words."""

from aiokafka.errors import (
    InvalidTimestampError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    ProducerFenced,
)

from processors.runtime.exactly_once.partition_store import CorruptError
from processors.runtime.record_batches import TooLargeError
from service.errors import reason
from service.kafka.clock import clock
from service.kafka.clock_offset import refused_time

RECOVERABLE = (ProducerFenced, CorruptError, KafkaError, TimeoutError, OSError)
"""The errors after which a partition recovers at once."""

# The first match counts: some are subclasses of later ones.
_CAUSES: tuple[tuple[type[Exception], str], ...] = (
    (ProducerFenced, "fenced"),
    (CorruptError, "store"),
    (TooLargeError, "too_large"),
    (InvalidTimestampError, "clock"),
    (KafkaConnectionError, "connection"),
    (KafkaTimeoutError, "timeout"),
    (TimeoutError, "timeout"),
    (KafkaError, "kafka"),
    (OSError, "system"),
)

STOPPED = "stopped"
"""The cause of an attempt to continue a stopped partition."""

LABELS = frozenset({STOPPED, *(label for _, label in _CAUSES)})


def cause(error: Exception) -> str:
    """Return the label of a recoverable error."""
    return next(label for kind, label in _CAUSES if isinstance(error, kind))


def words(error: BaseException) -> str:
    """Return the reason for the log; if Kafka refused a time, the clock is compared soon."""
    if isinstance(error, InvalidTimestampError):
        clock.doubt()
        return refused_time(clock.known())
    return reason(error)
