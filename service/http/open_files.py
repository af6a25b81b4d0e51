"""Open files of a process: its limit, and how many of them connections may take.

Every connection is an open file; Kafka's client, RocksDB and the spool need open files too. The
number of connections is bounded far enough below the limit.
"""

import resource
import sys
from contextlib import suppress
from typing import NamedTuple

# Reserved for everything but connections: Kafka's brokers, the stores, the log, the listeners, and
# connections that are accepted and not counted yet.
RESERVE = 128

# The maximum of the health address; probes and a scraper need a few.
_MOST_HEALTH = 64
_LEAST_HEALTH = 4

_UNLIMITED = resource.RLIM_INFINITY


class Shares(NamedTuple):
    """The maximum number of connections of each address of a process."""

    health: int
    senders: int


def raise_limit() -> int:
    """Raise the limit of open files as far as the system allows; returns it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS reports "unlimited" but enforces a limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == _UNLIMITED else soft


def shares(limit: int, wanted: int = 0) -> Shares:
    """Divide the limit; `wanted` is the wanted number of sender connections."""
    reserve = min(RESERVE, limit // 2)
    health = max(_LEAST_HEALTH, min(_MOST_HEALTH, limit // 16))
    return Shares(health, max(1, min(wanted, limit - reserve - health)))
