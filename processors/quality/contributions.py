"""What the cells hold of one message: a function of its state. Pure.

Each attempt counts in the minute of its first fact; the message in that of its first attempt. Only
`resumed` is not in the state: it counts the alarms of the message's earlier contributions that have
ended, as `stalled_since` is the one field of a state that depends on the order of arrival.
"""

import re
from typing import Any

from processors.quality import counts, sketch
from processors.quality.recipient_country import country_of
from processors.tracking.lifecycle.facts import when
from processors.tracking.lifecycle.statuses import FAILURES, REACHED, UNDERWAY
from schemas.quality import (
    CELL_VERSION,
    NO_TIMES,
    OTHER,
    UNNAMED,
    QualityChange,
    QualityContribution,
    Sketch,
    start_of,
)
from schemas.records import Attempt, Billing, Fact, MessageState, Status

NOTHING = QualityContribution(version=CELL_VERSION)

_READ: tuple[Status, ...] = ("read", "played")
_SENT: tuple[Status, ...] = ("sent", *REACHED)
_FAILED_COUNTS = {
    "failed": "failed",
    "undelivered": "failed",
    "rejected": "rejected",
    "expired": "expired",
}
_OPERATOR = re.compile(r"\d{3}-\d{1,3}", re.ASCII)


def contribution(state: MessageState, before: QualityContribution) -> QualityContribution:
    """Return what the cells hold of a message; `before` is what they hold now.

    Inbound messages, and those of which only viewers or replies are known, contribute nothing.
    """
    if state.direction == "inbound" or not state.attempts:
        return NOTHING
    ordered = sorted((_began(one), gateway, one) for gateway, one in state.attempts.items())
    last = len(ordered) - 1
    country = country_of(state.recipient)
    changes = [
        QualityChange(
            start_at=start_of("minute", began),
            provider=state.provider,
            account=state.account,
            channel=attempt.channel,
            gateway=gateway,
            country=country,
            operator=_operator(attempt.billing or state.billing),
            **_of_attempt(attempt, began),
            **(_of_message(state, before) if place == 0 else {}),
            fall_backs=int(place < last),
        )
        for place, (began, gateway, attempt) in enumerate(ordered)
    ]
    return QualityContribution(version=CELL_VERSION, attempts=changes)


def _began(attempt: Attempt) -> int:
    return min(map(when, attempt.facts.values()))


def _of_message(state: MessageState, before: QualityContribution) -> dict[str, Any]:
    delivered, failed = state.status in REACHED, state.status in FAILURES
    stalled = state.stalled_since is not None
    was_stalled = any(one.stalled for one in before.attempts)
    no_receipts = state.viewed is not None or not state.receipts
    return {
        "messages": 1,
        "messages_delivered": int(delivered),
        "messages_failed": int(failed),
        "without_receipts": int(no_receipts and not delivered and not failed),
        "stalled": int(stalled),
        "resumed": sum(one.resumed for one in before.attempts) + int(was_stalled and not stalled),
        "replies": sum(key != state.message_key for key in state.inbound),
    }


def _of_attempt(attempt: Attempt, began: int) -> dict[str, Any]:
    facts = attempt.facts
    delivered = _first(facts, REACHED)
    billing = attempt.billing or Billing()
    return {
        "attempts": 1,
        "sent": int(_first(facts, _SENT) is not None),
        "delivered": int(delivered is not None),
        "read": int(_first(facts, _READ) is not None),
        "parts": billing.parts or 0,
        "cost": counts.priced(billing.prices),
        "to_delivered": _took(facts, began, delivered),
        "to_read": _took(facts, began, _first(facts, _READ)),
        **_of_failures(attempt, delivered),
    }


def _of_failures(attempt: Attempt, delivered: int | None) -> dict[str, Any]:
    """Count a failure; beside a delivery, it is a contradiction, or before it a recovery."""
    failures = [when(attempt.facts[one]) for one in FAILURES if one in attempt.facts]
    if not failures:
        return {}
    if delivered is not None:
        return {
            "contradictions": int(max(failures) >= delivered),
            "recoveries": int(min(failures) < delivered),
        }
    reason = attempt.facts[attempt.status].reason
    code = (reason.code if reason else None) or UNNAMED
    return {_FAILED_COUNTS[attempt.status]: 1, "reasons": {code: 1}}


def _first(facts: dict[str, Fact], statuses: tuple[Status, ...]) -> int | None:
    """Return when the first of these statuses happened; None if none did."""
    return min((when(facts[one]) for one in statuses if one in facts), default=None)


def _took(facts: dict[str, Fact], began: int, at: int | None) -> Sketch:
    """Return the time from the beginning; none if no earlier status was reported."""
    if at is None or facts.keys().isdisjoint(UNDERWAY):
        return NO_TIMES
    return sketch.of_time(at - began)


def _operator(billing: Billing | None) -> str | None:
    """Return the recipient's network; None if the provider reports none."""
    if billing is None or not billing.mcc or not billing.mnc:
        return None
    operator = f"{billing.mcc}-{billing.mnc}"
    return operator if _OPERATOR.fullmatch(operator) else OTHER
