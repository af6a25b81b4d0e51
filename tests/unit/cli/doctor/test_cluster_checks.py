"""Brokers and topics: facts and the codes of their findings."""

from typing import Any

import pytest
from msgspec.structs import replace

from cli.doctor.cluster_checks import check_broker, check_topics, listed
from cli.doctor.facts import Broker, Limits, Replicas, Topic
from cli.doctor.findings import Finding

LIMITS = Limits(session_timeout=30.0, transaction_timeout=15.0)
BROKER = Broker(
    addresses="k:9092",
    brokers={1: "k1:9092", 2: "k2:9092", 3: "k3:9092"},
    controller=1,
    features={},
    operations=None,
    settings={},
)
TOPIC = Topic(
    name="ns.statuses",
    error=0,
    partitions=(Replicas(0, 1, 3, 3), Replicas(1, 2, 3, 3)),
    expected_partitions=2,
    config={"min.insync.replicas": "2"},
)


def codes(findings: list[Finding]) -> list[tuple[str, str]]:
    """Return level and code of each finding, and make sure that its words fit its fields."""
    assert all(one.message for one in findings)
    assert all("{" not in one.message + one.remedy for one in findings)
    return [(one.level, one.code) for one in findings]


@pytest.mark.parametrize(
    ("setting", "value", "expected"),
    [
        ("transaction.max.timeout.ms", "900000", []),
        ("transaction.max.timeout.ms", "15000", []),
        ("transaction.max.timeout.ms", "14999", [("problem", "transaction_timeout_too_long")]),
        ("group.min.session.timeout.ms", "30000", []),
        ("group.min.session.timeout.ms", "30001", [("problem", "session_timeout_refused")]),
        ("group.max.session.timeout.ms", "29999", [("problem", "session_timeout_refused")]),
        ("request.timeout.ms", "5000", []),
        ("request.timeout.ms", "4999", [("warning", "request_timeout_short")]),
        ("offsets.retention.minutes", "1439", [("warning", "offsets_retention_short")]),
        ("auto.create.topics.enable", "true", [("warning", "topics_are_created_by_use")]),
        ("auto.create.topics.enable", "false", []),
        ("request.timeout.ms", "", []),
    ],
)
def test_settings_of_a_broker(setting: str, value: str, expected: list[tuple[str, str]]) -> None:
    """A setting of any broker that ours do not fit is a finding about that broker."""
    found = check_broker(replace(BROKER, settings={1: {}, 2: {setting: value}}), LIMITS)
    assert codes(found) == [("ok", "broker_answers"), *expected]
    assert [one.fields["broker"] for one in found[1:]] == [2] * len(expected)


def test_a_small_or_secretive_cluster() -> None:
    """Fewer than three brokers, or settings that this user may not read, are said."""
    small = replace(BROKER, brokers={1: "k1:9092"}, refused="ClusterAuthorizationFailedError")
    assert codes(check_broker(small, LIMITS)) == [
        ("ok", "broker_answers"),
        ("info", "replicas_fewer_than_safe"),
        ("warning", "broker_settings_unknown"),
    ]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [("ok", "topics_fine")]),
        ({"error": 3, "partitions": ()}, [("problem", "topic_missing")]),
        (
            {"error": 3, "partitions": (), "foreign": True},
            [("problem", "foreign_topic_missing")],
        ),
        ({"error": 29, "partitions": ()}, [("info", "topic_not_described")]),
        ({"error": 17, "partitions": ()}, [("problem", "topic_unavailable")]),
        ({"expected_partitions": 6}, [("problem", "topic_partitions_differ")]),
        (
            {"deviations": {"retention.ms": ("1", "2")}},
            [("warning", "topic_setting_differs")],
        ),
        (
            {"config": {"unclean.leader.election.enable": "true"}},
            [("problem", "topic_loses_records")],
        ),
        (
            {"partitions": (Replicas(0, -1, 3, 0), Replicas(1, 2, 3, 3))},
            [("problem", "partition_without_leader")],
        ),
        (
            {"partitions": (Replicas(0, 1, 3, 1), Replicas(1, 2, 3, 3))},
            [("problem", "partition_below_min_isr")],
        ),
        (
            {"partitions": (Replicas(0, 1, 3, 2), Replicas(1, 2, 3, 3))},
            [("warning", "partition_under_replicated")],
        ),
    ],
)
def test_a_topic(changes: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    """Each deviation of one topic is found beside another topic that is fine."""
    fine = replace(TOPIC, name="ns.events")
    assert codes(check_topics([fine, replace(TOPIC, **changes)])) == expected


def test_many_places_are_counted() -> None:
    """A finding about hundreds of partitions stays short."""
    assert listed(["a"]) == "a"
    assert listed([str(number) for number in range(8)]) == "0, 1, 2, 3, 4, 5 and 2 more"
