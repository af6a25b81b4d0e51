"""The verdict on a fact, and the result of an observation. Pure."""

from typing import Literal

from msgspec import Struct

from processors.tracking.lifecycle.statuses import ASIDE, FAILURES, REACHED
from schemas.records import MessageState, Status, StatusObservation, Verdict, ViewerState

PastBound = Literal["too_many_attempts", "too_many_words", "too_many_replies"]
"""Why a state does not keep an observation's fact; it is the code of a dead letter."""


class Judged(Struct, frozen=True, gc=False):
    """The states after an observation, and the verdict on it.

    `viewer` is the viewer's state, None if the observation is not of a viewer. `previous` is the
    status of the attempt (or viewer's ladder) before; None if this was its first fact.
    """

    state: MessageState
    viewer: ViewerState | None
    verdict: Verdict | PastBound
    previous: Status | None


def verdict_on(
    before: Status | None, after: Status | None, new: StatusObservation, previous: Status | None
) -> Verdict:
    """Return the verdict on a new fact, by its ladder's status before and by the move it made."""
    if new.status in ASIDE:
        return "aside"
    if new.status in FAILURES and previous in REACHED:
        return "contradiction"
    if before == after:
        return "late"
    return "recovered" if new.status in REACHED and previous in FAILURES else "advanced"
