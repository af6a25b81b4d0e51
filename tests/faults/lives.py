"""One message's life, recomputed for the oracle: from the design's words, not from Bluetick's code.

Everything is derived afresh from the list of what was told; nothing is kept from one observation to
the next. Records are plain dictionaries, as JSON has them.
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
Rung = tuple[str, str | None]
"""Whose ladder: a gateway, and a viewer if it is not the message's own."""

WAITING = ("queued", "sending", "sent")
THERE = ("delivered", "read", "played")
FAILED = ("expired", "undelivered", "failed", "rejected")
BESIDE = ("unknown", "deleted")
# Between attempts: delivery before what is under way before a failure.
_ATTEMPTS = (*BESIDE, *FAILED, *WAITING, *THERE)

_MINUTE = 60_000
_DAY = 24 * 60 * _MINUTE
_PATIENCE = {"queued": 10 * _MINUTE, "sending": 10 * _MINUTE, "sent": _DAY}
_TIME_TO_LIVE = 45 * _DAY
# What says that something is no news: a replay's id, or that the provider was catching up.
_ORIGIN = ("replay", "catch_up")


def when(told: Json) -> int:
    """When it happened: the provider's word, else when it was heard of."""
    at = told.get("occurred_at")
    return int(told["received_at"] if at is None else at)


def fact_name(told: Json) -> str:
    """The name of a fact within its ladder; every unknown word is a fact of its own."""
    status = str(told["status"])
    return f"unknown:{told['provider_status']}" if status == "unknown" else status


def is_status(told: Json) -> bool:
    return bool(told["kind"] == "status")


