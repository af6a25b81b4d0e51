"""One observed status: added to the state of its message, or of its viewer. Pure."""

from processors.tracking.lifecycle.attempts import observe_own
from processors.tracking.lifecycle.verdicts import Judged
from processors.tracking.lifecycle.viewers import observe_viewer
from schemas.bounds import BOUNDS, Bounds
from schemas.records import STATE_VERSION, MessageState, StatusObservation, ViewerState


def observe(
    state: MessageState,
    observation: StatusObservation,
    viewer: ViewerState | None = None,
    bounds: Bounds = BOUNDS,
) -> Judged:
    """Add one observed status to a message's state; the given states do not change.

    `viewer` is the state of the observation's viewer, None if there is none yet.
    """
    if observation.viewer:
        first_seen = ViewerState(
            message_key=state.message_key, viewer=observation.viewer, version=STATE_VERSION
        )
        return observe_viewer(state, observation, viewer or first_seen, bounds)
    return observe_own(state, observation, bounds)
