"""`bluetick dead-letters list|show|export`: inspect and export dead letters."""

import asyncio
import hashlib
import sys
from base64 import b64encode
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.text import Text

from cli.dead_letters.causes import Group, Selection, grouped, place, place_of
from cli.dead_letters.reader import OnProgress, chosen, entries, found_at, read_selected, with_bar
from cli.dead_letters.table import causes
from cli.output import jsonl
from cli.output.json_escaping import as_text
from cli.output.jsonl import print_json
from cli.output.records import Record, as_fields, printable, text_or_base64
from cli.output.redaction import shape
from cli.parse import values
from cli.problem_sentences import CommandProblem
from cli.tail import resolve
from processors.dead_letters import record as deadletters
from processors.dead_letters.causes import provider_of
from processors.dead_letters.record import Kept
from processors.normalising.body_normaliser import Bodies
from processors.replay import dead_letter_retry
from processors.runtime.raw_record import RawRecord
from providers.json_slices import UNBOUNDED
from schemas.accounts import ACCOUNTS_HEADER
from schemas.coordinates import Coordinates
from schemas.webhook import to_iso
from service.settings import Settings

# Headers without secrets and personal data; for other headers only the name is shown.
_PLAIN = {"ce_specversion", "ce_source", "ce_type", "ce_time", "content-type", "content-encoding"}
_PLAIN |= {"http-method", "user-agent", "x-request-id", "ce_id"}
_PLAIN |= {deadletters.ACCOUNT, ACCOUNTS_HEADER}


def list_(
    settings: Settings, meant: Selection, *, everything: bool, limit: int | None, json: bool
) -> int:
    """Print the causes of dead letters, with `everything` also resolved ones; returns 0."""
    groups = grouped(with_bar(partial(read_selected, settings, meant)))
    shown = [group for group in groups if everything or group.open]
    left, resolved = sum(group.open for group in groups), sum(group.resolved for group in groups)
    if json:
        print_json(*map(_fields, shown[:limit]))
        return 0
    if shown:
        Console().print(causes(shown[:limit], resolved=everything))
    more = f"; {len(shown) - limit} more causes" if limit and len(shown) > limit else ""
    hidden = "" if everything or not resolved else " (not shown; --all shows them)"
    sys.stdout.write(f"{left} open{more}, {resolved} resolved{hidden}\n")
    return 0


def show(settings: Settings, text: str, *, json: bool) -> int:
    """Print the dead letters at some coordinates, their own or a raw body's; returns 0.

    For a raw body without dead letters, print the result of today's code.
    """
    at = place_of(text)
    kind, topic = resolve(settings.topics, at.topic)
    if kind not in ("raw", "dead-letters", "observations"):
        raise CommandProblem(
            "no_dead_letters_on_topic",
            "{topic} holds no dead letters; name a record on raw.* or dead-letters",
            topic=topic,
        )
    at = at._replace(topic=topic)
    found = with_bar(partial(found_at, settings, at))
    if not found and kind == "raw":
        return _show_raw(settings, at, json=json)
    if not found:
        raise CommandProblem(
            "no_dead_letter",
            "there is no dead letter at {place}; see: bluetick dead-letters list",
            place=place(at),
        )
    for record, kept in found:
        if json:
            print_json(as_fields(record))
        else:
            _show(record, kept)
    return 0


def export(
    settings: Settings, meant: Selection, to: Path, *, everything: bool, limit: int | None
) -> int:
    """Write dead letters to a file, one JSON object per line; returns 0."""
    letters = chosen(
        with_bar(partial(read_selected, settings, meant)), limit, everything=everything
    )
    wanted = {kept.entry.at for kept in letters}

    async def write(file: jsonl.File, show: OnProgress) -> None:
        async for record, entry in entries(settings, meant.since, show):
            if entry and entry.at in wanted:
                file.add(_exported(record))

    with jsonl.opened(to, f"{settings.topics.dead_letters}.jsonl") as file:
        with_bar(partial(write, file))
    sys.stdout.write(f"{file.count} dead letters written to {file.path}\n")
    return 0


def _exported(record: Record) -> dict[str, object]:
    """Return all of a record, its value byte for byte."""
    value = record.value or b""
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp,
        "headers": [[name, text_or_base64(text)] for name, text in record.headers],
        "value_base64": b64encode(value).decode(),
        "sha256": hashlib.sha256(value).hexdigest(),
    }


def _show(record: Record, kept: Kept) -> None:
    entry = kept.entry
    shown = [
        ("dead letter", f"{place(entry.at)}, written {to_iso(entry.timestamp)}"),
        ("raw body", f"{place(entry.letter.raw)} ({provider_of(entry)})"),
        ("code", entry.letter.code),
        ("reason", entry.reason),
        ("where", entry.letter.pointer or "the whole body"),
        ("state", f"resolved by {kept.resolved}" if kept.resolved else "open"),
        *((name, _header(name, value)) for name, value in record.headers if _further(name)),
        ("value", _value(record.value)),
    ]
    console = Console()
    for name, text in shown:
        line = Text(f"{printable(name):15} ", style="dim")
        console.print(line.append(printable(text), style="default"), soft_wrap=True)
    for text in shape(record.value) if record.value else ():
        console.print(Text("  " + text), soft_wrap=True)


def _value(value: bytes | None) -> str:
    return f"{len(value)} bytes, masked (--json shows them)" if value else "none; see the raw body"


def _further(name: str) -> bool:
    """Whether a header's contents are not shown on another line."""
    shown = (deadletters.CODE, deadletters.MESSAGE, deadletters.POINTER, deadletters.TOPIC)
    return name not in (*shown, deadletters.PARTITION, deadletters.OFFSET)


def _header(name: str, value: bytes) -> str:
    if name in deadletters.PLAIN or name in _PLAIN:
        return ", ".join(value.decode("utf-8", "replace").splitlines())
    return "…"


def _show_raw(settings: Settings, at: Coordinates, *, json: bool) -> int:
    """Print the result of today's code for a raw body without dead letters, and its shape."""

    async def body() -> RawRecord | None:
        kept, _ = await dead_letter_retry.find_bodies(settings, [at])
        async for found in dead_letter_retry.read(settings, kept):
            return found[0]
        return None

    raw = asyncio.run(body())
    if raw is None:
        raise CommandProblem(
            "no_dead_letter_or_body",
            "there is neither a dead letter nor a body at {place}; check the coordinates",
            place=place(at),
        )
    result = Bodies(settings).normalised(raw, UNBOUNDED)
    if json:
        print_json(*values(result))
        return 0
    console = Console()
    made = f"{len(result.observations)} observations, {len(result.dead_letters)} dead letters"
    console.print(Text(f"{place(at)} has no dead letter; today's code produces {made}"))
    result.observations.clear()
    for value in values(result):
        console.print(Text(as_text(value)), soft_wrap=True)
    for line in shape(raw.body or b""):
        console.print(Text("  " + line), soft_wrap=True)
    return 0


def _fields(group: Group) -> dict[str, object]:
    return {
        **group.cause._asdict(),
        "open": group.open,
        "resolved": group.resolved,
        "first": to_iso(group.first),
        "last": to_iso(group.last),
        "example": place(group.example),
    }
