"""`bluetick diff`: compare the states of the messages in two namespaces."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Literal

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from rich.console import Console

from cli.namespaces.manage import look
from cli.options import Comparing
from cli.output.json_escaping import as_text
from cli.output.jsonl import print_json
from cli.output.records import masked, printable, shown_key
from cli.output.tables import PlainTable, name, number
from cli.problem_sentences import CommandProblem
from processors.replay.range_syntax import times_of
from processors.tracking.state_diff import Difference, State, differences, same
from schemas.codec import UndecodableError, decode_by_key
from schemas.records import MessageState
from service.errors import Problem
from service.kafka.clients import reading
from service.kafka.read_to_end import read_to_end
from service.settings import Settings
from service.wall_clock import now_ms

Kind = Literal["same", "only_a", "only_b", "different"]

_KINDS: tuple[Kind, ...] = ("same", "only_a", "only_b", "different")
# A recently changed state may not have reached both namespaces: it is compared again, at most this
# many times.
_RETRIES = 5
_RETRY_SECONDS = 1.0
_RECENT_MS = 30_000
_REASONS = 6
_LONGEST = 60


def run(settings: Settings, a: str, b: str, how: Comparing) -> int:
    """Print how two namespaces differ; returns 0 if they do not, else 1."""
    if a == b:
        raise CommandProblem(
            "namespace_twice", "{a} is named twice; name two different namespaces", a=a
        )
    first, _ = times_of(how.since, None, now_ms())
    comparison = asyncio.run(_compare(settings, a, b, first or 0, how.examples))
    if how.json:
        print_json(comparison.as_json())
    else:
        _show(comparison)
    return 0 if comparison.agrees else 1


@dataclass
class Comparison:
    """The result: messages by provider, status and kind; fields that differ; examples."""

    a: str
    b: str
    counts: Counter[tuple[str, str, Kind]] = field(default_factory=Counter)
    fields: Counter[str] = field(default_factory=Counter)
    examples: dict[Kind, list[tuple[str, list[str]]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    @property
    def agrees(self) -> bool:
        return all(kind == "same" for _, _, kind in self.counts)

    def total(self, kind: Kind) -> int:
        return sum(count for (_, _, one), count in self.counts.items() if one == kind)

    def as_json(self) -> dict[str, Any]:
        """Return the result as a JSON object."""
        return {
            "a": self.a,
            "b": self.b,
            "agrees": self.agrees,
            **{kind: self.total(kind) for kind in _KINDS},
            "counts": [
                {"provider": provider, "status": status, "kind": kind, "messages": count}
                for (provider, status, kind), count in sorted(self.counts.items())
            ],
            "fields": dict(self.fields.most_common()),
            "examples": [
                {"kind": kind, "message_key": key, "reasons": reasons}
                for kind in _KINDS
                for key, reasons in self.examples.get(kind, ())
            ],
        }


async def _compare(settings: Settings, a: str, b: str, since: int, examples: int) -> Comparison:
    found = await look(settings)
    topics = [settings.of(name).topics.messages for name in (a, b)]
    for namespace, topic in zip((a, b), topics, strict=True):
        if topic not in found.topics:
            raise found.unknown(namespace, "to compare")
    partitions, others = (found.topics[topic] for topic in topics)
    if partitions != others:
        raise CommandProblem(
            "namespaces_of_different_partitions",
            (
                "{a} has {partitions} partitions and {b} has {others}; name two namespaces with "
                "the same number of partitions"
            ),
            a=a,
            partitions=partitions,
            b=b,
            others=others,
        )
    comparison = Comparison(a, b)
    async with reading(settings) as client:
        for number in range(partitions):
            places = (TopicPartition(topic, number) for topic in topics)
            pair = _Pair(client, *places)
            await pair.read()
            for key in sorted(pair.keys()):
                _note(comparison, key, pair.states(key), since, examples)
    return comparison


class _Pair:
    """One partition of both namespaces: the last state of every message."""

    def __init__(self, client: AIOKafkaConsumer, a: TopicPartition, b: TopicPartition) -> None:
        self._client = client
        self._places = (a, b)
        self._began = 0
        self._held: dict[TopicPartition, dict[bytes, bytes]] = {a: {}, b: {}}
        self._recent: set[bytes] = set()

    def keys(self) -> set[bytes]:
        a, b = (self._held[place] for place in self._places)
        return a.keys() | b.keys()

    def states(self, key: bytes) -> tuple[bytes | None, bytes | None]:
        a, b = (self._held[place].get(key) for place in self._places)
        return a, b

    async def read(self) -> None:
        """Read both to their present ends; read recent differing states again."""
        self._began = now_ms()
        self._client.assign(list(self._places))
        for place, start in (await self._client.beginning_offsets(list(self._places))).items():
            self._client.seek(place, start)
        await self._read_on()
        for _ in range(_RETRIES):
            if not (suspects := {key for key in self._recent if self._differs(key)}):
                return
            await asyncio.sleep(_RETRY_SECONDS)
            await self._read_on(suspects)

    def _differs(self, key: bytes) -> bool:
        a, b = self.states(key)
        if a is None or b is None:
            return a is not b
        return not _same(self._places[0].topic, key, a, b)

    async def _read_on(self, only: Collection[bytes] | None = None) -> None:
        """Read to the present ends; with `only`, the states of those messages."""
        ends = await self._client.end_offsets(list(self._places))
        async for read in read_to_end(self._client, ends):
            for place, records in read.records.items():
                for record in records:
                    if only is None or record.key in only:
                        self._note(place, record)

    def _note(self, place: TopicPartition, record: ConsumerRecord[bytes, bytes]) -> None:
        if record.key is None:
            return
        if record.timestamp > self._began - _RECENT_MS:
            self._recent.add(record.key)
        if record.value is None:
            self._held[place].pop(record.key, None)
        else:
            self._held[place][record.key] = record.value


def _same(topic: str, key: bytes, a: bytes, b: bytes) -> bool:
    try:
        return same(_text(key), a, b)
    except UndecodableError as error:
        raise _unreadable(topic, key, error) from None


def _unreadable(topic: str, key: bytes, error: UndecodableError) -> Problem:
    return CommandProblem(
        "states_unreadable",
        (
            "the state of {key} on {topic} or its counterpart cannot be read ({why}); "
            "if a newer version of Bluetick wrote it, compare with that version"
        ),
        key=key.decode(errors="replace"),
        topic=topic,
        why=str(error),
    )


def _note(
    comparison: Comparison,
    key: bytes,
    states: tuple[bytes | None, bytes | None],
    since: int,
    examples: int,
) -> None:
    """Count one message."""
    try:
        a = _decoded(key, states[0])
        b = a if states[0] == states[1] else _decoded(key, states[1])
    except UndecodableError as error:
        raise _unreadable(comparison.a, key, error) from None
    one = a or b
    if one is None or any(_first_seen_at(state) < since for state in (a, b) if state):
        return
    found = differences(a, b) if a and b and a is not b else []
    kind = _kind(a, b, found)
    comparison.counts[(*_group(one), kind)] += 1
    comparison.fields.update({difference.field for difference in found})
    if kind != "same" and len(comparison.examples[kind]) < examples:
        comparison.examples[kind].append((_text(key), _reasons(found)))


def _decoded(key: bytes, state: bytes | None) -> State | None:
    return None if state is None else decode_by_key(_text(key), state)


def _text(key: bytes) -> str:
    return key.decode(errors="replace")


def _first_seen_at(state: State) -> int:
    if isinstance(state, MessageState):
        return state.first_seen_at
    facts = (fact for ladder in state.attempts.values() for fact in ladder.facts.values())
    return min(fact.received_at for fact in facts)


def _group(state: State) -> tuple[str, str]:
    """Return the table row of a state: its provider and status, or `(viewer)`."""
    if isinstance(state, MessageState):
        return state.provider, state.status or "-"
    return state.message_key.partition("/")[0], "(viewer)"


def _kind(a: State | None, b: State | None, found: list[Difference]) -> Kind:
    if a is None or b is None:
        return "only_b" if a is None else "only_a"
    return "different" if found else "same"


def _reasons(found: list[Difference]) -> list[str]:
    more = len(found) - _REASONS
    words = [reason(one) for one in found[:_REASONS]]
    return [*words, f"and {more} more"] if more > 0 else words


def reason(difference: Difference) -> str:
    """Return a difference as text, with personal data masked."""
    path = list(difference.path)
    if difference.keyed:
        sign = "+" if difference.a is None else "-"
        return printable(f"{'.'.join(path[:-1])}: {sign} {path[-1]}")
    if path[0] in ("payload", "content", "content_rank"):
        return f"{path[0]}: differs"
    shown = (_shown(path[-1], value) for value in (difference.a, difference.b))
    return printable(f"{'.'.join(path)}: {' → '.join(shown)}")


def _shown(name: str, value: Any) -> str:
    if value is None:
        return "none"
    text = value if isinstance(value, str) else as_text(value)
    if name in ("recipient", "text", "sender"):
        text = masked(text)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"


def _show(comparison: Comparison) -> None:
    console = Console(highlight=False)
    headings = ("same", f"only in {comparison.a}", f"only in {comparison.b}", "different")
    table = PlainTable("", name("provider"), name("status"), *map(number, headings))
    for provider, status in sorted({one[:2] for one in comparison.counts}):
        counts = (comparison.counts[provider, status, kind] for kind in _KINDS)
        table.add_row(provider, status, *map(str, counts))
    totals = (str(comparison.total(kind)) for kind in _KINDS)
    table.add_row("all", "", *totals, style="bold")
    console.print(table)
    for kind, heading in zip(_KINDS, headings, strict=True):
        for key, reasons in comparison.examples.get(kind, ()):
            why = f": {'; '.join(reasons)}" if reasons else ""
            console.print(f"{heading}  {shown_key(key)}{why}", soft_wrap=True, markup=False)
    if comparison.fields:
        fields = ", ".join(f"{name} {count}" for name, count in comparison.fields.most_common())
        console.print(f"fields that differ: {fields}", soft_wrap=True, markup=False)
