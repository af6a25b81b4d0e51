"""Observations for tests, with everything that does not matter filled in."""

from typing import Any

from msgspec.structs import replace

from processors.tracking.next_state import track
from processors.tracking.outputs import Output
from schemas.bounds import BOUNDS, Bounds
from schemas.codec import encode
from schemas.records import (
    InboundObservation,
    MessageState,
    Observation,
    RawOrigin,
    Status,
    StatusObservation,
    ViewerState,
    message_key,
    record_keys,
    state_key,
)

KEY = message_key("smsmanager", None, "m1")


def seen(status: Status, at: int | None, gateway: str = "sms", **fields: Any) -> StatusObservation:
    """Return one status of message m1, from raw record number `at` (or as in `fields`)."""
    defaults: dict[str, Any] = {
        "message_key": KEY,
        "message_id": "m1",
        "provider": "smsmanager",
        "account": "-",
        "channel": gateway,
        "provider_status": status,
        "received_at": at if at is not None else 0,
        "raw": RawOrigin("raw", 0, at or 0, 0),
        "direction": "outbound",
    }
    return StatusObservation(**(defaults | fields), status=status, gateway=gateway, occurred_at=at)


def reply(at: int, identity: str = "r1", **fields: Any) -> InboundObservation:
    """One reply to message m1; it has no id from its provider."""
    defaults: dict[str, Any] = {
        "message_key": message_key("smsmanager", None, f"reply-{identity}"),
        "provider": "smsmanager",
        "account": "-",
        "channel": "sms",
        "gateway": "sms",
        "occurred_at": at,
        "received_at": at,
        "raw": RawOrigin("raw", 0, at, 0),
        "in_reply_to": KEY,
        "sender": "420777000001",
        "content": {"type": "text", "text": "thanks"},
    }
    return InboundObservation(**(defaults | fields))


def inbound(at: int, **fields: Any) -> InboundObservation:
    """Message m1, as one that a person sent to us."""
    defaults: dict[str, Any] = {"message_key": KEY, "message_id": "m1", "in_reply_to": None}
    return reply(at, **(defaults | fields))


class Folded:
    """What a sequence of observations comes to: states by key, outcomes and outputs in order."""

    def __init__(self, *observations: Observation, bounds: Bounds = BOUNDS) -> None:
        self.states: dict[str, MessageState] = {}
        self.viewers: dict[str, ViewerState] = {}
        self.outcomes: list[str] = []
        self.outputs: list[Output] = []
        self._bounds = bounds
        for observation in observations:
            self.take(observation)

    def take(self, observation: Observation) -> None:
        viewer = state_key(observation)
        for key in record_keys(observation):
            step = track(
                self.states.get(key),
                key,
                observation,
                self.viewers.get(viewer),
                bounds=self._bounds,
            )
            self.states[key] = step.state
            if step.viewer is not None:
                self.viewers[viewer] = step.viewer
            self.outcomes.append(step.outcome)
            self.outputs += step.outputs

    @property
    def state(self) -> MessageState:
        return self.states[KEY]

    @property
    def everything(self) -> bytes:
        """All states in their canonical bytes, but for the count of corrections on the way."""
        states = {key: replace(state, revision=0) for key, state in self.states.items()}
        return encode([states, self.viewers])

    @property
    def events(self) -> list[str]:
        """The events' names in order, without their common prefix."""
        return [
            output.type.removeprefix("bluetick.message.")
            for output in self.outputs
            if output.topic == "events"
        ]
