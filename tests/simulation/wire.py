"""The connection between a worker and the model of Kafka: what it may do to a request."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Literal, TypeVar

from tests.simulation.model import RefusedError

T = TypeVar("T")

Fault = Literal["lost", "unanswered", "delayed", "refused", "again", "echoed"]

# The request: does not arrive; arrives, its answer does not; arrives later, when nobody waits any
# more; is refused. The last two: the connection broke and the client sent the request again without
# a word; the first copy arrived just before, or will arrive later.
FAULTS: tuple[Fault, ...] = ("lost", "unanswered", "delayed", "refused", "again", "echoed")


class LostError(Exception):
    """No answer came within the deadline."""


class Wire:
    """Carries requests, the next of them with a fault if there is one."""

    def __init__(self, late: list[Callable[[], object]]) -> None:
        """`late` is where requests go that are to arrive when nobody waits for them any more."""
        self.fault: Fault | None = None
        self.losses = 0
        self.most: int | None = None  # so many losses, and no more, let a request go out
        self._late = late

    def call(self, ask: Callable[..., T], *given: Any) -> T:
        request = partial(ask, *given)
        if self.most is not None and self.losses > self.most:
            raise LostError
        fault, self.fault = self.fault, None
        if fault is None:
            return request()
        if fault == "refused":
            raise RefusedError("not now")
        if fault in ("again", "unanswered"):
            arrive(request)
        if fault in ("delayed", "echoed"):
            self._late.append(request)
        if fault in ("again", "echoed"):
            self.losses += 1
            return request()
        raise LostError


def arrive(request: Callable[[], object]) -> None:
    """Let a request arrive whose answer nobody hears."""
    with suppress(RefusedError):
        request()
