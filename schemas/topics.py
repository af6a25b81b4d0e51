"""The topics: their names, partitioning and broker settings, as data."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from zlib import crc32

from schemas.processor_list import PROCESSORS, TopicKind, processor

_DAY = 24 * 3600 * 1000
_MiB = 1024 * 1024

# A provider may resend for a week and start a fallback after 30 days.
STATE_TTL_DAYS = 45

# How long `messages` keeps the earlier states of a message: a recovery may need the last but one.
COMPACTION_LAG_MS = 3_600_000

# How long a compacted topic keeps the tombstone of a dropped state.
TOMBSTONE_DAYS = 7

# A body with its headers must fit the broker's default of 1 MiB for a record.
MAX_BODY = 900 * 1024


# The suffixes of topics and groups that identify a namespace; others are too common.
_TOPIC_SUFFIXES = (".observations", ".dead-letters")
_GROUP_SUFFIXES = tuple(f".{one.name}" for one in PROCESSORS)


@dataclass(frozen=True)
class TopicSpec:
    """The expected form of a topic; `config` holds its broker settings as strings."""

    name: str
    partitions: int
    config: dict[str, str]


@dataclass(frozen=True)
class Topics:
    """The topic names of one namespace.

    A rebuilt namespace may use raw topics, or observations, of another one: those are foreign.
    Groups, transactional ids and all other topics are always its own. Each of the `providers` has
    a raw topic.
    """

    namespace: str = "bluetick"
    raw_namespace: str | None = None
    observations_namespace: str | None = None
    providers: tuple[str, ...] = field(kw_only=True)

    @property
    def source(self) -> "Topics":
        """The topics of the namespace that normalises the tracked observations."""
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
        """Return the provider of a raw topic."""
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
    def quality(self) -> str:
        return f"{self.namespace}.quality"

    @property
    def quality_changes(self) -> str:
        """What to add to the cells of `quality`; no other program reads it."""
        return f"{self.namespace}.quality-changes"

    @property
    def quality_contributions(self) -> str:
        """What the cells hold of each message; no other program reads it."""
        return f"{self.namespace}.quality-contributions"

    @property
    def clocks(self) -> str:
        """Services write to it to learn Kafka's time (decision 21); no program reads it."""
        return f"{self.namespace}.clocks"

    @property
    def audit(self) -> str:
        """The console writes to it who revealed, retried and replayed what; no program reads it."""
        return f"{self.namespace}.audit"

    @property
    def all(self) -> tuple[str, ...]:
        """All topics that the services use."""
        return (*self.required, self.clocks, self.audit)

    @property
    def required(self) -> tuple[str, ...]:
        """The topics that services need; older namespaces lack `clocks` and `audit`."""
        return (
            *self.raw_topics,
            self.observations,
            self.statuses,
            self.events,
            self.messages,
            self.inbound,
            self.dead_letters,
            self.quality,
            self.quality_changes,
            self.quality_contributions,
        )

    @property
    def foreign(self) -> tuple[str, ...]:
        """The topics of another namespace: they are never created, changed or deleted here."""
        raw = self.raw_topics if self.raw_from != self.namespace else ()
        tracked = (self.observations,) if self.observed != self.namespace else ()
        return (*raw, *tracked)

    @property
    def groups(self) -> tuple[str, ...]:
        """The consumer groups of the processors."""
        return tuple(self.group(one.name) for one in PROCESSORS)

    @property
    def all_groups(self) -> tuple[str, ...]:
        """The consumer groups of the processors and of the console."""
        return (*self.groups, self.group("console"))

    def inputs(self, name: str) -> tuple[str, ...]:
        """The topics a processor reads."""
        return self._of(processor(name).inputs)

    def outputs(self, name: str) -> tuple[str, ...]:
        """The topics a processor writes."""
        return self._of(processor(name).outputs)

    def needed(self, name: str) -> tuple[str, ...]:
        """The topics a processor reads, asks about or writes."""
        one = processor(name)
        return self._of({*one.inputs, *one.asks, *one.outputs})

    def _of(self, kinds: Collection[TopicKind]) -> tuple[str, ...]:
        """The topics of these kinds, in the order of `required`."""
        others = [name for name in self.required if name not in self.raw_topics]
        raw = self.raw_topics if "raw" in kinds else ()
        return (*raw, *(name for name in others if name.rpartition(".")[2] in kinds))

    def group(self, name: str) -> str:
        """The consumer group of a processor."""
        return f"{self.namespace}.{name}"

    def transactional_id(self, partition: int) -> str:
        """The transactional id for a partition, the same for each owner (decision 3)."""
        return f"{self.namespace}.track.{partition}"

    def measuring_id(self, kind: TopicKind, partition: int) -> str:
        """The transactional id of measure for a partition of one of its inputs."""
        return f"{self.namespace}.measure.{kind}.{partition}"

    def specs(self, partitions: int) -> list[TopicSpec]:
        """Return all topics of the namespace itself; `clocks` and `audit` have one partition."""
        return [spec for spec in self._specs(partitions) if spec.name not in self.foreign]

    def _specs(self, partitions: int) -> list[TopicSpec]:
        return [
            *(TopicSpec(name, partitions, _retained(days=30)) for name in self.raw_topics),
            # An observation contains part of a body and more, so it may be larger than the body.
            TopicSpec(self.observations, partitions, _retained(days=7, largest=2 * _MiB)),
            TopicSpec(self.statuses, partitions, _retained(days=30, largest=2 * _MiB)),
            TopicSpec(self.events, partitions, _retained(days=30, largest=2 * _MiB)),
            TopicSpec(self.messages, partitions, _state()),
            TopicSpec(self.inbound, partitions, _retained(days=30, largest=2 * _MiB)),
            TopicSpec(self.dead_letters, partitions, _retained(days=90, largest=2 * _MiB)),
            TopicSpec(self.quality, partitions, _compacted()),
            TopicSpec(self.quality_changes, partitions, _retained(days=7)),
            TopicSpec(self.quality_contributions, partitions, _state()),
            TopicSpec(self.clocks, 1, _clocks()),
            TopicSpec(self.audit, 1, _retained(days=365)),
        ]


