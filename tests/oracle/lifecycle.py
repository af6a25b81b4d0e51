"""The lifecycle of one message, recomputed from the design, not with Bluetick's code.

Everything is derived from the list of reports each time; no result is carried from one report to
the next. A report is one observation. Records are plain dictionaries, as in JSON.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from functools import cached_property
from hashlib import blake2b
from itertools import accumulate, pairwise
from typing import Any
from urllib.parse import quote

Json = dict[str, Any]
LadderKey = tuple[str, str | None]
"""A gateway and a viewer; the viewer is None for the message's own facts."""

UNDER_WAY = ("queued", "sending", "sent")
REACHED = ("delivered", "read", "played")
FAILED = ("expired", "undelivered", "failed", "rejected")
ASIDE = ("unknown", "deleted")
# Among attempts: reached before under way before failed.
_ATTEMPT_ORDER = (*ASIDE, *FAILED, *UNDER_WAY, *REACHED)

STATE_FORMAT = 3
_MINUTE = 60_000
_DAY = 24 * 60 * _MINUTE
_PATIENCE = {"queued": 10 * _MINUTE, "sending": 10 * _MINUTE, "sent": _DAY}
_TIME_TO_LIVE = 45 * _DAY
# Fields that mark a report as old: the id of a replay, or a provider that was catching up.
_ORIGIN = ("replay", "catch_up")


def time_of(report: Json) -> int:
    """Return when it happened, Unix ms: the provider's time (0 is none), else that of receipt."""
    return int(report.get("occurred_at") or report["received_at"])


def fact_name(report: Json) -> str:
    """Return a fact's name within its ladder; each unknown status word is a fact of its own."""
    status = str(report["status"])
    return f"unknown:{report['provider_status']}" if status == "unknown" else status


def ladder_key(report: Json) -> LadderKey:
    return report["gateway"], report.get("viewer")


def is_status(report: Json) -> bool:
    return bool(report["kind"] == "status")


