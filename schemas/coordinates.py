"""Positions on Kafka."""

from typing import NamedTuple, Protocol

Partition = tuple[str, int]
"""A partition: its topic and its number."""


class Coordinates(NamedTuple):
    """The position of one record."""

    topic: str
    partition: int
    offset: int


class Positioned(Protocol):
    """A record that has a position, from whatever source."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...


def at(record: Positioned) -> Coordinates:
    """The position of a record."""
    return Coordinates(record.topic, record.partition, record.offset)