# The writer sets a record's time: replays seek by it, the tracker recognises the records of one
# transaction by it, and the anchor of its store is an offset and a time.
_TIMES = {"message.timestamp.type": "CreateTime"}


def _clocks() -> dict[str, str]:
    """Each process writes a few records a minute; each is useless once its time is known."""
    hour = str(3_600_000)
    return {
        "cleanup.policy": "delete",
        "retention.ms": hour,
        "segment.ms": hour,
        "message.timestamp.type": "LogAppendTime",
    }


def _retained(*, days: int, largest: int | None = None) -> dict[str, str]:
    config = {"cleanup.policy": "delete", "retention.ms": str(days * _DAY), **_TIMES}
    return config if largest is None else config | {"max.message.bytes": str(largest)}


def _state() -> dict[str, str]:
    """States are compacted, and retained longer than their time to live."""
    return {
        "cleanup.policy": "compact,delete",
        "retention.ms": str((STATE_TTL_DAYS + 1) * _DAY),
        "delete.retention.ms": str(TOMBSTONE_DAYS * _DAY),
        "min.compaction.lag.ms": str(COMPACTION_LAG_MS),
        "max.message.bytes": str(8 * _MiB),
        **_TIMES,
    }


def _compacted() -> dict[str, str]:
    """Figures are kept until the processor deletes them, each period after its own time."""
    return {
        "cleanup.policy": "compact",
        "delete.retention.ms": str(TOMBSTONE_DAYS * _DAY),
        **_TIMES,
    }


def partition_of(key: str, partitions: int) -> int:
    """Return a key's partition: `crc32(key) % partitions`, the same on every topic."""
    return crc32(key.encode()) % partitions


def namespaces(topics: Iterable[str], groups: Iterable[str], providers: Iterable[str]) -> list[str]:
    """Return the namespaces of topics and groups of these names, sorted."""
    raw = (f".raw.{provider}" for provider in providers)
    suffixes_of_topics = (*raw, *_TOPIC_SUFFIXES)
    found = [(name, suffixes_of_topics) for name in topics] + [
        (name, _GROUP_SUFFIXES) for name in groups
    ]
    return sorted(
        {
            name.removesuffix(suffix)
            for name, suffixes in found
            for suffix in suffixes
            # "." and ".." are not valid: a namespace names a directory.
            if name.endswith(suffix) and name.removesuffix(suffix).strip(".")
        }
    )
