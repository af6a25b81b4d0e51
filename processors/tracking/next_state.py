"""Tracking: a message's state and one more observation give its next state and its outputs.

Pure. An observation reaches the tracker under the key of the message whose state owns it and, if it
answers another message, again under that message's key: see `schemas.records.record_keys`.
"""

from typing import Any, Literal, cast, get_args

from msgspec import Struct
from msgspec.structs import asdict, replace

from processors.tracking import timers
from processors.tracking.lifecycle import observed_status, usual_fact
from processors.tracking.lifecycle.facts import FactId, began, fact_id, when
from processors.tracking.lifecycle.observed_inbound import answer
from processors.tracking.lifecycle.statuses import REACHED
from processors.tracking.lifecycle.verdicts import Judged, PastBound
from processors.tracking.lifecycle.viewers import outlived
from processors.tracking.outputs import Output, about, encode_status, event, identify
from processors.tracking.timers import PATIENCE, Patience
from schemas.bounds import BOUNDS, Bounds
from schemas.codec import encode
from schemas.records import (
    STATE_VERSION,
    Advanced,
    Cause,
    Contradicted,
    Event,
    FellBack,
    InboundObservation,
    InboundRecord,
    Late,
    MessageState,
    Observation,
    PublishedVerdict,
    Recovered,
    Replied,
    Status,
    StatusObservation,
    Verdict,
    ViewerAdvanced,
    ViewerState,
    cause_of,
    home_key,
)

# A new fact, published on `statuses`.
_PUBLISHED: frozenset[str] = frozenset(get_args(PublishedVerdict))
# The most earlier gateways of a message that an event names.
_MOST = 10


class Step(Struct, frozen=True, gc=False):
    """The result of one observation: the states after it, its outcome, the outputs to publish.

    A state is the given object itself if nothing changed. `outcome` is a verdict, `inbound`,
    `corrected`, or the bound that the observation's fact exceeds: then the state does not hold it.
    `due` is when the message's next timer is due, Unix milliseconds.
    """

    state: MessageState
    viewer: ViewerState | None
    outcome: Verdict | Literal["inbound", "corrected"] | PastBound
    outputs: list[Output]
    due: int = 0


def track(
    state: MessageState | None,
    key: str,
    observation: Observation,
    viewer: ViewerState | None = None,
    *,
    patience: Patience = PATIENCE,
    bounds: Bounds = BOUNDS,
    at: int | None = None,
    due: int | None = None,
) -> Step:
    """Add one observation, read under `key`, to that message's state (None: a new message).

    `viewer` is the state of the observation's viewer. The message's timers that were due at the
    reception fire first: `at`, Unix milliseconds, replaces a `received_at` that is not trusted.
    `due` saves the time to find out when the first of them is due.
    """
    at = observation.received_at if at is None else at
    known = state
    fired: list[Output] = []
    if state is not None:
        due = timers.due(state, patience) if due is None else due
        if due <= at:
            known, fired = timers.fire(state, at, patience)
    if viewer is not None and outlived(viewer, known):
        viewer = None
    step = _take(known or _first(key, observation), key, observation, viewer, bounds)
    if due is None or step.state is not state:
        due = timers.due(step.state, patience)
    outputs = [*fired, *step.outputs] if fired else step.outputs
    return Step(step.state, step.viewer, step.outcome, outputs, due)


def _take(
    known: MessageState,
    key: str,
    observation: Observation,
    viewer: ViewerState | None,
    bounds: Bounds,
) -> Step:
    if isinstance(observation, InboundObservation):
        return _take_inbound(known, key, observation, bounds)
    judged = usual_fact.observe(known, observation, bounds)
    if judged is None:
        judged = observed_status.observe(known, observation, viewer, bounds)
    if judged.verdict not in _PUBLISHED:
        return _take_unpublished(known, judged, observation)
    cause = cause_of(observation.gateway, observation)
    fact = fact_id(observation)
    outputs = [_status(judged, observation, fact)]
    if observation.viewer:
        outputs += _viewer_events(known, judged, observation, cause, fact)
    else:
        outputs += _events(known, judged, observation, cause, fact)
    if known.stalled_since is None:
        return Step(judged.state, judged.viewer, judged.verdict, outputs)
    state, resumed = timers.resume(known, judged.state, cause, observation)
    return Step(state, judged.viewer, judged.verdict, outputs + resumed)


def _take_unpublished(known: MessageState, judged: Judged, observation: StatusObservation) -> Step:
    """Add a known fact, or one past a bound: an event only if the message's status changed."""
    state = judged.state
    if observation.viewer or state.status is None or state.status == known.status:
        return Step(state, judged.viewer, judged.verdict, [])
    cause = cause_of(observation.gateway, observation)
    moved = Advanced(
        **_common(state, observation, cause),
        from_=known.status,
        to=state.status,
    )
    at, fact = when(observation), fact_id(observation)
    state, resumed = timers.resume(known, state, cause, observation)
    return Step(state, None, judged.verdict, [event(moved, at, *fact), *resumed])


def _first(key: str, observation: Observation) -> MessageState:
    """Return a state without facts."""
    own = key == observation.message_key
    return MessageState(
        message_key=key,
        version=STATE_VERSION,
        provider=observation.provider,
        account=observation.account,
        message_id=observation.message_id if own else key.split("/", 2)[2],
        first_seen_at=observation.received_at,
        updated_at=observation.received_at,
    )


