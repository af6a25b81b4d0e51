"""The demo's reconciliation: expected results against actual ones. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from cli.simulator.simulate import Truth
from cli.up.examples import Sample
from schemas.records import Event, InboundRecord, MessageState, StatusRecord

T = TypeVar("T")
Facts = Counter[tuple[str, str, str]]
"""The number of each (message key, viewer or "", fact), over all gateways."""


@dataclass
class CameOut:
    """The contents of the derived topics, and the normaliser's counts."""

    statuses: list[StatusRecord] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    inbound: list[InboundRecord] = field(default_factory=list)
    states: dict[str, MessageState] = field(default_factory=dict)
    observations: int = 0
    dead_letters: Counter[str] = field(default_factory=Counter)
    ignored: Counter[str] = field(default_factory=Counter)


@dataclass
class SentIn:
    """The expected results: of the samples and of the simulator's plan."""

    facts: Facts
    inbound: int
    observations: int
    dead_letters: Counter[str]
    ignored: Counter[str]
    final: Mapping[str, str | None]
    contradicted: int


@dataclass(frozen=True)
class Line:
    """One line of the reconciliation."""

    what: str
    expected: int
    found: int

    @property
    def agrees(self) -> bool:
        return self.expected == self.found


def sent_in(samples: Iterable[Sample], truth: Truth) -> SentIn:
    """Return the sum of the samples' and the simulation's expected results."""
    facts: set[tuple[str, str, str]] = set()
    people: set[str] = set()
    observations, letters, ignored = truth.observations, truth.dead_letters, truth.ignored
    for sample in samples:
        expect = sample.expect
        observations += len(expect.observations)
        letters = letters + Counter(expect.dead_letters)
        ignored = ignored + Counter(expect.ignored)
        for seen in expect.observations:
            if seen.get("kind") == "inbound":
                people.add(seen["message_key"])
            else:
                fact = fact_name(seen["status"], seen.get("provider_status", ""))
                facts.add((seen["message_key"], seen.get("viewer", ""), fact))
    reported = Counter(facts)
    for key, life in truth.lifecycles.items():
        reported.update((key, fact.viewer or "", fact.status) for fact in life.facts)
    lives = truth.lifecycles.items()
    return SentIn(
        facts=reported,
        inbound=truth.inbound + len(people),
        observations=observations,
        dead_letters=letters,
        ignored=ignored,
        final={key: life.status for key, life in lives},
        contradicted=sum(len(life.disputed) for _, life in lives),
    )


def reconcile(sent: SentIn, out: CameOut) -> list[Line]:
    """Return the comparison, line by line; every line must agree."""
    published = Counter(
        (s.message_key, s.viewer or "", fact_name(s.status, s.provider_status))
        for s in out.statuses
    )
    known = {key: out.states[key] for key in sent.final if key in out.states}
    right = [key for key, state in known.items() if state.status == sent.final[key]]
    contradictions = sum(len(state.contradictions) for state in known.values())
    inbound = sum(not one.revision for one in out.inbound)
    return [
        Line("items observed", sent.observations, out.observations),
        Line("status facts, each once", sent.facts.total(), published.total()),
        Line("… missing or unexpected", 0, _difference(sent.facts, published)),
        Line(
            "simulated messages of ours, with the planned final status", len(sent.final), len(right)
        ),
        Line("contradictions, each kept", sent.contradicted, contradictions),
        Line("inbound messages and replies, each once", sent.inbound, inbound),
        Line("dead letters", sent.dead_letters.total(), out.dead_letters.total()),
        Line("… with another reason", 0, _difference(sent.dead_letters, out.dead_letters)),
        Line("events without a status, ignored", sent.ignored.total(), out.ignored.total()),
    ]


def fact_name(status: str, provider_status: str) -> str:
    return f"unknown:{provider_status}" if status == "unknown" else status


def _difference(one: Counter[T], other: Counter[T]) -> int:
    return ((one - other) + (other - one)).total()
