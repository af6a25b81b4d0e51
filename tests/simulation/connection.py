"""The connection between a worker and the model of Kafka, with faults of requests."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Literal, TypeVar

from tests.simulation.kafka_model import RefusedError

T = TypeVar("T")

Fault = Literal["lost", "unanswered", "delayed", "refused", "again", "echoed"]

# lost: the request does not arrive. unanswered: it arrives, its answer does not. delayed: it
# arrives later, when no caller waits any more. refused: the broker refuses it. again and echoed:
# the connection broke and the client silently sent the request again; the first copy arrived just
# before (again), or will arrive later (echoed).
FAULTS: tuple[Fault, ...] = ("lost", "unanswered", "delayed", "refused", "again", "echoed")


class LostError(Exception):
    """No answer came within the deadline."""


class Connection:
    """Carries requests; `fault` applies to the next one."""

    def __init__(self, late: list[Callable[[], object]]) -> None:
        """`late` collects the requests that arrive when no caller waits for them any more."""
        self.fault: Fault | None = None
        self.losses = 0
        self.most: int | None = None  # with more losses than this no request is sent
        self._late = late

    def call(self, request: Callable[..., T], *given: Any) -> T:
        bound = partial(request, *given)
        if self.most is not None and self.losses > self.most:
            raise LostError
        fault, self.fault = self.fault, None
        if fault is None:
            return bound()
        if fault == "refused":
            raise RefusedError("not now")
        if fault in ("again", "unanswered"):
            arrive(bound)
        if fault in ("delayed", "echoed"):
            self._late.append(bound)
        if fault in ("again", "echoed"):
            self.losses += 1
            return bound()
        raise LostError


def arrive(request: Callable[[], object]) -> None:
    """Let a request arrive; its answer is lost."""
    with suppress(RefusedError):
        request()