class Lifecycle:
    """What follows from the reports on one message, in whatever order they came. Immutable."""

    def __init__(self, key: str, reports: Sequence[Json], stalled_since: int | None = None) -> None:
        self.key = key
        self.reports = tuple(reports)
        self.stalled_since = stalled_since

    def with_report(self, report: Json) -> "Lifecycle":
        return Lifecycle(self.key, (*self.reports, report), self.stalled_since)

    def with_stall(self, since: int | None) -> "Lifecycle":
        return Lifecycle(self.key, self.reports, since)

    @cached_property
    def ladders(self) -> dict[LadderKey, dict[str, Json]]:
        """By gateway and viewer, the report that counts for each fact."""
        ladders: dict[LadderKey, dict[str, Json]] = {}
        for report in filter(is_status, self.reports):
            facts = ladders.setdefault(ladder_key(report), {})
            name = fact_name(report)
            facts[name] = min(facts.get(name, report), report, key=_precedence)
        return ladders

    @cached_property
    def own(self) -> dict[str, dict[str, Json]]:
        """The attempts: the message's own facts by gateway."""
        return {gateway: f for (gateway, viewer), f in self.ladders.items() if viewer is None}

    @property
    def own_count(self) -> int:
        """How many facts the message has of its own."""
        return sum(map(len, self.own.values()))

    @cached_property
    def replies(self) -> dict[str, Json]:
        """By its own key, the report that counts for each inbound message."""
        replies: dict[str, Json] = {}
        for report in self.reports:
            if not is_status(report):
                name = report["message_key"]
                replies[name] = min(replies.get(name, report), report, key=_precedence)
        return replies

    @cached_property
    def status(self) -> str | None:
        """The message's status: that of its best attempt."""
        statuses = [ladder_status(facts) for facts in self.own.values()]
        return max(statuses, key=_ATTEMPT_ORDER.index, default=None)

    @cached_property
    def best(self) -> str | None:
        """The gateway that gives the message its status; of several, the one reported last."""
        at = [
            (max(f["received_at"] for f in facts.values() if f["status"] == self.status), gateway)
            for gateway, facts in self.own.items()
            if ladder_status(facts) == self.status
        ]
        return max(at)[1] if at else None

    @property
    def viewers(self) -> set[str]:
        return {viewer for _, viewer in self.ladders if viewer is not None}

    @property
    def began(self) -> int | None:
        """When the message's first own fact happened, Unix ms."""
        facts = (fact for facts in self.own.values() for fact in facts.values())
        return min(map(time_of, facts), default=None)

    @property
    def receipts(self) -> list[Json]:
        """All reports on viewers, repeated or not."""
        return [report for report in filter(is_status, self.reports) if "viewer" in report]

    @property
    def receipt_times(self) -> list[int]:
        """When each fact and reply that counts, and each viewer's receipt, was received."""
        kept = [fact for facts in self.own.values() for fact in facts.values()]
        counted = (*kept, *self.receipts, *self.replies.values())
        return [report["received_at"] for report in counted]

    @cached_property
    def direction(self) -> str:
        """Whose message it is: inbound if any report says so, else outbound if any does."""
        said = {_direction(one) for one in self.reports if one["message_key"] == self.key}
        return next((one for one in ("inbound", "outbound") if one in said), "unknown")

    @property
    def newest_own(self) -> tuple[str, Json]:
        """The newest fact of the message itself but deletions, with its gateway."""
        facts = (one for one in _flat(self.own.items()) if one[1]["status"] != "deleted")
        return max(facts, key=_newness)

    @property
    def newest_of_all(self) -> tuple[str, Json]:
        """The newest fact, viewer's receipt or reply, with its gateway or key."""
        seen = [(report["gateway"], report) for report in self.receipts]
        return max([*_flat(self.own.items()), *self.replies.items(), *seen], key=_newness)

    @property
    def stalls(self) -> int | None:
        """When it becomes stalled, Unix ms; None if it never does, or is stalled already."""
        if self.status not in UNDER_WAY or self.stalled_since is not None:
            return None
        if self.viewers or self.direction == "inbound" or self.best is None:
            return None
        if not self.has_receipts or "deleted" in self.own[self.best]:
            return None
        if set(_ORIGIN) & self.own[self.best][self.status].keys():
            return None
        return int(self.newest_own[1]["received_at"]) + _PATIENCE[self.status]

    @property
    def has_receipts(self) -> bool:
        """Whether no report says that the chat has none."""
        return all(report.get("receipts", True) for report in self.reports)

    @property
    def patience(self) -> int:
        return _PATIENCE[str(self.status)]

    @property
    def expires(self) -> int:
        """When its state is dropped, Unix ms."""
        return max(self.receipt_times) + _TIME_TO_LIVE

    @property
    def due(self) -> int:
        """When its next timer is due, Unix ms."""
        return self.expires if self.stalls is None else min(self.stalls, self.expires)

    def time_to(self, status: str) -> int | None:
        """Milliseconds from the first fact to the first that reached `status` or more."""
        ladder = (*UNDER_WAY, *REACHED)
        enough = ladder[ladder.index(status) :]
        times = [time_of(fact) for _, fact in _flat(self.own.items()) if fact["status"] in enough]
        return min(times) - self.began if times and self.began is not None else None

    @cached_property
    def descriptions(self) -> dict[str, tuple[int, Any]]:
        """By field, the newest value and its time; billing is under `billing/<gateway>`."""
        newest: dict[str, tuple[int, Any]] = {}
        for report in self.reports:
            for name, value in _described(report, self.key):
                if name == "recipient" and self.direction == "inbound" != _direction(report):
                    continue  # a receipt for an inbound message names its sender
                found = time_of(report), value
                newest[name] = max(newest.get(name, found), found, key=_description_order)
        return newest

    @cached_property
    def contents(self) -> list[Json]:
        """The reports with a content; for an inbound message only those of the sender."""
        own = [r for r in self.reports if r["message_key"] == self.key and "content" in r]
        inbound = self.direction == "inbound"
        return [report for report in own if not (inbound and is_status(report))]

    @property
    def content_rank(self) -> list[Any] | None:
        """The place of the richest content in the order of contents."""
        return max(map(content_rank, self.contents), default=None)

    @property
    def content(self) -> Any:
        best = max(self.contents, key=content_rank, default=None)
        return best and best["content"]

    @property
    def revision(self) -> int:
        """How often a content was replaced by another one, in the order of arrival."""
        ranks = [
            content_rank(report) if "content" in report else []
            for report in self.reports
            if not is_status(report) and report["message_key"] == self.key
        ]
        best = list(accumulate(ranks, max))
        return sum(one[-1:] != other[-1:] for one, other in pairwise(best))

    def described(self, name: str) -> Any:
        return self.descriptions.get(name, (0, None))[1]

    @property
    def billing(self) -> Json | None:
        """The sum over all attempts; sender and network are those of the best billed attempt."""
        billed = [g for g in self.own if self.described(f"billing/{g}")]
        billed.sort(key=lambda g: (_ATTEMPT_ORDER.index(ladder_status(self.own[g])), g))
        bills = [self.described(f"billing/{gateway}") for gateway in billed]
        if len(bills) <= 1:
            return bills[0] if bills else None
        parts = [bill["parts"] for bill in bills if "parts" in bill]
        prices: dict[str, Decimal] = {}
        for bill in bills:
            for currency, price in bill.get("prices", {}).items():
                prices[currency] = prices.get(currency, Decimal(0)) + Decimal(price)
        total = {**bills[-1], "parts": sum(parts) if parts else None}
        total["prices"] = {currency: f"{price:f}" for currency, price in prices.items()}
        return _without_empty(total)

    @property
    def audience(self) -> dict[str, int]:
        """How many viewers reached at least delivered, read, played."""
        highest = [self._highest(viewer) for viewer in self.viewers]
        counts = {status: sum(n <= one for one in highest) for n, status in enumerate(REACHED)}
        return {status: count for status, count in counts.items() if count}

    def _highest(self, viewer: str) -> int:
        """Return the index in REACHED of a viewer's best status; -1 if it reached none."""
        statuses = [
            ladder_status(facts) for (_, who), facts in self.ladders.items() if who == viewer
        ]
        return max((REACHED.index(status) for status in statuses if status in REACHED), default=-1)

    @property
    def contradictions(self) -> list[Json]:
        """Failures by gateways that also delivered."""
        found = [
            {"gateway": gateway, "failure": failure, "evidence": ladder_status(facts)}
            for gateway, facts in sorted(self.own.items())
            for failure in sorted(set(FAILED) & set(facts))
            if ladder_status(facts) in REACHED
        ]
        return sorted(found, key=lambda one: tuple(one.values()))

    def state(self) -> Json:
        """Return the message's record on the topic `messages`."""
        provider, account, message_id = self.key.split("/", 2)
        own = [report for report in self.reports if report["message_key"] == self.key]
        named = own[0] if own else {"message_id": message_id, "account": account}
        answers = [r for name, r in self.replies.items() if name != self.key]
        answered_at = min(map(time_of, answers), default=None)
        return _without_empty(
            {
                "message_key": self.key,
                "version": STATE_FORMAT,
                "provider": provider,
                "account": self.reports[0]["account"],
                "message_id": named.get("message_id"),
                "first_seen_at": min(self.receipt_times),
                "updated_at": max(self.receipt_times),
                "status": self.status,
                "direction": None if self.direction == "unknown" else self.direction,
                "content": self.content,
                "content_rank": self.content_rank,
                "receipts": None if self.has_receipts else False,
                "revision": self.revision or None,
                "attempts": {gateway: self._attempt(gateway) for gateway in self.own},
                "viewed": self._viewed(),
                "audience": self.audience,
                "billing": self.billing,
                "inbound": {name: _reply(reply) for name, reply in self.replies.items()},
                "replied_at": None if self.direction == "inbound" else answered_at,
                "contradictions": self.contradictions,
                "described_at": {name: at for name, (at, _) in self.descriptions.items()},
                "stalled_since": self.stalled_since,
            }
        ) | {name: self.described(name) for name in _FIELDS if name in self.descriptions}

    def _attempt(self, gateway: str) -> Json:
        reports = [r for r in filter(is_status, self.reports) if r["gateway"] == gateway]
        attempt = _ladder(self.own[gateway])
        attempt["channel"] = max(r["channel"] for r in reports if "viewer" not in r)
        bill = self.described(f"billing/{gateway}")
        return attempt if bill is None else {**attempt, "billing": bill}

    def viewer_states(self) -> dict[str, Json]:
        """Return the records of its viewers on the topic `messages`, by their keys."""
        states: dict[str, Json] = {}
        for (gateway, viewer), facts in self.ladders.items():
            if viewer is not None:
                name = f"viewer/{quote(viewer, safe=' :@+')}/{self.key}"
                empty = {"message_key": self.key, "viewer": viewer, "attempts": {}}
                state = states.setdefault(name, empty | {"version": STATE_FORMAT})
                state["attempts"][gateway] = _ladder(facts)
        return states

    def _viewed(self) -> Json | None:
        seen = [(report["gateway"], report) for report in self.receipts]
        if not seen:
            return None
        gateway, last = max(seen, key=_newness)
        first = min(report["received_at"] for report in self.receipts)
        return {"first_at": first, "last": cause(gateway, last), "raw": last["raw"]}


