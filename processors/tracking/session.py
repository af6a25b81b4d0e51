"""The state of a tracker's task between two recoveries."""

from collections.abc import Sequence
from dataclasses import dataclass

from processors.runtime.exactly_once.session import Session as AnySession
from processors.tracking.state_store import Store


@dataclass(slots=True)
class Session(AnySession[Store]):
    """Also the outputs that consumers see already; records before `repaired_to` were committed.

    `left_out` are the keys of states that were not restored.
    """

    seen: frozenset[bytes]
    repaired_to: int
    left_out: Sequence[bytes] = ()
