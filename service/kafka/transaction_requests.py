"""Requests of Kafka's protocol that aiokafka 0.14 lacks: producers and their transactions.

Each class names the versions of its structs; aiokafka chooses one that the broker has.
"""

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Int64,
    Schema,
    TaggedFields,
)

_TAGS = ("tags", TaggedFields)
_flexible_text = CompactString("utf-8")
_NO_TAGS: dict[int, bytes] = {}


def _partitions(name: str) -> tuple[str, CompactArray]:
    """Return the field of topics with their partitions."""
    return "topics", CompactArray(
        (name, _flexible_text), ("partitions", CompactArray(Int32)), _TAGS
    )


class _Producers(Response):
    API_KEY = 61
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            CompactArray(
                ("name", _flexible_text),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("error_code", Int16),
                        ("error_message", _flexible_text),
                        (
                            "producers",
                            CompactArray(
                                ("producer_id", Int64),
                                ("producer_epoch", Int32),
                                ("last_sequence", Int32),
                                ("last_timestamp", Int64),
                                ("coordinator_epoch", Int32),
                                ("start_offset", Int64),
                                _TAGS,
                            ),
                        ),
                        _TAGS,
                    ),
                ),
                _TAGS,
            ),
        ),
        _TAGS,
    )


class _DescribeProducers(RequestStruct):
    FLEXIBLE_VERSION = True
    API_KEY = 61
    API_VERSION = 0
    RESPONSE_TYPE = _Producers
    SCHEMA = Schema(_partitions("name"), _TAGS)


class DescribeProducers(Request[_DescribeProducers]):
    """The producers that a leader knows in each partition, with their open transactions."""

    API_KEY = 61

    def __init__(self, topics: dict[str, list[int]]) -> None:
        self._topics = topics

    def build(self, request_struct_class: type[_DescribeProducers]) -> _DescribeProducers:
        return request_struct_class(_tagged(self._topics), _NO_TAGS)


class _Transactions(Response):
    API_KEY = 66
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("unknown_filters", CompactArray(_flexible_text)),
        (
            "transactions",
            CompactArray(
                ("transactional_id", _flexible_text),
                ("producer_id", Int64),
                ("state", _flexible_text),
                _TAGS,
            ),
        ),
        _TAGS,
    )


class _ListTransactions(RequestStruct):
    FLEXIBLE_VERSION = True
    API_KEY = 66
    API_VERSION = 0
    RESPONSE_TYPE = _Transactions
    SCHEMA = Schema(
        ("states", CompactArray(_flexible_text)), ("producer_ids", CompactArray(Int64)), _TAGS
    )


class ListTransactions(Request[_ListTransactions]):
    """The transactional ids of some producer ids that a coordinator knows."""

    API_KEY = 66

    def __init__(self, producer_ids: list[int]) -> None:
        self._producer_ids = producer_ids

    def build(self, request_struct_class: type[_ListTransactions]) -> _ListTransactions:
        return request_struct_class([], self._producer_ids, _NO_TAGS)


class _TransactionStates(Response):
    API_KEY = 65
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "transactions",
            CompactArray(
                ("error_code", Int16),
                ("transactional_id", _flexible_text),
                ("state", _flexible_text),
                ("timeout_ms", Int32),
                ("started_at", Int64),
                ("producer_id", Int64),
                ("producer_epoch", Int16),
                _partitions("topic"),
                _TAGS,
            ),
        ),
        _TAGS,
    )


class _DescribeTransactions(RequestStruct):
    FLEXIBLE_VERSION = True
    API_KEY = 65
    API_VERSION = 0
    RESPONSE_TYPE = _TransactionStates
    SCHEMA = Schema(("transactional_ids", CompactArray(_flexible_text)), _TAGS)


class DescribeTransactions(Request[_DescribeTransactions]):
    """The states of transactional ids, for their coordinator."""

    API_KEY = 65

    def __init__(self, transactional_ids: list[str]) -> None:
        self._ids = transactional_ids

    def build(self, request_struct_class: type[_DescribeTransactions]) -> _DescribeTransactions:
        return request_struct_class(self._ids, _NO_TAGS)


class _Markers(Response):
    API_KEY = 27
    API_VERSION = 1
    SCHEMA = Schema(
        (
            "markers",
            CompactArray(
                ("producer_id", Int64),
                (
                    "topics",
                    CompactArray(
                        ("name", _flexible_text),
                        (
                            "partitions",
                            CompactArray(("partition", Int32), ("error_code", Int16), _TAGS),
                        ),
                        _TAGS,
                    ),
                ),
                _TAGS,
            ),
        ),
        _TAGS,
    )


class _WriteMarkers(RequestStruct):
    FLEXIBLE_VERSION = True
    API_KEY = 27
    API_VERSION = 1
    RESPONSE_TYPE = _Markers
    SCHEMA = Schema(
        (
            "markers",
            CompactArray(
                ("producer_id", Int64),
                ("producer_epoch", Int16),
                ("committed", Boolean),
                _partitions("name"),
                ("coordinator_epoch", Int32),
                _TAGS,
            ),
        ),
        _TAGS,
    )


class WriteAbortMarker(Request[_WriteMarkers]):
    """The marker that ends a producer's transaction in one partition as aborted, for its leader."""

    API_KEY = 27

    def __init__(
        self, topic: str, partition: int, producer_id: int, epoch: int, coordinator_epoch: int
    ) -> None:
        topics = _tagged({topic: [partition]})
        # A partition whose producer never wrote a marker has -1.
        coordinator = max(0, coordinator_epoch)
        self._marker = (producer_id, epoch, False, topics, coordinator, _NO_TAGS)

    def build(self, request_struct_class: type[_WriteMarkers]) -> _WriteMarkers:
        return request_struct_class([self._marker], _NO_TAGS)


def _tagged(topics: dict[str, list[int]]) -> list[tuple[str, list[int], dict[int, bytes]]]:
    return [(name, partitions, _NO_TAGS) for name, partitions in topics.items()]
