"""Where the transactions of one input partition write, and for which group."""

from typing import NamedTuple

from aiokafka import TopicPartition


class Outputs(NamedTuple):
    """The outputs of a task; `name` is its processor's, which failpoints begin with.

    `own`: no other producer writes there; the first one is the changelog. `shared`: no other
    transactional producer does, but a visible record there proves nothing about a transaction.
    """

    name: str
    group: str
    own: tuple[TopicPartition, ...]
    shared: tuple[TopicPartition, ...] = ()

    @property
    def changelog(self) -> TopicPartition:
        return self.own[0]
