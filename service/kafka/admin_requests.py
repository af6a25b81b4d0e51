"""Requests of Kafka's protocol that aiokafka 0.14 lacks: the cluster, its groups and features.

Each class names the versions of its structs; aiokafka chooses one that the broker has.
"""

from io import BytesIO
from typing import Any

from aiokafka.protocol.api import Request, RequestStruct, Response, ResponseHeader_v0
from aiokafka.protocol.types import (
    Array,
    Boolean,
    Bytes,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    String,
    TaggedFields,
)

_TAGS = ("tags", TaggedFields)
_text, _flexible_text = String("utf-8"), CompactString("utf-8")
_NO_TAGS: dict[int, bytes] = {}
_NOT_GIVEN = -(2**31)


def given(operations: int) -> int | None:
    """Return the bits of what a user may do; None if Kafka does not say."""
    return None if operations == _NOT_GIVEN else operations


class _Cluster(Response):
    API_KEY = 3
    API_VERSION = 8
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            Array(("node_id", Int32), ("host", _text), ("port", Int32), ("rack", _text)),
        ),
        ("cluster_id", _text),
        ("controller_id", Int32),
        (
            "topics",
            Array(
                ("error_code", Int16),
                ("name", _text),
                ("is_internal", Boolean),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", Array(Int32)),
                        ("isr", Array(Int32)),
                        ("offline", Array(Int32)),
                    ),
                ),
                ("operations", Int32),
            ),
        ),
        ("operations", Int32),
    )


class _DescribeCluster(RequestStruct):
    API_KEY = 3
    API_VERSION = 8
    RESPONSE_TYPE = _Cluster
    SCHEMA = Schema(
        ("topics", Array(_text)),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_operations", Boolean),
        ("include_topic_operations", Boolean),
    )


class DescribeCluster(Request[_DescribeCluster]):
    """Metadata of the cluster and of named topics, with the operations this user may do."""

    API_KEY = 3

    def __init__(self, topics: list[str]) -> None:
        self._topics = topics

    def build(self, request_struct_class: type[_DescribeCluster]) -> _DescribeCluster:
        return request_struct_class(self._topics, False, True, True)  # noqa: FBT003


class _Groups(Response):
    API_KEY = 15
    API_VERSION = 4
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "groups",
            Array(
                ("error_code", Int16),
                ("name", _text),
                ("state", _text),
                ("protocol_type", _text),
                ("protocol", _text),
                (
                    "members",
                    Array(
                        ("id", _text),
                        ("instance", _text),
                        ("client", _text),
                        ("host", _text),
                        ("metadata", Bytes),
                        ("assignment", Bytes),
                    ),
                ),
                ("operations", Int32),
            ),
        ),
    )


class _DescribeGroups(RequestStruct):
    API_KEY = 15
    API_VERSION = 4
    RESPONSE_TYPE = _Groups
    SCHEMA = Schema(("groups", Array(_text)), ("include_operations", Boolean))


class DescribeGroups(Request[_DescribeGroups]):
    """Consumer groups with their members, for their coordinator.

    aiokafka decodes the answer to its own request wrongly.
    """

    API_KEY = 15

    def __init__(self, groups: list[str]) -> None:
        self._groups = groups

    def build(self, request_struct_class: type[_DescribeGroups]) -> _DescribeGroups:
        return request_struct_class(self._groups, True)  # noqa: FBT003


class _Features(Response):
    API_KEY = 18
    API_VERSION = 3
    # The finalized features are in a tagged field: see `finalized`.
    SCHEMA = Schema(
        ("error_code", Int16),
        (
            "api_versions",
            CompactArray(("key", Int16), ("least", Int16), ("most", Int16), _TAGS),
        ),
        ("throttle_time_ms", Int32),
        _TAGS,
    )


class _DescribeFeatures(RequestStruct):
    FLEXIBLE_VERSION = True
    API_KEY = 18
    API_VERSION = 3
    RESPONSE_TYPE = _Features
    SCHEMA = Schema(("name", _flexible_text), ("version", _flexible_text), _TAGS)

    def parse_response_header(self, read_buffer: Any) -> ResponseHeader_v0:
        """Return the header: that of this answer alone has no tagged fields."""
        return ResponseHeader_v0.decode(read_buffer)


class DescribeFeatures(Request[_DescribeFeatures]):
    """The features that the cluster has finalized, above all its metadata.version."""

    API_KEY = 18

    def __init__(self, version: str) -> None:
        self._version = version

    def build(self, request_struct_class: type[_DescribeFeatures]) -> _DescribeFeatures:
        return request_struct_class("bluetick", self._version, _NO_TAGS)


_FINALIZED_TAG = 2
_FINALIZED = CompactArray(("name", _flexible_text), ("most", Int16), ("least", Int16), _TAGS)


def finalized(answer: Any) -> dict[str, int]:
    """Return the level of each finalized feature in the answer to `DescribeFeatures`."""
    field = answer.tags.get(_FINALIZED_TAG)
    rows: Any = _FINALIZED.decode(BytesIO(field)) if field else ()
    return {name: most for name, most, *_ in rows or ()}