class Life:
    """What a message's observations, in whatever order, amount to. Never changes."""

    def __init__(self, key: str, told: Sequence[Json], stalled_since: int | None = None) -> None:
        self.key = key
        self.told = tuple(told)
        self.stalled_since = stalled_since

    def hearing(self, observation: Json) -> "Life":
        return Life(self.key, (*self.told, observation), self.stalled_since)

    def stalled(self, since: int | None) -> "Life":
        return Life(self.key, self.told, since)

    @cached_property
    def ladders(self) -> dict[Rung, dict[str, Json]]:
        """By gateway and viewer each fact's best telling."""
        ladders: dict[Rung, dict[str, Json]] = {}
        for told in filter(is_status, self.told):
            facts = ladders.setdefault((told["gateway"], told.get("viewer")), {})
            name = fact_name(told)
            facts[name] = min(facts.get(name, told), told, key=_age)
        return ladders

    @cached_property
    def own(self) -> dict[str, dict[str, Json]]:
        """The attempts: the message's own facts by gateway."""
        return {gateway: f for (gateway, viewer), f in self.ladders.items() if viewer is None}

    @cached_property
    def replies(self) -> dict[str, Json]:
        """Each inbound message's best telling, by its own key."""
        replies: dict[str, Json] = {}
        for told in self.told:
            if not is_status(told):
                name = told["message_key"]
                replies[name] = min(replies.get(name, told), told, key=_age)
        return replies

    @cached_property
    def status(self) -> str | None:
        """Where the message stands: where its best attempt does."""
        stands = [stand(facts) for facts in self.own.values()]
        return max(stands, key=_ATTEMPTS.index, default=None)

    @cached_property
    def best(self) -> str | None:
        """The gateway the message stands by; of several the one heard of last."""
        at = [
            (max(f["received_at"] for f in facts.values() if f["status"] == self.status), gateway)
            for gateway, facts in self.own.items()
            if stand(facts) == self.status
        ]
        return max(at)[1] if at else None

    @property
    def viewers(self) -> set[str]:
        return {viewer for _, viewer in self.ladders if viewer is not None}

    @property
    def began(self) -> int | None:
        """When the first fact of the message's own happened."""
        return min((when(f) for facts in self.own.values() for f in facts.values()), default=None)

    @property
    def receipts(self) -> list[Json]:
        """All that was told of viewers, repeated or not."""
        return [told for told in filter(is_status, self.told) if "viewer" in told]

    @property
    def spans(self) -> list[int]:
        """When each fact and reply that counts, and each receipt by a viewer, was received."""
        kept = [fact for facts in self.own.values() for fact in facts.values()]
        counted = (*kept, *self.receipts, *self.replies.values())
        return [told["received_at"] for told in counted]

    @cached_property
    def direction(self) -> str:
        """Whose message it is: a person's if anything says so, else ours if anything does."""
        said = {_whose(told) for told in self.told if told["message_key"] == self.key}
        return next((one for one in ("inbound", "outbound") if one in said), "unknown")

    @property
    def heard(self) -> tuple[str, Json]:
        """What was heard last of the message itself but deletions, and by which gateway."""
        news = (one for one in _flat(self.own.items()) if one[1]["status"] != "deleted")
        return max(news, key=_newness)

    @property
    def heard_at_all(self) -> tuple[str, Json]:
        """What was heard last of it by anyone: viewers and who answered too."""
        seen = [(told["gateway"], told) for told in self.receipts]
        return max([*_flat(self.own.items()), *self.replies.items(), *seen], key=_newness)

    @property
    def stalls(self) -> int | None:
        """When it counts as stalled, Unix milliseconds; None if never, or if it does already."""
        if self.status not in WAITING or self.stalled_since is not None:
            return None
        if self.viewers or self.direction == "inbound" or self.best is None:
            return None
        if not self.receipts_come or "deleted" in self.own[self.best]:
            return None
        if set(_ORIGIN) & self.own[self.best][self.status].keys():
            return None
        return int(self.heard[1]["received_at"]) + _PATIENCE[self.status]

    @property
    def receipts_come(self) -> bool:
        """Whether nothing said that the chat has none."""
        return all(told.get("receipts", True) for told in self.told)

    @property
    def patience(self) -> int:
        return _PATIENCE[str(self.status)]

    @property
    def expires(self) -> int:
        """When its state is dropped, Unix milliseconds."""
        return max(self.spans) + _TIME_TO_LIVE

    @property
    def due(self) -> int:
        """When its next timer is due, Unix milliseconds."""
        return self.expires if self.stalls is None else min(self.stalls, self.expires)

    def took(self, status: str) -> int | None:
        """From its first fact to the first that said as much as `status`, in milliseconds."""
        ladder = (*WAITING, *THERE)
        enough = ladder[ladder.index(status) :]
        times = [when(fact) for _, fact in _flat(self.own.items()) if fact["status"] in enough]
        return min(times) - self.began if times and self.began is not None else None

    @cached_property
    def descriptions(self) -> dict[str, tuple[int, Any]]:
        """By field, the newest telling and when it was told; bills by `billing/<gateway>`."""
        newest: dict[str, tuple[int, Any]] = {}
        for told in self.told:
            for name, value in _described(told, self.key):
                if name == "recipient" and self.direction == "inbound" != _whose(told):
                    continue  # a receipt for a person's message names the person
                found = when(told), value
                newest[name] = max(newest.get(name, found), found, key=_told_last)
        return newest

    @cached_property
    def contents(self) -> list[Json]:
        """What says the content: of a person's message what came of the person."""
        mine = [t for t in self.told if t["message_key"] == self.key and "content" in t]
        inbound = self.direction == "inbound"
        return [told for told in mine if not (inbound and is_status(told))]

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
            content_rank(told) if "content" in told else []
            for told in self.told
            if not is_status(told) and told["message_key"] == self.key
        ]
        best = list(accumulate(ranks, max))
        return sum(one[-1:] != other[-1:] for one, other in pairwise(best))

    def described(self, name: str) -> Any:
        return self.descriptions.get(name, (0, None))[1]

    @property
    def billing(self) -> Json | None:
        """What all attempts cost together; sender and network are the best billed attempt's."""
        billed = [g for g in self.own if self.described(f"billing/{g}")]
        billed.sort(key=lambda gateway: (_ATTEMPTS.index(stand(self.own[gateway])), gateway))
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
        return _without_nothing(total)

    @property
    def audience(self) -> dict[str, int]:
        """How many viewers reached at least each rung."""
        tops = [self._top(viewer) for viewer in self.viewers]
        counts = {rung: sum(top >= n for top in tops) for n, rung in enumerate(THERE)}
        return {rung: count for rung, count in counts.items() if count}

    def _top(self, viewer: str) -> int:
        stands = [stand(facts) for (_, who), facts in self.ladders.items() if who == viewer]
        return max((THERE.index(status) for status in stands if status in THERE), default=-1)

    @property
    def contradictions(self) -> list[Json]:
        """Failures by gateways that also delivered."""
        found = [
            {"gateway": gateway, "failure": failure, "evidence": stand(facts)}
            for gateway, facts in sorted(self.own.items())
            for failure in sorted(set(FAILED) & set(facts))
            if stand(facts) in THERE
        ]
        return sorted(found, key=lambda one: tuple(one.values()))

    def state(self) -> Json:
        """What the topic `messages` must hold, the record format's version aside."""
        provider, account, message_id = self.key.split("/", 2)
        own = [told for told in self.told if told["message_key"] == self.key]
        told = own[0] if own else {"message_id": message_id, "account": account}
        answers = [r for name, r in self.replies.items() if name != self.key]
        answered_at = min(map(when, answers), default=None)
        return _without_nothing(
            {
                "message_key": self.key,
                "provider": provider,
                "account": self.told[0]["account"],
                "message_id": told.get("message_id"),
                "first_seen_at": min(self.spans),
                "updated_at": max(self.spans),
                "status": self.status,
                "direction": None if self.direction == "unknown" else self.direction,
                "content": self.content,
                "content_rank": self.content_rank,
                "receipts": None if self.receipts_come else False,
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
        told = [t for t in filter(is_status, self.told) if t["gateway"] == gateway]
        facts = self.own[gateway]
        attempt = _ladder(facts)
        attempt["channel"] = max(t["channel"] for t in told if "viewer" not in t)
        bill = self.described(f"billing/{gateway}")
        return attempt if bill is None else {**attempt, "billing": bill}

    def viewer_states(self) -> dict[str, Json]:
        """What the topic `messages` must hold of its viewers, by their keys."""
        seen: dict[str, Json] = {}
        for (gateway, viewer), facts in self.ladders.items():
            if viewer is not None:
                name = f"viewer/{quote(viewer, safe=' :@+')}/{self.key}"
                empty = {"message_key": self.key, "viewer": viewer, "attempts": {}}
                seen.setdefault(name, empty)["attempts"][gateway] = _ladder(facts)
        return seen

    def _viewed(self) -> Json | None:
        seen = [(told["gateway"], told) for told in self.receipts]
        if not seen:
            return None
        gateway, last = max(seen, key=_newness)
        first = min(told["received_at"] for told in self.receipts)
        return {"first_at": first, "last": cause(gateway, last), "raw": last["raw"]}


def stand(facts: Iterable[str]) -> str:
    """Where a ladder stands: delivered or better, else its failure, else its highest rung."""
    statuses = {name.partition(":")[0] for name in facts}
    for group in (THERE, FAILED, WAITING, BESIDE):
        reached = [status for status in group if status in statuses]
        if reached:
            return reached[-1]
    raise ValueError("a ladder has at least one fact")


def cause(gateway: str, fact: Json) -> Json:
    """What an event says of the fact behind it."""
    if not is_status(fact):
        return _without_nothing(
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


def _described(told: Json, key: str) -> Iterator[tuple[str, Any]]:
    """The descriptive fields of an observation; those of an answer are not the message's."""
    if not is_status(told) and told["message_key"] != key:
        return
    for name in _FIELDS:
        if told.get(name) is not None:
            yield name, told[name]
    if "billing" in told and "viewer" not in told:
        yield f"billing/{told['gateway']}", told["billing"]


def _whose(told: Json) -> str:
    return str(told.get("direction", "unknown")) if is_status(told) else "inbound"


def content_rank(told: Json) -> list[Any]:
    """The order of contents, restated: placeholders, media, links, words; then fuller, newer."""
    content = told["content"]
    readable = content.get("type", "unknown").lower() not in _PLACEHOLDERS
    words = 2 if content.get("text") or content.get("caption") else 0
    grade = 1 + words + (1 if content.get("link") else 0) if readable else 0
    fields = len([value for value in content.values() if value not in (None, "", [], {})])
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    edited_at = told.get("edited_at", 0)
    at = edited_at or when(told)
    digest = blake2b(text.encode(), digest_size=8).hexdigest()
    return [edited_at if readable else 0, grade, fields, at, digest]


_PLACEHOLDERS = ("unknown", "ciphertext", "undecryptable", "unsupported")


def _told_last(one: tuple[int, Any]) -> tuple[int, bytes]:
    return one[0], json.dumps(one[1], separators=(",", ":"), ensure_ascii=False).encode()


def _ladder(facts: dict[str, Json]) -> Json:
    return {
        "status": stand(facts),
        "facts": {name: _fact(fact) for name, fact in facts.items()},
    }


def _fact(told: Json) -> Json:
    names = ("status", "provider_status", "received_at", "raw", "occurred_at", "reason", *_ORIGIN)
    return {name: told[name] for name in names if name in told}


def _reply(told: Json) -> Json:
    names = ("received_at", "raw", "occurred_at", *_ORIGIN)
    return {name: told[name] for name in names if name in told}


def _age(told: Json) -> tuple[Any, ...]:
    """Of two tellings the earlier counts; one with a time of its own goes before."""
    at = told.get("occurred_at")
    live = told["received_at"], told.get("catch_up", False)
    return (at is None, at or 0, *live, _place(told), told.get("replay", ""))


def _newness(told: tuple[str, Json]) -> tuple[Any, ...]:
    return told[1]["received_at"], _place(told[1]), told[0]


def _place(told: Json) -> tuple[Any, ...]:
    raw = told["raw"]
    return raw["topic"], raw["partition"], raw["offset"], raw["index"]


def _flat(ladders: Iterable[tuple[str, dict[str, Json]]]) -> Iterator[tuple[str, Json]]:
    for gateway, facts in ladders:
        for fact in facts.values():
            yield gateway, fact


def _without_nothing(record: Json) -> Json:
    return {name: value for name, value in record.items() if value not in (None, {}, [])}