def _take_inbound(
    known: MessageState, key: str, observation: InboundObservation, bounds: Bounds
) -> Step:
    state, outcome = answer(known, observation, bounds)
    if outcome == "corrected":
        return Step(state, None, outcome, [_correction(state, observation)])
    if outcome != "inbound":
        return Step(state, None, outcome, [])
    outputs = []
    if key == home_key(observation):
        id_ = identify("inbound", observation.message_key)
        outputs.append(_inbound(id_, state, observation))
    # People quote their own messages, too; an unknown message counts as outbound.
    if key == observation.in_reply_to and state.direction != "inbound":
        replied = _replied(state, observation)
        outputs.append(event(replied, when(replied.cause), observation.message_key))
    return Step(state, None, outcome, outputs)


def _correction(state: MessageState, observation: InboundObservation) -> Output:
    """Return the message with its better content, to publish again.

    The id is made from the content and its times, not from the revision, which depends on the
    earlier observations. No content counts twice, so no two corrections have the same id.
    """
    rank, own = state.content_rank, state.inbound.get(state.message_key)
    assert rank is not None  # noqa: S101 - it is the reason for the correction
    times = f"{rank.edited_at}", f"{rank.at}"
    id_ = identify("inbound", observation.message_key, *times, rank.digest)
    if observation.occurred_at is None and own is not None:
        observation = replace(observation, occurred_at=own.occurred_at)
    return _inbound(id_, state, observation, state.revision)


def _inbound(
    id_: str, state: MessageState, observation: InboundObservation, revision: int = 0
) -> Output:
    fields = asdict(observation)
    if state.message_key == observation.message_key:
        for name in ("recipient", "payload"):
            if fields[name] is None:
                fields[name] = getattr(state, name)
    record = InboundRecord(**fields, revision=revision)
    at = observation.edited_at
    time = when(observation) if at is None else at
    return Output("inbound", id_, "bluetick.message.inbound", time, encode(record))


def _replied(state: MessageState, reply: InboundObservation) -> Replied:
    start = began(state)
    elapsed = None if start is None else when(reply) - start
    return Replied(
        **about(state, reply.gateway, reply.channel),
        cause=Cause(
            received_at=reply.received_at,
            occurred_at=reply.occurred_at,
            gateway=reply.gateway,
            reply=reply.message_key,
            replay=reply.replay,
            catch_up=reply.catch_up,
        ),
        raw=reply.raw,
        replay=reply.replay,
        # If the clocks say that the answer came first, the delay is unknown.
        elapsed_ms=elapsed if elapsed is not None and elapsed >= 0 else None,
    )


def _status(judged: Judged, observation: StatusObservation, fact: FactId) -> Output:
    verdict = cast("PublishedVerdict", judged.verdict)  # nothing else is published
    value = encode_status(_completed(observation, judged.state), verdict, judged.state.status)
    id_ = identify("status", observation.message_key, *fact)
    return Output("statuses", id_, "bluetick.message.status", when(observation), value)


def _completed(observation: StatusObservation, state: MessageState) -> StatusObservation:
    """Take `direction`, `recipient` and `payload` of the message if the observation lacks them."""
    direction, payload, recipient = state.direction, observation.payload, observation.recipient
    if payload is None:
        payload = state.payload
    if recipient is None or not _has_recipient_of(observation, state):
        recipient = state.recipient
    if (
        direction == observation.direction
        and payload is observation.payload
        and recipient == observation.recipient
    ):
        return observation
    return replace(observation, direction=direction, payload=payload, recipient=recipient)


def _has_recipient_of(observation: StatusObservation, state: MessageState) -> bool:
    """Whether it names the message's recipient: a receipt for an inbound one names the sender."""
    return state.direction != "inbound" or observation.direction == "inbound"


def _common(
    state: MessageState, new: StatusObservation | InboundObservation, cause: Cause
) -> dict[str, Any]:
    """Return the common fields of all events of an observation."""
    common = about(state, new.gateway, new.channel)
    common["cause"], common["raw"], common["replay"] = cause, new.raw, new.replay
    return common


def _viewer_events(
    before: MessageState, judged: Judged, new: StatusObservation, cause: Cause, fact: FactId
) -> list[Output]:
    """Return the event of a viewer who reached a new rung; the message's status stays."""
    state = judged.state
    if new.status not in REACHED or state.audience == before.audience:
        return []
    viewed = ViewerAdvanced(
        **_common(state, new, cause),
        viewer=new.viewer or "",
        rung=new.status,
        reached=state.audience[new.status],
    )
    return [event(viewed, when(new), *fact)]


def _events(
    before: MessageState, judged: Judged, new: StatusObservation, cause: Cause, fact: FactId
) -> list[Output]:
    """Return the events of a new fact of the message itself (not of a viewer)."""
    at = when(new)
    events = []
    if before.attempts and new.gateway not in before.attempts:
        common = _common(judged.state, new, cause)
        fell_back = FellBack(**common, earlier=sorted(before.attempts)[:_MOST])
        events.append(event(fell_back, at, new.gateway))
    moved = _moved(before.status, judged, new, cause)
    if moved:
        events.append(event(moved, at, *fact))
    return events


def _moved(
    before: Status | None, judged: Judged, new: StatusObservation, cause: Cause
) -> Event | None:
    """Return the event of a verdict; None for a status outside of the ladder."""
    state, status, verdict = judged.state, judged.state.status, judged.verdict
    common = _common(state, new, cause)
    if verdict in ("advanced", "recovered") and status:
        start = began(state)
        common["from_"], common["to"] = before, status
        common["elapsed_ms"] = None if start is None else when(new) - start
        return Advanced(**common) if verdict == "advanced" else Recovered(**common)
    if verdict == "late":
        return Late(**common, current=status)
    if verdict == "contradiction" and judged.previous:
        return Contradicted(**common, current=status, evidence=judged.previous)
    return None
