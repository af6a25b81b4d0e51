"""Simulated webhooks of whole message lifecycles, with the truth known in advance. Pure, seeded.

The truth is written down while the lifecycles are planned (cli/simulator/scenarios.py). It knows
neither
the normaliser nor the tracker, so that both can be measured by it.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, NamedTuple

import msgspec

from cli.messages import CommandProblem
from cli.simulator.batching import Draft, Lane, Tally, Told, batched, repeated
from cli.simulator.malformed import spoiled
from cli.simulator.payloads import (
    Channel,
    Message,
    action,
    incoming,
    message,
    number,
    received_message,
    report,
    sent_message,
    status,
    update,
    whapi_id,
)
from cli.simulator.requests import Post
from cli.simulator.scenarios import BY_A_PERSON, JOURNEYS, MEANING, Journey, Step
from schemas.records import Status, message_key
from schemas.topics import PROVIDERS

CHANNELS = (
    Channel("TITMSE-S1MUL", "body"),
    Channel("WARBLR-S1MUL", "path"),
    Channel("FINCHX-S1MUL", "method"),
)

# Seconds: between the first steps of two messages, and on average before a step.
_GAP = 0.4
_DELAYS = {"pending": 0.3, "sending": 0.3, "sent": 1.5, "delivered": 4.0, "seen": 90.0}
_DELAY = 60.0

# The share of Whapi messages with something beside them that says nothing of any status.
_NOISE = 0.1


class Fact(NamedTuple):
    """One fact of a message; the status of an unheard-of word is `unknown:<word>`."""

    gateway: str
    viewer: str | None
    status: str


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """All there is to know of one message once every post has arrived, in whatever order.

    `status` is where the message stands, None if nothing but its viewers was told. `disputed`
    holds (gateway, failure) for every failure that a delivery by the same gateway contradicts.
    """

    key: str
    journey: Journey
    facts: frozenset[Fact]
    status: Status | None
    disputed: frozenset[tuple[str, str]]
    replies: int


@dataclass(frozen=True, slots=True)
class Truth:
    """What Bluetick must make of the posts.

    `inbound` counts distinct messages by people, replies included. `observations`, `dead_letters`
    (by code) and `ignored` (by the provider's word) count every item of every post, repeats too.
    """

    lifecycles: dict[str, Lifecycle]
    inbound: int
    observations: int
    dead_letters: Counter[str]
    ignored: Counter[str]

    @property
    def facts(self) -> int:
        """How many records `statuses` must hold."""
        return sum(len(lifecycle.facts) for lifecycle in self.lifecycles.values())


@dataclass(frozen=True, slots=True)
class Simulation:
    """Posts in the order they are to be sent, and the truth about them."""

    posts: list[Post]
    truth: Truth


def simulate(
    *,
    messages: int,
    base_time_ms: int,
    seed: int = 0,
    duplicates: float = 0.0,
    shuffle: bool = False,
    malformed: float = 0.0,
    sources: Sequence[str] = PROVIDERS,
) -> Simulation:
    """Simulate the lifecycles of `messages` messages; the same arguments give the same posts.

    `duplicates` is the share of posts sent once more and of items told once more in another post;
    `malformed` the share of items with a malformed item or body beside them. Unless `shuffle` is
    set, the posts of a message come in the order of its steps. The first message begins at
    `base_time_ms`, Unix milliseconds.
    """
    for name, share in (("duplicates", duplicates), ("malformed", malformed)):
        if not 0 <= share <= 1:
            raise CommandProblem(
                "not_a_share",
                "{name} is {share}, but a share lies between 0 and 1",
                name=name,
                share=share,
            )
    random = Random(seed)  # noqa: S311 - repeatable on purpose
    plan = _plan(random, messages, base_time_ms / 1000, sources)
    told = list(plan.told)
    for one in plan.told:
        if random.random() < malformed:
            told.append(spoiled(random, one))
        if one.repeatable and random.random() < duplicates:
            told.append(one._replace(at=one.at + random.uniform(0, _DELAY)))
    drafts = repeated(random, batched(random, told), duplicates)
    if shuffle:
        random.shuffle(drafts)
    return Simulation([draft.post for draft in drafts], _truth(plan, drafts))


def duration_ms(messages: int) -> int:
    """About how long the lives of so many messages take, in milliseconds."""
    return round((messages * _GAP + 15 * _DELAY) * 1000)


class _Plan:
    """What is told of all messages, and the truth about them so far."""

    def __init__(self) -> None:
        self.told: list[Told] = []
        self.lifecycles: dict[str, Lifecycle] = {}
        self.inbound = 0


def _plan(random: Random, messages: int, begin: float, sources: Sequence[str]) -> _Plan:
    plan = _Plan()
    journeys = [journey for journey in JOURNEYS if journey.source in sources]
    shares = [journey.share for journey in journeys]
    for serial, journey in enumerate(random.choices(journeys, shares, k=messages)):
        channel = random.choice(CHANNELS)
        lead = message(random, serial, journey.source, journey.chat, channel)
        _lead(random, plan, journey, lead, begin)
        if journey.source == "whapi" and random.random() < _NOISE:
            plan.told.append(_noise(random, lead, begin))
        begin += random.expovariate(1 / _GAP)
    return plan


def _lead(random: Random, plan: _Plan, journey: Journey, lead: Message, at: float) -> None:
    """Plan one message's life from `at` on, and note what must become of it."""
    viewers = [f"4477009008{viewer:02}" for viewer in random.sample(range(100), 2)]
    facts = set()
    for step in journey.steps:
        at += min(random.expovariate(1 / (mean := _DELAYS.get(step.word, _DELAY))), 3 * mean)
        viewer = None if step.viewer is None else viewers[step.viewer]
        lane, item = _WRITERS[journey.source](random, lead, step, int(at), viewer)
        by_person = step.how in BY_A_PERSON
        # Without an id of its own the same text in another post is another text.
        repeatable = not (by_person and journey.source == "smsmanager")
        json = msgspec.json.encode(item)
        plan.told.append(Told(at, lane, json, Tally(observations=1), lead.serial, repeatable))
        if by_person:
            plan.inbound += 1
        else:
            facts.add(_fact(journey.source, step, viewer))
    if facts:
        lifecycle = _lifecycle(journey, lead, frozenset(facts))
        plan.lifecycles[lifecycle.key] = lifecycle


def _fact(source: str, step: Step, viewer: str | None) -> Fact:
    gateway = step.how if source == "smsmanager" else "whatsapp"
    return Fact(gateway, viewer, MEANING.get(step.word) or f"unknown:{step.word}")


def _lifecycle(journey: Journey, lead: Message, facts: frozenset[Fact]) -> Lifecycle:
    account = lead.channel.id if journey.source == "whapi" else None
    disputed = (pair.split() for pair in journey.disputed)
    return Lifecycle(
        key=message_key(journey.source, account, lead.id),
        journey=journey,
        facts=facts,
        status=journey.status,
        disputed=frozenset((gateway, failure) for gateway, failure in disputed),
        replies=sum(step.how == "reply" for step in journey.steps),
    )


def _truth(plan: _Plan, drafts: list[Draft]) -> Truth:
    tallies = [tally for draft in drafts for tally in draft.tallies]
    return Truth(
        lifecycles=plan.lifecycles,
        inbound=plan.inbound,
        observations=sum(tally.observations for tally in tallies),
        dead_letters=Counter(tally.dead_letter for tally in tallies if tally.dead_letter),
        ignored=Counter(tally.ignored for tally in tallies if tally.ignored),
    )


def _smsmanager(
    random: Random, lead: Message, step: Step, at: int, viewer: str | None
) -> tuple[Lane, Any]:
    del viewer  # a matter of groups and stories
    lane = Lane("smsmanager")
    if step.how in BY_A_PERSON:
        text = f"Simulated text {lead.serial}-{random.getrandbits(32):08x}"
        return lane, incoming(lead, step.word, at, text, reply=step.how == "reply")
    return lane, report(random, lead, step, at)


def _whapi(
    random: Random, lead: Message, step: Step, at: int, viewer: str | None
) -> tuple[Lane, Any]:
    item: Any
    match step.how:
        case "status" | "offline":
            item = status(lead, step.word, at, viewer)
        case "update":
            item = update(lead, step.word, at)
        case "remove":
            item = lead.id
        case "action":
            item = action(whapi_id(random), "delete", lead.id, lead.chat, at)
        case "reply":
            text = f"Simulated reply {lead.serial}"
            item = received_message(lead, whapi_id(random), at, text, quoted=lead.id)
        case "inbound":
            item = received_message(lead, lead.id, at, f"Simulated text {lead.serial}")
        case _:
            item = sent_message(lead, step, at)
    return Lane("whapi", lead.channel, *_EVENTS.get(step.how, _EVENTS["message"])), item


_WRITERS = {"smsmanager": _smsmanager, "whapi": _whapi}

# Whapi's data key, event type and verb, by how a step is told.
_EVENTS = {
    "message": ("messages", "messages", "post"),
    "status": ("statuses", "statuses", "post"),
    "offline": ("statuses", "statuses", "put"),
    "update": ("messages_updates", "messages", "patch"),
    "remove": ("messages_removed", "messages", "delete"),
    "presence": ("presences", "presences", "post"),
    "chat": ("chats_updates", "chats", "patch"),
}


def _noise(random: Random, lead: Message, at: float) -> Told:
    """Draw something that Whapi sends to the same address and that tells of no status."""
    when = int(at)
    chat = {"id": lead.chat, "timestamp": when}
    event, item, ignored = random.choice(
        (
            ("presence", {"contact_id": number(random), "status": "online"}, "presences"),
            ("chat", {"before_update": chat, "after_update": chat}, "chats_updates"),
            (
                "message",
                action(whapi_id(random), "reaction", whapi_id(random), lead.chat, when),
                "messages.action.reaction",
            ),
        )
    )
    lane = Lane("whapi", lead.channel, *_EVENTS[event])
    return Told(at, lane, msgspec.json.encode(item), Tally(ignored=ignored))
