"""Simulated webhooks of whole message lifecycles, with the truth known in advance. Pure, seeded.

The expected results come from the plan of the lifecycles: the journeys of the providers' simulators
(providers/simulation.py). They use neither the normaliser nor the tracker, because they test both.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, NamedTuple

import msgspec

from cli.problem_sentences import CommandProblem
from cli.simulator.batching import Batch, Draft, Entry, Simulators, Tally, batched, repeated
from cli.simulator.malformed import malformed as malformed_entry
from cli.simulator.requests import Post
from providers import NAMES, import_provider
from providers.simulation import BY_A_PERSON, Item, Journey, Message, Simulator, Step
from schemas.records import Status, message_key

# Seconds: between the first steps of two messages, and on average before a step.
_GAP = 0.4
_DELAY = 60.0


class Fact(NamedTuple):
    """One fact of a message; the status of an unknown word is `unknown:<word>`."""

    gateway: str
    viewer: str | None
    status: str


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """The final facts and status of one message once every post has arrived, in any order.

    `status` is the message's last, None if only its viewers were reported. `disputed`
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
    """The results that Bluetick must produce from the posts.

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
        """The number of records that `statuses` must hold."""
        return sum(len(lifecycle.facts) for lifecycle in self.lifecycles.values())


@dataclass(frozen=True, slots=True)
class Simulation:
    """Posts in sending order, and their expected results."""

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
    sources: Sequence[str] = NAMES,
) -> Simulation:
    """Simulate the lifecycles of `messages` messages; the same arguments give the same posts.

    `duplicates` is the share of posts sent once more and of items sent once more in another post;
    `malformed` the share of items with a malformed item or body close to them. Unless `shuffle` is
    set, the posts of a message come in the order of its steps. The first message begins at
    `base_time_ms`, Unix milliseconds. Each of the `sources` is a provider's name.
    """
    for name, share in (("duplicates", duplicates), ("malformed", malformed)):
        if not 0 <= share <= 1:
            raise CommandProblem(
                "not_a_share",
                "{name} is {share}; give a number between 0 and 1",
                name=name,
                share=share,
            )
    random = Random(seed)  # noqa: S311 - repeatable on purpose
    simulators = {name: import_provider.simulator(name) for name in sources}
    plan = _plan(random, messages, base_time_ms / 1000, simulators)
    entries = list(plan.entries)
    for one in plan.entries:
        if random.random() < malformed:
            entries.append(malformed_entry(random, simulators[one.batch.source], one))
        if one.repeatable and random.random() < duplicates:
            entries.append(one._replace(at=one.at + random.uniform(0, _DELAY)))
    drafts = repeated(random, batched(random, simulators, entries), duplicates)
    if shuffle:
        random.shuffle(drafts)
    return Simulation([draft.post for draft in drafts], _truth(plan, drafts))


def duration_ms(messages: int) -> int:
    """Return the approximate duration of that many messages, in milliseconds."""
    return round((messages * _GAP + 15 * _DELAY) * 1000)


class _Life(NamedTuple):
    """A message and its journey."""

    source: str
    simulator: Simulator[Any, Any]
    journey: Journey
    message: Message


class _Plan:
    """The items of all messages, and their expected results so far."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.lifecycles: dict[str, Lifecycle] = {}
        self.inbound = 0

    def add(self, life: _Life, item: Item[Any], at: float, tally: Tally) -> None:
        """Add an item that is sent at a time, in Unix seconds."""
        serial = None if tally.ignored else life.message.serial
        batch, json = Batch(life.source, item.batch), msgspec.json.encode(item.json)
        self.entries.append(Entry(at, batch, json, tally, serial, item.repeatable))


def _plan(random: Random, messages: int, begin: float, simulators: Simulators) -> _Plan:
    plan = _Plan()
    journeys = [(source, journey) for source, one in simulators.items() for journey in one.journeys]
    shares = [journey.share for _, journey in journeys]
    for serial, (source, journey) in enumerate(random.choices(journeys, shares, k=messages)):
        simulator = simulators[source]
        message = simulator.message(random, serial, journey)
        life = _Life(source, simulator, journey, message)
        _live(random, plan, life, begin)
        if noise := simulator.noise(random, message, int(begin)):
            plan.add(life, noise.item, begin, Tally(ignored=noise.ignored))
        begin += random.expovariate(1 / _GAP)
    return plan


def _live(random: Random, plan: _Plan, life: _Life, at: float) -> None:
    """Plan one message's life from `at` on, and record its expected results."""
    viewers = [f"4477009008{viewer:02}" for viewer in random.sample(range(100), 2)]
    facts = set()
    for step in life.journey.steps:
        mean = life.simulator.delays.get(step.word, _DELAY)
        at += min(random.expovariate(1 / mean), 3 * mean)
        viewer = None if step.viewer is None else viewers[step.viewer]
        item = life.simulator.item(random, life.message, step, int(at), viewer)
        plan.add(life, item, at, Tally(observations=1))
        if step.how in BY_A_PERSON:
            plan.inbound += 1
        else:
            facts.add(_fact(life.simulator, step, viewer))
    if facts:
        lifecycle = _lifecycle(life, frozenset(facts))
        plan.lifecycles[lifecycle.key] = lifecycle


def _fact(simulator: Simulator[Any, Any], step: Step, viewer: str | None) -> Fact:
    status = simulator.meaning.get(step.word) or f"unknown:{step.word}"
    return Fact(simulator.gateway(step), viewer, status)


def _lifecycle(life: _Life, facts: frozenset[Fact]) -> Lifecycle:
    disputed = (pair.split() for pair in life.journey.disputed)
    return Lifecycle(
        key=message_key(life.source, life.message.account, life.message.id),
        journey=life.journey,
        facts=facts,
        status=life.journey.status,
        disputed=frozenset((gateway, failure) for gateway, failure in disputed),
        replies=sum(step.how == "reply" for step in life.journey.steps),
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
