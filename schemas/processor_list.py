"""The processors, as data: what each reads, asks about and writes, its group and its health port.

`PROCESSORS` is the only list of them. Topic names, settings, commands, `up`, `rebuild` and
`namespace` read it: a new processor is a folder in `processors/` and an entry here.
"""

from dataclasses import dataclass
from typing import Literal

TopicKind = Literal[
    "raw",
    "observations",
    "statuses",
    "events",
    "messages",
    "inbound",
    "dead-letters",
    "quality",
    "quality-changes",
    "quality-contributions",
]


@dataclass(frozen=True)
class Processor:
    """A service that reads topics as a consumer group and writes others.

    `name` is the name of its command, the suffix of its consumer group and the prefix of its
    setting, `BLUETICK_<NAME>_HEALTH_PORT`, whose default is `health_port`. `code` is where its
    code is, `module:callable`, as text: this package imports nothing.
    """

    name: str
    summary: str
    code: str
    inputs: tuple[TopicKind, ...]
    outputs: tuple[TopicKind, ...]
    health_port: int
    # Topics whose offsets it asks for, and does not read.
    asks: tuple[TopicKind, ...] = ()
    # Whether it keeps files, by partition, in the data directory.
    keeps_state: bool = False

    @property
    def port_setting(self) -> str:
        """The setting that holds the port of its health and metrics."""
        return f"{self.name}_health_port"


NORMALISE = Processor(
    "normalise",
    "Turn raw bodies into observations and dead letters.",
    "processors.normalising.normaliser:Normaliser",
    inputs=("raw",),
    outputs=("observations", "dead-letters"),
    health_port=8081,
)

TRACK = Processor(
    "track",
    "Turn observations into statuses, events, inbound messages and the state of each message.",
    "processors.tracking.tracker:Tracker",
    inputs=("observations",),
    outputs=("statuses", "events", "messages", "inbound", "dead-letters"),
    health_port=8082,
    # Its timers wait until normalise has read all raw bodies.
    asks=("raw",),
    keeps_state=True,
)

MEASURE = Processor(
    "measure",
    "Turn the states of messages into figures of delivery quality.",
    "processors.quality.measurer:Measurer",
    # It reads its own changes: the cells of a route are on another partition than its messages.
    inputs=("messages", "quality-changes"),
    outputs=("quality", "quality-changes", "quality-contributions"),
    health_port=8084,
    keeps_state=True,
)

# Each after those whose outputs it reads.
PROCESSORS: tuple[Processor, ...] = (NORMALISE, TRACK, MEASURE)


def processor(name: str) -> Processor:
    """The processor of that name."""
    return next(one for one in PROCESSORS if one.name == name)
