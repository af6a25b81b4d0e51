"""The facts that the checks of `bluetick doctor` judge, as plain values. Pure."""

from collections.abc import Mapping

import msgspec


class Broker(msgspec.Struct, frozen=True, kw_only=True):
    """The cluster: its brokers, levels of features, and settings of each broker by its id.

    `operations` are the bits of what this user may do; None if the broker does not say. `refused`
    is why the settings are not known.
    """

    addresses: str
    brokers: Mapping[int, str]
    controller: int | None
    features: Mapping[str, int]
    operations: int | None
    settings: Mapping[int, Mapping[str, str]]
    refused: str = ""


class Replicas(msgspec.Struct, frozen=True):
    """A partition of a topic; leader -1 is none."""

    partition: int
    leader: int
    replicas: int
    in_sync: int


class Topic(msgspec.Struct, frozen=True, kw_only=True):
    """A topic: the error of the broker (0 for none), its partitions, and deviations of settings.

    `expected_partitions` is None for a topic of another namespace. `config` has effective values;
    `deviations` has, by setting, the value found and the expected one.
    """

    name: str
    error: int
    partitions: tuple[Replicas, ...] = ()
    expected_partitions: int
    foreign: bool = False
    operations: int | None = None
    config: Mapping[str, str] = {}
    deviations: Mapping[str, tuple[str | None, str]] = {}


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A partition that a group reads; `waiting` is the age in seconds of its oldest unread record.

    `member` is the owner's id, None without one.
    """

    topic: str
    partition: int
    begin: int
    end: int
    committed: int | None
    lag: int
    member: str | None
    waiting: float | None = None


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """The consumer group of a processor; not `described` if this user may not.

    `denied` is Kafka's refusal of the records whose age is not known.
    """

    name: str
    processor: str
    state: str = ""
    members: int = 0
    places: tuple[Place, ...] = ()
    described: bool = True
    denied: str = ""


class Ingest(msgspec.Struct, frozen=True, kw_only=True):
    """The health of ingest; `why` is the reason if it does not answer at its health address.

    `problems` are why it refuses webhooks, `warnings` why it is degraded. `fill` is the share of
    the spool's bounds in use, None without a spool; `sources` has the seconds since the last
    accepted webhook of each source, of those that have sent one since the start.
    """

    address: str
    why: str = ""
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    fill: float | None = None
    bodies: int = 0
    sources: Mapping[str, float] = {}


class Webhooks(msgspec.Struct, frozen=True, kw_only=True):
    """The webhooks of a provider on Kafka: the seconds since the last one, None without any.

    `day_before` counts those of the hour that ended 24 hours ago.
    """

    provider: str
    age: float | None
    day_before: int


class Clock(msgspec.Struct, frozen=True):
    """How many seconds this machine's clock is ahead of Kafka's; None if unknown, and why."""

    offset: float | None
    why: str = ""


class Slot(msgspec.Struct, frozen=True, kw_only=True):
    """A slot of the spool; `age` is that of its oldest body in seconds, `error` why it is unread.

    `damaged` are files that ingest has set aside.
    """

    name: str
    in_use: bool = False
    bodies: int = 0
    bytes: int = 0
    age: float = 0.0
    damaged: tuple[str, ...] = ()
    error: str = ""


class Spool(msgspec.Struct, frozen=True, kw_only=True):
    """The spool, with the bounds of each slot; `directory` is None without one."""

    directory: str | None
    max_bytes: int
    max_age: float
    slots: tuple[Slot, ...] = ()


class Disk(msgspec.Struct, frozen=True, kw_only=True):
    """The file system of a directory, in bytes; `needed` is what the directory may still grow by.

    `writable` is None if the directory does not exist yet.
    """

    setting: str
    directory: str
    total: int
    free: int
    needed: int = 0
    writable: bool | None = None


class Versions(msgspec.Struct, frozen=True, kw_only=True):
    """Versions in use, and by partition the newest state format found on `messages`."""

    bluetick: str
    python: str
    aiokafka: str
    tested_kafka: str
    state_format: int
    formats: Mapping[int, int]


class Limits(msgspec.Struct, frozen=True):
    """The settings that Kafka's settings must allow, in seconds."""

    session_timeout: float
    transaction_timeout: float


class Rights(msgspec.Struct, frozen=True):
    """What this user may do: the bits of operations by topic and by group."""

    topics: Mapping[str, int | None]
    groups: Mapping[str, int | None]
