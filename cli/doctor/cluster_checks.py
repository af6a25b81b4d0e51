"""The checks of the broker and the topics: from facts to findings. Pure."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from cli.doctor.facts import Broker, Limits, Replicas, Topic
from cli.doctor.findings import Finding, Level

# Kafka's error codes of a topic.
_UNKNOWN_TOPIC, _NOT_AUTHORIZED = 3, 29

_SAFE_BROKERS = 3
_REQUEST_MS = 5_000
_RETENTION_MINUTES = 24 * 60
_SHOWN = 6


def check_broker(broker: Broker, limits: Limits) -> list[Finding]:
    """Judge the cluster, and its brokers' settings against ours."""
    names = ", ".join(f"{id_} ({address})" for id_, address in sorted(broker.brokers.items()))
    known = {"addresses": broker.addresses, "brokers": names, "controller": broker.controller}
    found = [Finding("ok", "broker_answers", **known)]
    if len(broker.brokers) < _SAFE_BROKERS:
        found.append(Finding("info", "replicas_fewer_than_safe", brokers=len(broker.brokers)))
    if broker.refused:
        found.append(Finding("warning", "broker_settings_unknown", why=broker.refused))
    for id_, settings in sorted(broker.settings.items()):
        found += _timeouts(id_, settings, limits)
        found += _other_settings(id_, settings)
    return found


def _timeouts(broker: int, settings: Mapping[str, str], limits: Limits) -> Iterator[Finding]:
    """Yield timeouts of the broker that refuse a producer or a member of ours."""
    seconds = limits.transaction_timeout
    longest = _number(settings, "transaction.max.timeout.ms")
    if longest is not None and longest < seconds * 1000:
        yield Finding(
            "problem",
            "transaction_timeout_too_long",
            broker=broker,
            found=longest,
            seconds=seconds,
        )
    session = limits.session_timeout
    least = _number(settings, "group.min.session.timeout.ms")
    most = _number(settings, "group.max.session.timeout.ms")
    refusing = {
        "group.min.session.timeout.ms": least if least and least > session * 1000 else None,
        "group.max.session.timeout.ms": most if most and most < session * 1000 else None,
    }
    for setting, value in refusing.items():
        if value is not None:
            yield Finding(
                "problem",
                "session_timeout_refused",
                broker=broker,
                setting=setting,
                found=value,
                seconds=session,
            )


def _other_settings(broker: int, settings: Mapping[str, str]) -> Iterator[Finding]:
    request = _number(settings, "request.timeout.ms")
    if request is not None and request < _REQUEST_MS:
        yield Finding(
            "warning", "request_timeout_short", broker=broker, found=request, least=_REQUEST_MS
        )
    retention = _number(settings, "offsets.retention.minutes")
    if retention is not None and retention < _RETENTION_MINUTES:
        yield Finding(
            "warning",
            "offsets_retention_short",
            broker=broker,
            found=retention,
            least=_RETENTION_MINUTES,
        )
    if settings.get("auto.create.topics.enable") == "true":
        yield Finding("warning", "topics_are_created_by_use", broker=broker)


def _number(settings: Mapping[str, str], name: str) -> int | None:
    value = settings.get(name, "")
    return int(value) if value.lstrip("-").isdecimal() else None


def check_topics(topics: Sequence[Topic]) -> list[Finding]:
    """Judge the topics, their settings and replicas."""
    found = [finding for topic in topics for finding in _topic(topic)]
    found += _partitions(
        topics, "problem", "partition_without_leader", lambda _, one: one.leader < 0
    )
    found += _partitions(
        topics,
        "problem",
        "partition_below_min_isr",
        lambda topic, one: one.leader >= 0 and one.in_sync < _min_in_sync(topic),
    )
    found += _partitions(
        topics,
        "warning",
        "partition_under_replicated",
        lambda topic, one: _min_in_sync(topic) <= one.in_sync < one.replicas,
    )
    return found or [Finding("ok", "topics_fine", topics=len(topics))]


def _topic(topic: Topic) -> Iterator[Finding]:
    name = topic.name
    if topic.error == _UNKNOWN_TOPIC:
        code = "foreign_topic_missing" if topic.foreign else "topic_missing"
        yield Finding("problem", code, topic=name)
    elif topic.error == _NOT_AUTHORIZED:
        # The part of the rights judges whether a service needs it.
        yield Finding("info", "topic_not_described", topic=name)
    elif topic.error:
        yield Finding("problem", "topic_unavailable", topic=name, error=topic.error)
    elif len(topic.partitions) != topic.expected_partitions:
        yield Finding(
            "problem",
            "topic_partitions_differ",
            topic=name,
            found=len(topic.partitions),
            expected=topic.expected_partitions,
        )
    for setting, (value, expected) in topic.deviations.items():
        yield Finding(
            "warning",
            "topic_setting_differs",
            topic=name,
            setting=setting,
            found=value,
            expected=expected,
        )
    if topic.config.get("unclean.leader.election.enable") == "true":
        yield Finding("problem", "topic_loses_records", topic=name)


def _min_in_sync(topic: Topic) -> int:
    return _number(topic.config, "min.insync.replicas") or 1


def _partitions(
    topics: Iterable[Topic], level: Level, code: str, bad: Callable[[Topic, Replicas], bool]
) -> Iterator[Finding]:
    """Yield one finding for all partitions for which `bad` holds, if there are any."""
    places = [
        f"{topic.name}/{one.partition}"
        for topic in topics
        for one in topic.partitions
        if bad(topic, one)
    ]
    if places:
        yield Finding(level, code, places=listed(places))


def listed(places: Sequence[str]) -> str:
    """Return the first places as text, and the number of the others."""
    more = len(places) - _SHOWN
    return ", ".join(places[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
