"""The demo's tables: funnel, anomalies, a message's timeline, reconciliation."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from rich.table import Table
from rich.text import Text

from cli.output.tables import plain_table
from cli.up.reconciliation import CameOut, Line
from processors.tracking.lifecycle import FAILURES, MESSAGE_RANK
from schemas.records import (
    Event,
    FellBack,
    Late,
    MessageState,
    Recovered,
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


def funnel(states: Iterable[MessageState]) -> Table:
    """The statuses that attempts reached, per provider and gateway; `rate`: share delivered."""
    attempts: dict[tuple[str, str], list[Status]] = defaultdict(list)
    for state in states:
        if state.direction == "inbound":
            continue  # our own readings say nothing of our messages
        for gateway, attempt in state.attempts.items():
            attempts[state.provider, gateway].append(attempt.status)
    table = plain_table("How far the messages came", "provider", "gateway")
    for heading in ("tries", *_RUNGS, "failed", "other", "rate"):
        table.add_column(heading, justify="right")
    for (provider, gateway), statuses in sorted(attempts.items()):
        reached = [
            sum(MESSAGE_RANK[status] >= MESSAGE_RANK[rung] for status in statuses)
            for rung in _RUNGS
        ]
        failed = sum(status in FAILURES for status in statuses)
        share = f"{100 * reached[1] / len(statuses):.0f} %"
        counts = [len(statuses), *reached, failed, len(statuses) - reached[0] - failed]
        table.add_row(provider, gateway, *map(str, counts), share)
    return table


def oddities(out: CameOut) -> Table:
    """The providers' anomalies, and what Bluetick did about them."""
    verdicts = Counter(record.verdict for record in out.statuses)
    kinds = Counter(type(event) for event in out.events)
    published = len(out.statuses) + len(out.inbound)
    table = plain_table("What was put right", "what")
    table.add_column("count", justify="right")
    table.add_column("meaning")
    rows = [
        ("duplicates", "reported again, dropped", out.observations - published),
        ("late", "older than the message's status: recorded, status kept", kinds[Late]),
        ("contradictions", "a failure after delivery: recorded", verdicts["contradiction"]),
        ("recovered", "delivered after a failure", kinds[Recovered]),
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


def inbound(out: CameOut) -> Table:
    """Inbound messages, per provider and gateway."""
    counts = Counter(
        (message.provider, message.gateway, "reply" if message.in_reply_to else "message")
        for message in out.inbound
        if not message.revision
    )
    table = plain_table("Inbound", "provider", "gateway", "kind")
    table.add_column("count", justify="right")
    for row, count in sorted(counts.items()):
        table.add_row(*row, str(count))
    return table


def dead_letters(letters: Sequence[tuple[str, str, str]]) -> Table:
    """Dead letters, (code, reason, origin) each, grouped by code."""
    groups: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
    for letter in letters:
        groups[letter[0]].append(letter)
    table = plain_table("Dead letters", "code")
    table.add_column("count", justify="right")
    table.add_column("for example")
    table.add_column("from", overflow="fold")
    for code, group in sorted(groups.items()):
        table.add_row(code, str(len(group)), Text(group[0][1]), group[0][2])
    return table


def timeline(key: str, statuses: Iterable[StatusRecord]) -> Table:
    """One message's facts in order of reception, with their verdicts."""
    columns = ("learned", "happened", "gateway", "fact", "verdict", "message is")
    table = plain_table(f"One message: {key}", *columns)
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


def account(lines: Iterable[Line]) -> Table:
    """The input compared with the output."""
    table = plain_table("Is what came out what was sent in?", "what")
    for heading in ("sent in", "came out", ""):
        table.add_column(heading, justify="right")
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
