"""The simple lifecycle that every peer of the job `track` implements. Pure.

It has the rules that the input of the job needs: four statuses in order, repeats, any sequence.
The state has the fields of Bluetick's, so that both write the same records.
"""

from typing import Any, NamedTuple

Json = dict[str, Any]

RANK = {"sending": 0, "sent": 1, "delivered": 2, "read": 3}
_FACT = ("status", "provider_status", "received_at", "occurred_at", "raw")
_CAUSE = ("received_at", "occurred_at", "status", "provider_status", "gateway")
_MESSAGE = ("message_key", "provider", "account", "message_id", "direction", "recipient")
_EVENT = (
    *("message_key", "provider", "account", "message_id", "channel", "gateway"),
    *("direction", "recipient", "raw"),
)


class Tracked(NamedTuple):
    """A message's state after an observation; both outputs are None if the fact is known."""

    state: Json
    status: Json | None
    event: Json | None


def track(state: Json | None, new: Json) -> Tracked:
    """Add an observation to the state of its message, which changes in place."""
    fact = {name: new[name] for name in _FACT}
    if state is None:
        state = _first(new)
    before = state.get("status")
    attempt = state["attempts"].setdefault(
        new["gateway"], {"channel": new["channel"], "status": new["status"], "facts": {}}
    )
    facts = attempt["facts"]
    known = facts.get(new["status"])
    if known is not None:
        if _age(fact) < _age(known):
            facts[new["status"]] = fact
        return Tracked(state, None, None)
    facts[new["status"]] = fact
    state["updated_at"] = max(state["updated_at"], new["received_at"])
    state["first_seen_at"] = min(state["first_seen_at"], new["received_at"])
    advanced = before is None or RANK[new["status"]] > RANK[before]
    if advanced:
        state["status"] = attempt["status"] = new["status"]
    verdict = "advanced" if advanced else "late"
    record = {**new, "verdict": verdict, "message_status": state["status"]}
    return Tracked(state, record, _event(state, new, before, facts, advanced=advanced))


def _age(fact: Json) -> tuple[int, int]:
    return fact["occurred_at"], fact["received_at"]


def _first(new: Json) -> Json:
    return {
        **{name: new[name] for name in _MESSAGE},
        "version": 1,
        "first_seen_at": new["received_at"],
        "updated_at": new["received_at"],
        "attempts": {},
    }


def _event(state: Json, new: Json, before: str | None, facts: Json, *, advanced: bool) -> Json:
    event = {
        "event": "advanced" if advanced else "late",
        **{name: new[name] for name in _EVENT},
        "cause": {name: new[name] for name in _CAUSE},
    }
    if not advanced:
        return {**event, "current": state["status"]}
    began = min(fact["occurred_at"] for fact in facts.values())
    event |= {"to": state["status"], "elapsed_ms": new["occurred_at"] - began}
    return event if before is None else {**event, "from": before}
