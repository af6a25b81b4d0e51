"""The demo's tables: funnel, anomalies, a message's timeline, reconciliation."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from rich.text import Text

from cli.output.tables import PlainTable, name, number, text
from cli.up.reconciliation import CameOut, Line
from processors.tracking.lifecycle.statuses import FAILURES, MESSAGE_RANK
from schemas.records import (
    Event,
    FellBack,
    Late,
    MessageState,
    Replied,
    Status,
    StatusRecord,
)
from schemas.webhook import to_iso

_RUNGS: tuple[Status, ...] = ("sent", "delivered", "read")
_VERDICT_STYLES = {
    "advanced": "green",
    "recovered": "green",
    "late": "yellow",
    "contradiction": "red",
    "aside": "dim",
}


def funnel(states: Iterable[MessageState]) -> PlainTable:
    """The statuses that attempts reached, per provider and gateway; `rate`: share delivered."""
    attempts: dict[tuple[str, str], list[Status]] = defaultdict(list)
    for state in states:
        if state.direction == "inbound":
            continue  # our own readings say nothing of our messages
        for gateway, attempt in state.attempts.items():
            attempts[state.provider, gateway].append(attempt.status)
    numbers = map(number, ("tries", *_RUNGS, "failed", "other", "rate"))
    table = PlainTable("How far the messages came", name("provider"), name("gateway"), *numbers)
    for (provider, gateway), statuses in sorted(attempts.items()):
        reached = [
            sum(MESSAGE_RANK[status] >= MESSAGE_RANK[rung] for status in statuses)
            for rung in _RUNGS
        ]
        failed = sum(status in FAILURES for status in statuses)
        share = f"{100 * reached[1] / len(statuses):.0f}%"
        counts = [len(statuses), *reached, failed, len(statuses) - reached[0] - failed]
        table.add_row(provider, gateway, *map(str, counts), share)
    return table


def oddities(out: CameOut) -> PlainTable:
    """The providers' anomalies, and what Bluetick did about them."""
    verdicts = Counter(record.verdict for record in out.statuses)
    kinds = Counter(type(event) for event in out.events)
    published = len(out.statuses) + len(out.inbound)
    contradictions = sum(len(state.contradictions) for state in out.states.values())
    failed_last = verdicts["contradiction"]
    table = PlainTable("What was put right", name("what"), number("count"), text("meaning"))
    rows = [
        ("duplicates", "reported again, dropped", out.observations - published),
        ("late", "older than the message's status: recorded, status kept", kinds[Late]),
        ("contradictions", "a failure and a delivery by one gateway: both kept", contradictions),
        ("… failure last", "recorded, status kept", failed_last),
        ("… delivery last", "recovered: the status moved on", contradictions - failed_last),
        ("fallbacks", "another gateway was tried", kinds[FellBack]),
        ("replies", "answers, linked to the message they answer", kinds[Replied]),
        (
            "unknown words",
            "not in the vocabulary: kept with the provider's word",
            _unknown(out.statuses),
        ),
        ("no status", "other events at the same URL, ignored", out.ignored.total()),
    ]
    for what, meaning, count in rows:
        table.add_row(what, str(count), meaning)
    return table


def inbound(out: CameOut) -> PlainTable:
    """Inbound messages, per provider and gateway."""
    counts = Counter(
        (message.provider, message.gateway, "reply" if message.in_reply_to else "message")
        for message in out.inbound
        if not message.revision
    )
    names = map(name, ("provider", "gateway", "kind"))
    table = PlainTable("Inbound", *names, number("count"))
    for row, count in sorted(counts.items()):
        table.add_row(*row, str(count))
    return table


def dead_letters(letters: Sequence[tuple[str, str, str]]) -> PlainTable:
    """Dead letters, (code, reason, origin) each, grouped by code."""
    groups: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
    for letter in letters:
        groups[letter[0]].append(letter)
    example = (text("for example"), name("from"))
    table = PlainTable("Dead letters", name("code"), number("count"), *example)
    for code, group in sorted(groups.items()):
        table.add_row(code, str(len(group)), *group[0][1:])
    return table


def timeline(key: str, statuses: Iterable[StatusRecord]) -> PlainTable:
    """One message's facts in order of reception, with their verdicts."""
    columns = ("learned", "happened", "gateway", "fact", "verdict", "message is")
    table = PlainTable(f"One message: {key}", *map(name, columns))
    for record in statuses:
        if record.message_key == key:
            happened = to_iso(record.occurred_at) if record.occurred_at is not None else ""
            table.add_row(
                to_iso(record.received_at)[11:19],
                happened[5:19].replace("T", " "),
                record.gateway,
                record.status,
                Text(record.verdict, _VERDICT_STYLES.get(record.verdict, "")),
                record.message_status or "",
            )
    return table


def account(lines: Iterable[Line]) -> PlainTable:
    """The input compared with the output."""
    numbers = map(number, ("sent in", "came out", ""))
    table = PlainTable("Is what came out what was sent in?", text("what"), *numbers)
    for line in lines:
        mark = Text("✓", "green") if line.agrees else Text("✗", "bold red")
        table.add_row(line.what, str(line.expected), str(line.found), mark)
    return table


def most_telling(statuses: Iterable[StatusRecord], events: Iterable[Event]) -> str:
    """Return the key of the message with the most different verdicts, then the most facts."""
    verdicts: dict[str, set[str]] = defaultdict(set)
    facts: Counter[str] = Counter()
    for record in statuses:
        verdicts[record.message_key].add(record.verdict)
        facts[record.message_key] += record.viewer is None
    fell_back = {event.message_key for event in events if isinstance(event, FellBack)}
    return max(facts, key=lambda key: (key in fell_back, len(verdicts[key]), facts[key], key))


def _unknown(statuses: Iterable[StatusRecord]) -> int:
    return sum(record.status == "unknown" for record in statuses)