def ladder_status(facts: Iterable[str]) -> str:
    """Return a ladder's status: delivered or above, else its failure, else its highest status."""
    statuses = {name.partition(":")[0] for name in facts}
    for group in (REACHED, FAILED, UNDER_WAY, ASIDE):
        found = [status for status in group if status in statuses]
        if found:
            return found[-1]
    raise ValueError("a ladder has at least one fact")


def cause(gateway: str, fact: Json) -> Json:
    """Return the `cause` of an event that follows from this fact."""
    if not is_status(fact):
        return _without_empty(
            {
                "received_at": fact["received_at"],
                "occurred_at": fact.get("occurred_at"),
                "reply": fact["message_key"],
                "replay": fact.get("replay"),
                "catch_up": fact.get("catch_up"),
            }
        )
    names = ("received_at", "occurred_at", "status", "provider_status", "reason", *_ORIGIN)
    return {**{name: fact[name] for name in names if name in fact}, "gateway": gateway}


_FIELDS = ("recipient", "payload", "request_id", "recipient_index")
_PLACEHOLDERS = ("unknown", "ciphertext", "undecryptable", "unsupported")


def _described(report: Json, key: str) -> Iterator[tuple[str, Any]]:
    """Yield a report's descriptive fields; those of a reply do not describe the message."""
    if not is_status(report) and report["message_key"] != key:
        return
    for name in _FIELDS:
        if report.get(name) is not None:
            yield name, report[name]
    if "billing" in report and "viewer" not in report:
        yield f"billing/{report['gateway']}", report["billing"]


