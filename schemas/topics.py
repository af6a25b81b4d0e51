"""The topics: their names, partitioning and broker settings, as data."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from zlib import crc32

_DAY = 24 * 3600 * 1000
_MiB = 1024 * 1024

# A provider may repeat itself for a week and start a fallback after 30 days.
STATE_TTL_DAYS = 45

# How long a compacted topic keeps the sign that a state was dropped.
TOMBSTONE_DAYS = 7

# A body, with its headers, must fit the broker's default of 1 MiB for one message.
MAX_BODY = 900 * 1024


# The topics and groups by which a namespace is known; the other names are anybody's.
_MARKS = (".observations", ".dead-letters")
_GROUP_MARKS = (".normalise", ".track")


@dataclass(frozen=True)
class TopicSpec:
    """One topic as it should be on the broker; `config` holds broker settings as strings."""

    name: str
    partitions: int
    config: dict[str, str]


@dataclass(frozen=True)
class Topics:
    """The topic names of one namespace.

    A namespace that was rebuilt may use raw topics, or observations, of another one: those are
    foreign. Groups, transactional ids and all else are always its own. Each of the `providers` has
    a raw topic.
    """

    namespace: str = "bluetick"
    raw_namespace: str | None = None
    observations_namespace: str | None = None
    providers: tuple[str, ...] = field(kw_only=True)

    @property
    def source(self) -> "Topics":
        """The topics of the namespace whose observations are tracked: it normalises them."""
        return Topics(self.observed, self.raw_from, providers=self.providers)

    @property
    def observed(self) -> str:
        """The namespace of the observations."""
        return self.observations_namespace or self.namespace

    @property
    def raw_from(self) -> str:
        """The namespace of the raw topics."""
        return self.raw_namespace or self.observed

    def raw(self, provider: str) -> str:
        return f"{self.raw_from}.raw.{provider}"

    @property
    def raw_topics(self) -> tuple[str, ...]:
        return tuple(self.raw(provider) for provider in self.providers)

    def provider_of(self, raw_topic: str) -> str:
        """The provider whose bodies a raw topic holds."""
        return raw_topic.removeprefix(f"{self.raw_from}.raw.")

    @property
    def observations(self) -> str:
        return f"{self.observed}.observations"

    @property
    def statuses(self) -> str:
        return f"{self.namespace}.statuses"

    @property
    def events(self) -> str:
        return f"{self.namespace}.events"

    @property
    def messages(self) -> str:
        return f"{self.namespace}.messages"

    @property
    def inbound(self) -> str:
        return f"{self.namespace}.inbound"

    @property
    def dead_letters(self) -> str:
        return f"{self.namespace}.dead-letters"

    @property
    def clocks(self) -> str:
        """To it services write to learn Kafka's time (decision 21); no program reads it."""
        return f"{self.namespace}.clocks"

    @property
    def all(self) -> tuple[str, ...]:
        """Every topic the services use."""
        return (*self.required, self.clocks)

    @property
    def required(self) -> tuple[str, ...]:
        """Those without which they cannot work: namespaces made before have no `clocks`."""
        return (
            *self.raw_topics,
            self.observations,
            self.statuses,
            self.events,
            self.messages,
            self.inbound,
            self.dead_letters,
        )

    @property
    def foreign(self) -> tuple[str, ...]:
        """Those of them that are another namespace's: never created, changed or deleted here."""
        raw = self.raw_topics if self.raw_from != self.namespace else ()
        tracked = (self.observations,) if self.observed != self.namespace else ()
        return (*raw, *tracked)

    @property
    def groups(self) -> tuple[str, ...]:
        """The consumer groups of the services."""
        return self.group("normalise"), self.group("track")

    def inputs(self, service: str) -> tuple[str, ...]:
        """The topics a service, `normalise` or `track`, reads."""
        return self.raw_topics if service == "normalise" else (self.observations,)

    def needed(self, service: str) -> tuple[str, ...]:
        """The topics a service, `normalise` or `track`, reads, asks about or writes."""
        derived = (self.statuses, self.events, self.messages, self.inbound)
        written = () if service == "normalise" else derived
        return (*self.raw_topics, self.observations, *written, self.dead_letters)

    def group(self, service: str) -> str:
        """The consumer group of a service, `normalise` or `track`."""
        return f"{self.namespace}.{service}"

    def transactional_id(self, partition: int) -> str:
        """The tracker's fencing token: one a partition, whoever owns it (decision 3)."""
        return f"{self.namespace}.track.{partition}"

    def specs(self, partitions: int) -> list[TopicSpec]:
        """Every topic of the namespace's own; all but `clocks` have so many partitions."""
        return [spec for spec in self._specs(partitions) if spec.name not in self.foreign]

    def _specs(self, partitions: int) -> list[TopicSpec]:
        return [
            *(TopicSpec(name, partitions, _kept(days=30)) for name in self.raw_topics),
            # An observation wraps part of a body in a record of ours, so it may be larger than it.
            TopicSpec(self.observations, partitions, _kept(days=7, largest=2 * _MiB)),
            TopicSpec(self.statuses, partitions, _kept(days=30, largest=2 * _MiB)),
            TopicSpec(self.events, partitions, _kept(days=30, largest=2 * _MiB)),
            TopicSpec(self.messages, partitions, _state()),
            TopicSpec(self.inbound, partitions, _kept(days=30, largest=2 * _MiB)),
            TopicSpec(self.dead_letters, partitions, _kept(days=90, largest=2 * _MiB)),
            TopicSpec(self.clocks, 1, _clocks()),
        ]


# A record's time is its writer's: replays seek by it, the tracker knows by it which of its records
# belong together, and its store knows its place in the log by offset and time (its anchor).
_TIMES = {"message.timestamp.type": "CreateTime"}


def _clocks() -> dict[str, str]:
    """A few records a minute and process, each of no use once its time is known."""
    hour = str(3_600_000)
    return {
        "cleanup.policy": "delete",
        "retention.ms": hour,
        "segment.ms": hour,
        "message.timestamp.type": "LogAppendTime",
    }


def _kept(*, days: int, largest: int | None = None) -> dict[str, str]:
    config = {"cleanup.policy": "delete", "retention.ms": str(days * _DAY), **_TIMES}
    return config if largest is None else config | {"max.message.bytes": str(largest)}


def _state() -> dict[str, str]:
    """State is compacted, kept past its time to live, and may hold thousands of viewers."""
    return {
        "cleanup.policy": "compact,delete",
        "retention.ms": str((STATE_TTL_DAYS + 1) * _DAY),
        "delete.retention.ms": str(TOMBSTONE_DAYS * _DAY),
        "max.message.bytes": str(8 * _MiB),
        **_TIMES,
    }


def partition_of(key: str, partitions: int) -> int:
    """The partition of a keyed record: `crc32(key) % partitions`, the same on every topic."""
    return crc32(key.encode()) % partitions


def namespaces(topics: Iterable[str], groups: Iterable[str], providers: Iterable[str]) -> list[str]:
    """The namespaces that topics and groups of these names belong to, in order."""
    raw = (f".raw.{provider}" for provider in providers)
    topic_marks = (*raw, *_MARKS)
    marked = [(name, topic_marks) for name in topics] + [(name, _GROUP_MARKS) for name in groups]
    return sorted(
        {
            name.removesuffix(mark)
            for name, marks in marked
            for mark in marks
            # "." and ".." are no names, and would be directories.
            if name.endswith(mark) and name.removesuffix(mark).strip(".")
        }
    )