def _direction(report: Json) -> str:
    return str(report.get("direction", "unknown")) if is_status(report) else "inbound"


def content_rank(report: Json) -> list[Any]:
    """Return a content's rank: placeholders, media, links, words; then fuller, then newer."""
    content = report["content"]
    readable = content.get("type", "unknown").lower() not in _PLACEHOLDERS
    words = 2 if content.get("text") or content.get("caption") else 0
    grade = 1 + words + (1 if content.get("link") else 0) if readable else 0
    fields = len([value for value in content.values() if value not in (None, "", [], {})])
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    edited_at = report.get("edited_at", 0)
    at = edited_at or time_of(report)
    digest = blake2b(text.encode(), digest_size=8).hexdigest()
    return [edited_at if readable else 0, grade, fields, at, digest]


def _description_order(one: tuple[int, Any]) -> tuple[int, bytes]:
    return one[0], json.dumps(one[1], separators=(",", ":"), ensure_ascii=False).encode()


def _ladder(facts: dict[str, Json]) -> Json:
    return {
        "status": ladder_status(facts),
        "facts": {name: _fact(fact) for name, fact in facts.items()},
    }


def _fact(report: Json) -> Json:
    names = ("status", "provider_status", "received_at", "raw", "occurred_at", "reason", *_ORIGIN)
    return {name: report[name] for name in names if name in report}


def _reply(report: Json) -> Json:
    names = ("received_at", "raw", "occurred_at", *_ORIGIN)
    return {name: report[name] for name in names if name in report}


def _precedence(report: Json) -> tuple[Any, ...]:
    """Of two reports of a fact the smaller counts: a known time first, then the earlier one."""
    at = report.get("occurred_at") or 0
    live = report["received_at"], report.get("catch_up", False)
    return (at == 0, at, *live, _coordinates(report), report.get("replay", ""))


def _newness(named: tuple[str, Json]) -> tuple[Any, ...]:
    return named[1]["received_at"], _coordinates(named[1]), named[0]


def _coordinates(report: Json) -> tuple[Any, ...]:
    raw = report["raw"]
    return raw["topic"], raw["partition"], raw["offset"], raw["index"]


def _flat(ladders: Iterable[tuple[str, dict[str, Json]]]) -> Iterator[tuple[str, Json]]:
    for gateway, facts in ladders:
        for fact in facts.values():
            yield gateway, fact


def _without_empty(record: Json) -> Json:
    return {name: value for name, value in record.items() if value not in (None, {}, [])}
